"""Compare reports of the same faces: a folder of numbers, a page and the ROC curves in one plot.

::

    compare.json    every number, with its interval
    compare.md      the same for people, and what may be concluded
    plots/roc.png   (needs matplotlib)

The folder appears whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.errors import DataError, UsageError
from facetell.evaluation.comparison import delong, holm, paired_bootstrap
from facetell.evaluation.metrics import auroc
from facetell.evaluation.predictions import read_predictions
from facetell.files import whole_folder
from facetell.reporting.measure import LEVEL, few_groups, measure
from facetell.reporting.pages import markdown_page, p_value
from facetell.reporting.plots import roc_overlay
from facetell.reporting.report import REPORT_FORMAT, REPORT_VERSION
from facetell.reporting.result_folder import check_folder, counts_of, draw_plots, plain, save_json

__all__ = ["COMPARISON_FORMAT", "COMPARISON_VERSION", "conclusion", "report_numbers", "write_comparison"]

COMPARISON_FORMAT = "facetell-comparison"
COMPARISON_VERSION = 1

_FILES = ("compare.json", "compare.md", "plots", "plots/roc.png")
_SHOWN = ("auroc", "balanced_accuracy", "recall", "fpr")
_REPETITIONS = 1000
_SMALL = 0.05

Columns = dict[str, NDArray[Any]]


def _read_report(folder: Path) -> tuple[dict[str, Any], Columns]:
    """A report's numbers and predictions."""
    return report_numbers(folder), read_predictions(folder / "predictions.parquet")


def report_numbers(folder: Path) -> dict[str, Any]:
    """What ``report.json`` of a folder holds. Raises ``DataError`` where there is none of this version."""
    hint = "give folders that `facetell evaluate` wrote"
    try:
        report = json.loads((folder / "report.json").read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(f"there is no report in {folder}", hint=hint) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / 'report.json'} cannot be read: {error}", hint=hint) from None
    made = (report.get("format"), report.get("version")) if isinstance(report, dict) else None
    if made != (REPORT_FORMAT, REPORT_VERSION):
        raise DataError(f"{folder / 'report.json'} is not a report of version {REPORT_VERSION}", hint=hint)
    return report


def _short_names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the folders apart; the same folder again gets a number."""
    parts = [folder.resolve().parts for folder in folders]
    depth = next(d for d in range(1, max(map(len, parts)) + 1) if len({p[-d:] for p in parts}) == len(set(parts)))
    names = ["/".join(part[-depth:]) for part in parts]
    again = [names[:place].count(name) for place, name in enumerate(names)]
    return [f"{name} ({times + 1})" if times else name for name, times in zip(names, again, strict=True)]


def _rows_by_face(table: Columns) -> dict[tuple[str, str, int], int]:
    """Row of each face: by content and path, equal crops of one path (a video that stands still) in their order."""
    rows: dict[tuple[str, str, int], int] = {}
    seen: dict[tuple[str, str], int] = {}
    for row, key in enumerate(zip(table["sha256"].tolist(), table["path"].tolist(), strict=True)):
        seen[key] = seen.get(key, -1) + 1
        rows[(*key, seen[key])] = row
    return rows


def _common_faces(names: list[str], tables: list[Columns]) -> tuple[list[Columns], list[str]]:
    """The common rows of all tables in the order of the first, and what is to be warned of."""
    faces = [_rows_by_face(table) for table in tables]
    common = [key for key in faces[0] if all(key in other for other in faces[1:])]
    if not common:
        raise DataError(
            f"{' and '.join(names)} have no face in common",
            hint="evaluate the detectors on the same split of the same face set, then compare those reports",
        )
    warnings = [
        f"{name}: {len(rows) - len(common):,} of {len(rows):,} faces are not in every report and were left out"
        for name, rows in zip(names, faces, strict=True)
        if len(rows) > len(common)
    ]
    matched = []
    for table, rows in zip(tables, faces, strict=True):
        places = np.array([rows[key] for key in common])
        matched.append({column: values[places] for column, values in table.items()})
    for name, table in zip(names[1:], matched[1:], strict=True):
        other = np.flatnonzero(table["label"] != matched[0]["label"])
        if other.size:
            raise DataError(
                f"{names[0]} and {name} disagree on what is fake: {other.size:,} of {len(common):,} faces, "
                f"the first {table['path'][other[0]]}",
                hint="evaluate both on the same face set",
            )
        if (table["group"] != matched[0]["group"]).any():
            warnings.append(f"{name} groups the faces in another way; the groups of {names[0]} are used")
            table["group"] = matched[0]["group"]
    return matched, warnings


def _difference(a: int, b: int, names: list[str], tables: list[Columns], seed: int) -> dict[str, Any]:
    """AUROC of report ``a`` minus that of report ``b``, by both tests."""
    labels, groups = tables[0]["label"], tables[0]["group"]
    scores = tables[a]["score"], tables[b]["score"]
    exact = delong(labels, *scores, groups)
    drawn = paired_bootstrap(labels, *scores, groups, repetitions=_REPETITIONS, seed=seed, level=LEVEL)
    return {
        "a": names[a],
        "b": names[b],
        "auroc_a": auroc(labels, scores[0]),
        "auroc_b": auroc(labels, scores[1]),
        "difference": exact.difference,
        "detectable": exact.detectable,
        "delong": {"standard_error": exact.standard_error, "low": exact.low, "high": exact.high, "p": exact.p},
        "bootstrap": {
            "standard_error": drawn.standard_error,
            "low": drawn.low,
            "high": drawn.high,
            "p": drawn.p,
            "omitted": drawn.omitted,
        },
    }


def _adjusted(differences: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with p values adjusted for how many there are (Holm)."""
    found = [{**one, **{test: dict(one[test]) for test in ("delong", "bootstrap")}} for one in differences]
    for test in ("delong", "bootstrap"):
        for one, p in zip(found, holm([one[test]["p"] for one in differences]), strict=True):
            one[test]["p_holm"] = float(p)
    return found


def _interval(test: Mapping[str, float]) -> str:
    return f"{test['low']:+.3f} to {test['high']:+.3f}"


def conclusion(one: Mapping[str, Any], counts: Mapping[str, int], comparisons: int) -> str:
    """Return the sentence that one entry of ``comparisons`` allows, on faces of these ``counts``.

    A difference is concluded where both tests have p < 0.05, adjusted when there are several comparisons.
    """
    a, b, difference = one["a"], one["b"], one["difference"]
    faces = f"{counts['n']:,} faces of {counts['groups']:,} groups"
    if difference == 0 and one["delong"]["standard_error"] == 0:
        return f"{a} and {b} rank these {faces} alike: AUROC {one['auroc_a']:.3f} both."
    adjusted = f", adjusted for {comparisons} comparisons" if comparisons > 1 else ""
    numbers = (
        f"AUROC {one['auroc_a']:.3f} against {one['auroc_b']:.3f}, difference {difference:+.3f} (95% interval "
        f"{_interval(one['delong'])} over {counts['groups']:,} groups, DeLong {p_value(one['delong']['p_holm'])}, "
        f"bootstrap {p_value(one['bootstrap']['p_holm'])}{adjusted})"
    )
    small = [one[test]["p_holm"] < _SMALL for test in ("delong", "bootstrap")]
    if all(small):
        return f"{a} ranks {'better' if difference > 0 else 'worse'} than {b}: {numbers}."
    doubt = " The two tests disagree: more faces must decide." if any(small) else ""
    return (
        f"No difference can be concluded between {a} and {b}: {numbers}; with these {faces} only a true difference of "
        f"about {one['detectable']:.3f} or more would likely have been seen (80% power).{doubt}"
    )


def write_comparison(reports: Sequence[Path], out: Path | None, *, seed: int = 0) -> dict[str, Any]:
    """Compare the ``reports`` (folders of ``evaluate``) of the same faces, the others with the first; write ``out``, if it
    is given.

    Rows are matched by the content and path of the face; only faces of every report count. ``seed`` draws the
    bootstraps.

    Keys of the result: see `facetell.results.CompareResult`.

    Raises UsageError for less than two reports or when ``out`` holds something else than a comparison, DataError for a
    folder that is no report, labels that disagree, no common face, or too few groups.
    """
    if out is not None:
        check_folder(out, "comparison", "compare.json", COMPARISON_FORMAT, _FILES)
    if len(reports) < 2:
        raise UsageError(
            f"a comparison needs two reports or more, got {len(reports)}",
            hint="the first is the one the others are compared with",
        )
    names = _short_names(reports)
    read = [_read_report(folder) for folder in reports]
    for folder, (report, _) in zip(reports, read, strict=True):
        if report["threshold"] is None:
            raise DataError(
                f"{folder} is the report of an uncalibrated detector, which has no threshold to compare at",
                hint="calibrate the detector and evaluate it again: facetell calibrate DETECTOR FACESET",
            )
    tables, warnings = _common_faces(names, [table for _, table in read])
    labels = tables[0]["label"]
    pairs = [_difference(b, a, names, tables, seed) for a, b in combinations(range(len(names)), 2)]
    with_first = _adjusted(pairs[: len(names) - 1])

    described = []
    for name, folder, (report, whole), table in zip(names, reports, read, tables, strict=True):
        metrics, _ = measure(table, np.ones(labels.size, dtype=bool), report["threshold"], _REPETITIONS, seed)
        described.append(
            {
                "name": name,
                "path": str(folder),
                "detector": report["context"].get("detector"),
                "method": report["context"].get("method"),
                "faces": int(whole["label"].size),
                "left_out": int(whole["label"].size - labels.size),
                "threshold": report["threshold"],
                "threshold_rule": report["threshold_rule"],
                "metrics": {key: metrics[key] for key in _SHOWN},
            }
        )
    found: dict[str, Any] = {
        "format": COMPARISON_FORMAT,
        "version": COMPARISON_VERSION,
        "reports": described,
        "counts": counts_of(labels, tables[0]["group"]),
        "comparisons": with_first,
        "pairs": _adjusted(pairs) if len(names) > 2 else [],
        "bootstrap": {"unit": "group", "repetitions": _REPETITIONS, "seed": seed, "level": LEVEL},
        "warnings": warnings + few_groups(tables[0]),
        "plots": {},
    }
    for one in with_first:
        one["conclusion"] = conclusion(one, found["counts"], len(with_first))
    detectors = [
        {"name": one["name"], "scores": table["score"], "threshold": one["threshold"], "auroc": one["metrics"]["auroc"]}
        for one, table in zip(described, tables, strict=True)
    ]
    found = plain(found)
    if out is None:
        return found
    with whole_folder(out) as fresh:
        found["plots"] = draw_plots(fresh, {"roc": lambda path: roc_overlay(labels, detectors, path)})
        save_json(fresh / "compare.json", found)
        (fresh / "compare.md").write_text(markdown_page("compare", found), "utf-8")
    return found
