"""Metrics with intervals of some rows of a predictions table, and the warning of too few groups for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.evaluation.bootstrap import Intervals, grouped_bootstrap
from facetell.evaluation.metrics import SUMMARY_KEYS, summary
from facetell.reporting.result_folder import number

__all__ = ["LEVEL", "few_groups", "measure"]

LEVEL = 0.95
"""Of the intervals."""

_COUNTS = ("n", "n_real", "n_fake")
_RANKING = ("auroc", "average_precision", "eer")
_NEED_BOTH = ("precision", "f1")
_FEW_GROUPS = 20  # below this a percentile bootstrap is known to be too narrow

Columns = dict[str, NDArray[Any]]


def measure(
    table: Columns, rows: NDArray[Any], threshold: float | None, repetitions: int, seed: int
) -> tuple[dict[str, Any], Intervals]:
    """Metrics (name → value, low, high) of some rows of a predictions table, and the bootstrap they come from.

    Without a threshold those of the ranking alone; the others are None.
    """
    asked = SUMMARY_KEYS if threshold is not None else _RANKING
    threshold = 0.5 if threshold is None else threshold
    labels, scores, groups = (table[name][rows] for name in ("label", "score", "group"))
    intervals = grouped_bootstrap(labels, scores, groups, threshold, repetitions=repetitions, seed=seed, level=LEVEL)
    found = summary(labels, scores, threshold)
    if not found["n_real"] or not found["n_fake"]:
        found |= dict.fromkeys(_NEED_BOTH, float("nan"))  # 0 or 1 whatever the detector does: says nothing
        intervals |= dict.fromkeys(_NEED_BOTH, (float("nan"), float("nan")))
    metrics = {
        key: {"value": number(found[key]), "low": number(intervals[key][0]), "high": number(intervals[key][1])}
        if key in asked
        else {"value": None, "low": None, "high": None}
        for key in SUMMARY_KEYS
        if key not in _COUNTS
    }
    return metrics, intervals


def few_groups(table: Columns) -> list[str]:
    """Warn of each class of a predictions table that is missing or of few groups."""
    found = []
    for name, label in (("real", 0), ("fake", 1)):
        groups = np.unique(table["group"][table["label"] == label].astype(str)).size
        if not groups:
            found.append(f"no {name} face: AUROC, average precision, EER and balanced accuracy are not defined")
        elif groups < _FEW_GROUPS:
            found.append(f"{name} faces come from only {groups} group(s): their intervals are likely too narrow")
    return found
