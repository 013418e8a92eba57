"""Metrics, intervals, comparison, calibration, thresholds, predictions: what a detector is worth, with numpy and scipy alone."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facetell.evaluation.bootstrap import Intervals, grouped_bootstrap
    from facetell.evaluation.comparison import (
        BootstrapComparison,
        Comparison,
        auroc_covariance,
        delong,
        holm,
        paired_bootstrap,
    )
    from facetell.evaluation.conformal import Band, fit_band
    from facetell.evaluation.densities import ideal_thresholds
    from facetell.evaluation.metrics import (
        Confusion,
        auroc,
        average_precision,
        brier,
        confusion,
        ece,
        eer,
        log_loss,
        precision_recall_curve,
        reliability_bins,
        roc_curve,
        summary,
    )
    from facetell.evaluation.predictions import read_predictions, write_predictions
    from facetell.evaluation.rates import operating_rates, precision_at, rate_interval
    from facetell.evaluation.score_curves import Curve, calibrated, fit_isotonic, fit_temperature
    from facetell.evaluation.thresholds import THRESHOLD_RULES, choose_threshold

__all__ = [
    "THRESHOLD_RULES",
    "Band",
    "BootstrapComparison",
    "Comparison",
    "Confusion",
    "Curve",
    "Intervals",
    "auroc",
    "auroc_covariance",
    "average_precision",
    "brier",
    "calibrated",
    "choose_threshold",
    "confusion",
    "delong",
    "ece",
    "eer",
    "fit_band",
    "fit_isotonic",
    "fit_temperature",
    "grouped_bootstrap",
    "holm",
    "ideal_thresholds",
    "log_loss",
    "operating_rates",
    "paired_bootstrap",
    "precision_at",
    "precision_recall_curve",
    "rate_interval",
    "read_predictions",
    "reliability_bins",
    "roc_curve",
    "summary",
    "write_predictions",
]

_HOMES = {
    "THRESHOLD_RULES": "thresholds",
    "Band": "conformal",
    "BootstrapComparison": "comparison",
    "Comparison": "comparison",
    "Confusion": "metrics",
    "Curve": "score_curves",
    "Intervals": "bootstrap",
    "auroc": "metrics",
    "auroc_covariance": "comparison",
    "average_precision": "metrics",
    "brier": "metrics",
    "calibrated": "score_curves",
    "choose_threshold": "thresholds",
    "confusion": "metrics",
    "delong": "comparison",
    "ece": "metrics",
    "eer": "metrics",
    "fit_band": "conformal",
    "fit_isotonic": "score_curves",
    "fit_temperature": "score_curves",
    "grouped_bootstrap": "bootstrap",
    "holm": "comparison",
    "ideal_thresholds": "densities",
    "log_loss": "metrics",
    "operating_rates": "rates",
    "paired_bootstrap": "comparison",
    "precision_at": "rates",
    "precision_recall_curve": "metrics",
    "rate_interval": "rates",
    "read_predictions": "predictions",
    "reliability_bins": "metrics",
    "roc_curve": "metrics",
    "summary": "metrics",
    "write_predictions": "predictions",
}


def __getattr__(name: str) -> Any:
    """Import on first use: a verdict needs a sigmoid, and no scipy."""
    if name not in _HOMES:
        raise AttributeError(f"module 'facetell.evaluation' has no attribute '{name}'")
    return getattr(importlib.import_module(f"facetell.evaluation.{_HOMES[name]}"), name)
