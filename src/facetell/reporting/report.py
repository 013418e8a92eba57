"""Write the report of an evaluation: a folder of numbers, a page, plots and the predictions they come from.

::

    report.json           every number, with its interval where it has one
    report.md             the same for people
    report.html           the same as one file that opens from disk
    mistakes/*.jpg        the worst mistakes
    predictions.parquet   one row per face; all of the above can be recomputed from it
    plots/*.png           ROC, precision-recall, score densities, confusion matrix, reliability (needs matplotlib)

The folder appears whole or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facetell.errors import DataError, SettingsError
from facetell.evaluation.conformal import Band
from facetell.evaluation.metrics import confusion
from facetell.evaluation.predictions import checked_predictions, write_predictions
from facetell.evaluation.rates import effective_share, rate_interval
from facetell.evaluation.score_curves import calibrated
from facetell.files import whole_folder
from facetell.reporting import plots
from facetell.reporting.decision_sections import decision_sections, operating_points
from facetell.reporting.html import Section, evaluation_cards, html_page
from facetell.reporting.measure import LEVEL, few_groups, measure
from facetell.reporting.pages import markdown_page
from facetell.reporting.result_folder import check_folder, counts_of, draw_plots, number, plain, save_json
from facetell.reporting.videos import JudgedVideos, videos_section

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["REPORT_FORMAT", "REPORT_VERSION", "check_destination", "write_report"]

REPORT_FORMAT = "facetell-report"
REPORT_VERSION = 1
_FAKE_SOURCE = ("auroc", "average_precision", "eer", "balanced_accuracy", "recall")
_REAL_SOURCE = ("fpr", "accuracy")
_PLOTS = ("roc", "precision_recall", "score_densities", "confusion_matrix", "reliability")
_NEED_BOTH_CLASSES = ("roc", "precision_recall")
_FILES = ("report.json", "report.md", "report.html", "predictions.parquet")
_MISTAKES = 20

Columns = dict[str, NDArray[Any]]


def check_destination(out: Path | None) -> None:
    """Raise :class:`~facetell.errors.UsageError` unless a report may be written to ``out``, if it is to be written.

    It may when nothing is there, the folder is empty, or it is an earlier report with nothing added to it.
    """
    if out is None:
        return
    files = {*_FILES, "plots", *(f"plots/{name}.png" for name in _PLOTS)}
    files |= {"mistakes", *(_picture_name(number) for number in range(_MISTAKES))}
    check_folder(out, "report", "report.json", REPORT_FORMAT, files)


def _picture_name(number: int) -> str:
    return f"mistakes/{number + 1:02d}.jpg"


def _sources(
    table: Columns, threshold: float | None, unlike: float | None, repetitions: int, seed: int
) -> list[dict[str, Any]]:
    """A row for each source, fakes before reals, the worst first."""
    rows: list[dict[str, Any]] = []
    fake = table["label"] == 1
    for label, members, keys in (("fake", fake, _FAKE_SOURCE), ("real", ~fake, _REAL_SOURCE)):
        for source in np.unique(table["source"][members].astype(str)):
            own = members & (table["source"] == source)
            compared = own | ~fake if label == "fake" else own
            metrics, intervals = measure(table, compared, threshold, repetitions, seed)
            rows.append(
                {
                    "source": str(source),
                    "label": label,
                    "n": int(own.sum()),
                    "groups": int(np.unique(table["group"][own].astype(str)).size),
                    "compared_with": int(compared.sum() - own.sum()),
                    "omitted": intervals.omitted,
                    "unlike": None if unlike is None else _rate(table["p_known"][own] <= unlike, table["group"][own]),
                    "metrics": {key: metrics[key] for key in keys},
                }
            )
    return sorted(rows, key=lambda row: (row["label"], _badness(row)))


def _rate(hits: NDArray[np.bool_], groups: NDArray[Any]) -> dict[str, Any]:
    """The share of hits (N,) with its exact interval, in which dependent ones of ``groups`` (N,) count as fewer."""
    share = effective_share(hits.astype(np.float64), groups)
    low, high = rate_interval(hits.sum() * share, hits.size * share, LEVEL)
    return {"value": float(hits.mean()), "low": low, "high": high, "hits": int(hits.sum())}


def _badness(row: dict[str, Any]) -> float:
    """Of a source in comparison with others of its label: rises as its AUROC falls, or its share of false alarms rises."""
    auroc, fpr = (row["metrics"].get(name, {}).get("value") for name in ("auroc", "fpr"))
    if row["label"] == "fake":
        return math.inf if auroc is None else float(auroc)
    return math.inf if fpr is None else -float(fpr)


def _over(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mean over the sources, each counted once: AUROC of the fake ones, FPR of the real ones; with n, how many they are."""
    found = {}
    for label, name in (("fake", "auroc"), ("real", "fpr")):
        values = [row["metrics"].get(name, {}).get("value") for row in rows if row["label"] == label]
        known = [value for value in values if value is not None]
        found[name] = {"mean": number(float(np.mean(known))) if known else None, "n": len(known)}
    return found


def _mistakes(table: Columns, threshold: float) -> list[dict[str, Any]]:
    """The faces furthest on the wrong side of the threshold, by logit: scores may be rounded to 0 or 1."""
    fake = table["label"] == 1
    called = table["score"].astype(np.float64) >= threshold
    wrong = np.flatnonzero(fake != called)
    # Share of the way from the threshold to the far end, so that misses and false alarms compare.
    score = table["score"][wrong].astype(np.float64)
    span = np.where(called[wrong], max(1 - threshold, 1e-12), max(threshold, 1e-12))
    depth = np.abs(score - threshold) / span
    order = np.lexsort([wrong, -np.abs(table["logit"][wrong]), -depth])[:_MISTAKES]
    return [
        {
            "row": int(table["row"][i]),
            "path": str(table["path"][i]),
            "label": "fake" if fake[i] else "real",
            "source": str(table["source"][i]),
            "group": str(table["group"][i]),
            "score": float(table["score"][i]),
            "logit": float(table["logit"][i]),
        }
        for i in wrong[order]
    ]


def _warnings(table: Columns, given: object) -> list[str]:
    found = [str(item) for item in given] if isinstance(given, list | tuple) else [str(given)] if given else []
    return found + few_groups(table)


def _drawings(table: Columns, threshold: float, ideal: dict[str, Any] | None) -> dict[str, Callable[[Path], None]]:
    """The plots that the data allows, by name."""
    labels, scores = table["label"], table["score"]
    before = calibrated(table["logit"], 1.0)
    drawings: dict[str, Callable[[Path], None]] = {
        "roc": lambda path: plots.roc(labels, scores, threshold, path),
        "precision_recall": lambda path: plots.precision_recall(labels, scores, threshold, path),
        "score_densities": lambda path: plots.score_densities(labels, scores, threshold, path, ideal),
        "confusion_matrix": lambda path: plots.confusion_matrix(labels, scores, threshold, path),
        "reliability": lambda path: plots.reliability(labels, scores, path, before=before),
    }
    one_class = np.unique(labels).size < 2
    return {name: draw for name, draw in drawings.items() if not (one_class and name in _NEED_BOTH_CLASSES)}


def write_report(
    predictions: dict[str, NDArray[Any]],
    out: Path | None,
    *,
    threshold: float | None,
    threshold_rule: str,
    context: dict[str, object],
    videos: JudgedVideos | None = None,
    band: Band | None = None,
    prevalence: float | None = None,
    unlike: float | None = None,
    points: Mapping[str, Mapping[str, Any]] | None = None,
    illustrate: Callable[[list[int]], list[Image.Image]] | None = None,
    repetitions: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return what the ``report.json`` of ``predictions`` holds, and write the report to the folder ``out``, if it is given.

    ``predictions`` has the columns of :data:`~facetell.evaluation.predictions.PREDICTION_COLUMNS`. ``threshold`` (a
    score) and ``threshold_rule`` come from validation data; without a threshold there is what the ranking says alone.
    ``context`` says where the numbers come from (detector, method, face set, split, versions ...) and is written as given;
    its list ``warnings`` is shown on top. ``videos``: how whole videos were judged; ``band``: the detector's unsure band;
    ``prevalence``: share of fakes to say what a verdict is worth at; ``unlike``: share of known faces that the detector calls
    unlike all of them; ``points``: the detector's operating points (name → value, rule); ``illustrate`` gives a picture for
    each of some rows of ``predictions``.

    Keys of the result: see `facetell.results.EvaluateResult`. In ``sources`` a fake source is measured against all real
    faces, a real source alone (its FPR, and accuracy = 1 - FPR); a source with both labels has a row for each.

    Raises UsageError when ``out`` holds something else than a report, DataError for unusable predictions.
    """
    check_destination(out)
    if threshold is not None and not 0 <= threshold <= np.nextafter(1, 2):
        raise SettingsError(f"the threshold is a score in [0, 1], got {threshold}")
    table = checked_predictions(predictions)
    if not table["label"].size:
        raise DataError("there is no prediction to report on", hint="is the split empty?")
    everything = np.ones(table["label"].size, dtype=bool)
    metrics, intervals = measure(table, everything, threshold, repetitions, seed)
    sections = ("thresholds", "calibration", "prevalence", "unsure", "confusion")
    decided: dict[str, Any] = {**dict.fromkeys(sections), "operating_points": [], "mistakes": []}
    if threshold is not None:
        matrix = confusion(table["label"], table["score"], threshold)
        decided = {
            "confusion": {"tn": matrix.tn, "fp": matrix.fp, "fn": matrix.fn, "tp": matrix.tp},
            "operating_points": operating_points(table, points or {}),
            **decision_sections(table, metrics, threshold, band, prevalence, repetitions, seed),
            "mistakes": _mistakes(table, threshold),
        }
    sources = _sources(table, threshold, unlike, repetitions, seed)
    report: dict[str, Any] = {
        "format": REPORT_FORMAT,
        "version": REPORT_VERSION,
        "threshold": None if threshold is None else float(threshold),
        "threshold_rule": threshold_rule,
        "context": plain(context),
        "counts": counts_of(table["label"], table["group"]),
        "metrics": metrics,
        **decided,
        "unlike": unlike,
        "videos": videos and videos_section(videos, repetitions, seed),
        "sources": sources,
        "over_sources": _over(sources),
        "bootstrap": {
            "unit": "group",
            "groups": intervals.groups,
            "repetitions": intervals.repetitions,
            "omitted": intervals.omitted,
            "seed": seed,
            "level": LEVEL,
        },
        "warnings": _warnings(table, context.get("warnings")),
        "plots": {},
    }
    if out is None:
        return report
    with whole_folder(out) as fresh:
        if threshold is not None:
            report["plots"] = draw_plots(fresh, _drawings(table, threshold, report["thresholds"]))
        if illustrate and report["mistakes"]:
            (fresh / "mistakes").mkdir()
            pictures = illustrate([mistake["row"] for mistake in report["mistakes"]])
            for number, (mistake, picture) in enumerate(zip(report["mistakes"], pictures, strict=True)):
                mistake["picture"] = _picture_name(number)
                picture.save(fresh / mistake["picture"], quality=88)
        write_predictions(fresh / "predictions.parquet", table)
        save_json(fresh / "report.json", report)
        page = markdown_page("evaluation", report)
        (fresh / "report.md").write_text(page, "utf-8")
        section = Section(page, fresh, evaluation_cards(report))
        title = f"{context.get('detector', 'a detector')} on {context.get('faceset', 'faces')}"
        (fresh / "report.html").write_text(html_page([section], title), "utf-8")
    return report
