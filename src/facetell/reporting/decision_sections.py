"""What a report says of acting on verdicts: the ideal threshold, calibration, a prevalence, the unsure band."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.evaluation.bootstrap import grouped_bootstrap
from facetell.evaluation.conformal import Band
from facetell.evaluation.densities import ideal_thresholds
from facetell.evaluation.metrics import ece, log_loss
from facetell.evaluation.rates import effective_share, operating_rates, precision_at, rate_interval
from facetell.evaluation.score_curves import calibrated
from facetell.reporting.result_folder import plain

__all__ = ["decision_sections", "operating_points"]

Columns = dict[str, NDArray[Any]]


def operating_points(table: Columns, points: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What each of a detector's operating points (name → value, rule) does to these faces, by threshold."""
    columns = (table["label"], table["score"], table["group"])
    return [
        {"name": name, "rule": point["rule"], "value": point["value"], **operating_rates(*columns, point["value"])}
        for name, point in sorted(points.items(), key=lambda item: float(item[1]["value"]))
    ]


def decision_sections(
    table: Columns,
    metrics: dict[str, Any],
    threshold: float,
    band: Band | None,
    prevalence: float | None,
    repetitions: int,
    seed: int,
) -> dict[str, Any]:
    """Return ``thresholds``, ``calibration``, ``prevalence`` and ``unsure`` of a report; None for what does not apply.

    ``metrics``: of the report, (name → value, low, high). All of it describes these faces and chooses nothing.
    """
    labels, scores, groups = (table[name] for name in ("label", "score", "group"))
    ideal = ideal_thresholds(labels, scores, groups, repetitions=repetitions, seed=seed)
    both = np.unique(labels).size == 2
    return {
        "thresholds": None if ideal is None else plain({**ideal, "detector": threshold}),
        "calibration": _calibration(table, metrics, repetitions, seed),
        "prevalence": None
        if prevalence is None or not both
        else plain({"share": prevalence, **precision_at(prevalence, labels, scores, groups, threshold)}),
        "unsure": None if band is None else _unsure(table, threshold, band),
    }


def _calibration(table: Columns, metrics: dict[str, Any], repetitions: int, seed: int) -> dict[str, Any]:
    """ECE and log loss before (sigmoid of the logit, temperature 1) and after, with intervals."""
    y, before = table["label"], calibrated(table["logit"], 1.0)
    intervals = grouped_bootstrap(y, before, table["group"], 0.5, repetitions=repetitions, seed=seed)
    values = {"ece": ece(y, before), "log_loss": log_loss(y, before)}
    uncalibrated = {
        key: {"value": value, "low": intervals[key][0], "high": intervals[key][1]} for key, value in values.items()
    }
    return {"before": plain(uncalibrated), "after": {key: metrics[key] for key in values}}


def _unsure(table: Columns, threshold: float, band: Band) -> dict[str, Any]:
    """How many faces of each label are called real, unsure and fake, and the share of wrong calls with its interval."""
    low, high = band.around(threshold)
    found: dict[str, Any] = {"low": low, "high": min(high, 1.0)}
    for label, name, wrong in ((0, "real", "fake"), (1, "fake", "real")):
        own = table["label"] == label
        scores = table["score"][own].astype(np.float64)
        calls = [band.decision(float(score), threshold) for score in scores]
        counts = {call: calls.count(call) for call in ("real", "unsure", "fake")}
        share = effective_share(scores, table["group"][own]) if own.any() else 1.0
        ends = rate_interval(counts[wrong] * share, own.sum() * share)
        rate = counts[wrong] / max(int(own.sum()), 1)
        found[name] = {**counts, "wrong": {"value": rate if own.any() else None, "low": ends[0], "high": ends[1]}}
    return dict(plain(found))
