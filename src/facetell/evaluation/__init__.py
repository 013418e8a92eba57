"""Metrics, intervals, comparison, calibration, thresholds, predictions: what a detector is worth, with numpy and scipy alone."""

from __future__ import annotations

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
