"""Write what ``stress`` found: a folder of numbers, a page, plots and the logits they come from.

::

    stress.json           every number, with its interval
    stress.md             the same for people
    predictions.parquet   one row per face and condition; the numbers can be recomputed from it
    plots/curves.png      AUROC, recall and FPR over strength, a panel for each corruption (needs matplotlib)
    plots/sample.png      one face under every condition

The folder appears whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facetell.errors import DataError
from facetell.evaluation.comparison import paired_bootstrap
from facetell.files import whole_folder
from facetell.reporting.measure import LEVEL, few_groups, measure
from facetell.reporting.pages import markdown_page
from facetell.reporting.result_folder import check_folder, counts_of, draw_plots, number, plain, save_json
from facetell.reporting.stress_plots import draw_curves, draw_sample

if TYPE_CHECKING:
    from facetell.pixels.corruptions import Corruption

__all__ = ["CLEAN", "STRESS_FORMAT", "Conditions", "check_stress", "headline", "robustness", "speed_of", "write_stress"]

STRESS_FORMAT = "facetell-stress"
STRESS_VERSION = 1
REPETITIONS = 200
"""Of each bootstrap: 46 conditions with an interval each cost as much as 9 evaluations."""

CLEAN = ("none", 0)
"""The condition in which nothing was done."""

_SHOWN = ("auroc", "recall", "fpr")
_FILES = {"stress.json", "stress.md", "predictions.parquet", "plots", "plots/curves.png", "plots/sample.png"}

Condition = tuple[str, int]


@dataclass(frozen=True)
class Conditions:
    """Faces of a split, N of them, under conditions (corruption, strength); `CLEAN` is one.

    ``rows`` (N,) in the split, ``labels`` (N,) 0 or 1 and ``groups`` (N,) are the same under all; ``logits`` and
    ``scores`` (N,) of each.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int8]
    groups: NDArray[Any]
    logits: Mapping[Condition, NDArray[np.float32]]
    scores: Mapping[Condition, NDArray[np.float64]]


def check_stress(out: Path | None) -> None:
    """Raise :class:`~facetell.errors.UsageError` unless a stress report may be written to ``out``, if it is given."""
    if out is not None:
        check_folder(out, "stress report", "stress.json", STRESS_FORMAT, _FILES)


def robustness(clean: float, corrupted: Sequence[float]) -> float | None:
    """Return how much of the ranking survives, in [0, 1]: (mean AUROC of ``corrupted`` - 0.5) / (``clean`` - 0.5).

    1: as good as on untouched faces (or better); 0: chance (or worse). None where the clean AUROC is chance or worse.
    """
    if clean <= 0.5:
        return None
    return float(np.clip((np.mean(corrupted) - 0.5) / (clean - 0.5), 0, 1))


def write_stress(
    out: Path | None,
    faces: Conditions,
    corruptions: Sequence[Corruption],
    sample: Mapping[Condition, NDArray[np.uint8]],
    about: Mapping[str, Any],
    *,
    seed: int,
) -> dict[str, Any]:
    """Return what ``stress.json`` holds, and write ``out``, whole or not at all, if it is given.

    ``sample``: one crop under every condition; ``about``: ``threshold`` (a score), ``context``, ``speed``, ``warnings``.
    """
    check_stress(out)
    threshold = about["threshold"]
    clean = _measured(faces, CLEAN, threshold, seed)
    entries = [
        {
            "name": one.name,
            "title": one.title,
            "unit": one.unit,
            "strengths": [
                {
                    "strength": level,
                    "value": value,
                    **_measured(faces, (one.name, level), threshold, seed),
                    "difference": _difference(faces, [(one.name, level)], seed),
                }
                for level, value in enumerate(one.values, start=1)
            ],
        }
        for one in corruptions
    ]
    found: dict[str, Any] = {
        "format": STRESS_FORMAT,
        "version": STRESS_VERSION,
        "summary": _summary(faces, clean, entries, seed),
        "counts": counts_of(faces.labels, faces.groups),
        "threshold": threshold,
        "clean": clean,
        "corruptions": entries,
        "bootstrap": {"unit": "group", "repetitions": REPETITIONS, "seed": seed, "level": LEVEL},
        "speed": plain(about["speed"]),
        "context": plain(about["context"]),
        "warnings": [*about["warnings"], *few_groups({"label": faces.labels, "group": faces.groups})],
        "plots": {},
    }
    if out is None:
        return found
    with whole_folder(out) as fresh:
        drawings = {
            "curves": lambda path: draw_curves(found, path),
            "sample": lambda path: draw_sample(entries, sample, path),
        }
        found["plots"] = draw_plots(fresh, drawings)
        _write_predictions(fresh / "predictions.parquet", faces)
        save_json(fresh / "stress.json", found)
        page = markdown_page("stress", {**found, "headline": headline(found), "speed_words": speed_of(found)})
        (fresh / "stress.md").write_text(page, "utf-8")
    return found


def _measured(faces: Conditions, condition: Condition, threshold: float, seed: int) -> dict[str, Any]:
    """AUROC, recall and FPR of one condition, each value, low, high."""
    table: dict[str, NDArray[Any]] = {"label": faces.labels, "score": faces.scores[condition], "group": faces.groups}
    everything = np.ones(len(faces.labels), dtype=bool)
    metrics, _ = measure(table, everything, threshold, REPETITIONS, seed)
    return {key: metrics[key] for key in _SHOWN}


def _difference(faces: Conditions, conditions: Sequence[Condition], seed: int) -> dict[str, float | None]:
    """Mean AUROC of the conditions less that of clean faces: value, low, high, p; the latter None if unknown."""
    clean = faces.scores[CLEAN]
    corrupted = np.stack([faces.scores[condition] for condition in conditions])
    try:
        test = paired_bootstrap(
            faces.labels, corrupted, clean, faces.groups, repetitions=REPETITIONS, seed=seed, level=LEVEL
        )
    except DataError:  # too few groups to draw from; that there are few is among the warnings
        return {"low": None, "high": None, "p": None}
    return {"value": test.difference, "low": number(test.low), "high": number(test.high), "p": test.p}


def _summary(
    faces: Conditions, clean: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], seed: int
) -> dict[str, Any]:
    conditions = [
        {**{key: entry[key] for key in ("name", "title", "unit")}, **level}
        for entry in entries
        for level in entry["strengths"]
    ]
    areas = [one["auroc"]["value"] for one in conditions]
    names = [(one["name"], one["strength"]) for one in conditions]
    return {
        "robustness": robustness(clean["auroc"]["value"], areas),
        "mean_auroc": float(np.mean(areas)),
        "difference": _difference(faces, names, seed),
        "worst": min(conditions, key=lambda one: one["auroc"]["value"]),
        "lowest_recall": min(conditions, key=lambda one: one["recall"]["value"]),
        "highest_fpr": max(conditions, key=lambda one: one["fpr"]["value"]),
        "conditions": len(conditions),
    }


def headline(found: Mapping[str, Any]) -> str:
    """Return the result in two sentences, without markup."""
    summary, clean = found["summary"], found["clean"]["auroc"]["value"]
    survives, counts = summary["robustness"], found["counts"]
    first = (
        "The detector is no better than chance on untouched faces: there is nothing to lose"
        if survives is None
        else f"Robustness {survives:.2f}: over {summary['conditions']} conditions the mean AUROC is "
        f"{summary['mean_auroc']:.3f}, on the untouched {counts['n']:,} faces "
        f"{clean:.3f}{_difference_words(summary['difference'])}"
    )
    return (
        f"{first}. Lowest AUROC: {_worst_words(summary['worst'], 'auroc')}. At the fixed threshold recall falls to "
        f"{_worst_words(summary['lowest_recall'], 'recall')}, FPR rises to {_worst_words(summary['highest_fpr'], 'fpr')}."
    )


def _worst_words(condition: Mapping[str, Any], key: str) -> str:
    return f"{condition[key]['value']:.3f} ({condition['title']}, {condition['unit']} {condition['value']:g})"


def _difference_words(difference: Mapping[str, float | None]) -> str:
    if difference["low"] is None:
        return ""
    return f" (difference {difference['value']:+.3f}, {difference['low']:+.3f} to {difference['high']:+.3f})"


def speed_of(found: Mapping[str, Any]) -> str:
    """Return how fast it went and what took the time."""
    speed = found["speed"]
    whole = max(sum(speed["parts"].values()), 1e-9)
    shares = ", ".join(f"{name} {spent / whole:.0%}" for name, spent in speed["parts"].items())
    return (
        f"{speed['images']:,} pictures in {speed['seconds']:,.0f} s, {speed['images_per_s']:,.0f} images/s; "
        f"processor time {speed['processor_seconds']:,.0f} s: {shares}"
    )


def _write_predictions(path: Path, faces: Conditions) -> None:
    """One row per condition and face; ``row`` is its place in the split, as in the predictions of ``evaluate``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            pa.field("row", pa.int64()),
            pa.field("corruption", pa.string()),
            pa.field("strength", pa.int8()),
            pa.field("label", pa.int8()),
            pa.field("group", pa.string()),
            pa.field("logit", pa.float32()),
            pa.field("score", pa.float64()),
        ]
    )
    count = len(faces.labels)
    groups = pa.array([str(group) for group in faces.groups.tolist()])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for (name, strength), logits in faces.logits.items():
            columns = [
                faces.rows, pa.array([name] * count), np.full(count, strength, np.int8), faces.labels, groups,
                logits, faces.scores[name, strength],
            ]  # fmt: skip
            writer.write_table(pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema))
