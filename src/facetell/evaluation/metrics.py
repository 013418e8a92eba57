"""Metrics of a binary detector: ranking (AUROC, average precision, EER), decisions, calibration.

Positive class: fake = 1; a face is called fake when ``score >= threshold``. Equal scores are one point of a curve, as
in scikit-learn, so no metric depends on the order of the rows. What is undefined is nan, never 0 and never a warning:
a ratio without a denominator (precision when nothing is called fake), and AUROC, average precision, EER and balanced
accuracy when a class is missing. One sort per call: O(n log n).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.errors import DataError

__all__ = [
    "SUMMARY_KEYS",
    "Confusion",
    "Ranking",
    "ReliabilityBins",
    "area_under_roc",
    "auroc",
    "average_precision",
    "bin_index",
    "brier",
    "checked",
    "confusion",
    "decision_rates",
    "ece",
    "eer",
    "equal_error_rate",
    "log_loss",
    "log_losses",
    "precision_area",
    "precision_recall_curve",
    "reliability_bins",
    "roc_curve",
    "summary",
]

SUMMARY_KEYS = (
    "n",
    "n_real",
    "n_fake",
    "auroc",
    "average_precision",
    "eer",
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "fpr",
    "f1",
    "ece",
    "log_loss",
)
"""The keys of :func:`summary`, in the order they are shown."""

Floats = NDArray[np.float64]


def checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    """Return ``labels`` (N,) as bool (True = fake) and ``scores`` (N,) as float64.

    Raises :class:`~facetell.errors.DataError` when the shapes differ, a label is not 0 or 1, or a score is not finite.
    """
    y = np.asarray(labels)
    s = np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape:
        raise DataError(f"labels and scores must be two columns of one length, got shapes {y.shape} and {s.shape}")
    if not np.isin(y, (0, 1)).all():
        raise DataError("labels must be 0 (real) or 1 (fake)", hint=f"found {np.setdiff1d(y, (0, 1))[:5].tolist()}")
    if not np.isfinite(s).all():
        bad = np.flatnonzero(~np.isfinite(s))
        raise DataError(f"{bad.size} of {s.size} scores are not finite numbers, the first in row {bad[0]}")
    return y.astype(bool), s


def _divide(top: ArrayLike, bottom: ArrayLike) -> Floats:
    """Divide elementwise; nan where the denominator is 0."""
    a, b = np.broadcast_arrays(np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64))
    return np.asarray(np.divide(a, b, out=np.full(a.shape, np.nan), where=b != 0))


class Ranking:
    """Faces sorted once from most to least fake, equal scores merged into one step.

    ``thresholds`` (K,) holds the distinct scores, descending; ``order`` (N,) the row of each sorted position.
    """

    def __init__(self, labels: ArrayLike, scores: ArrayLike) -> None:
        y, s = checked(labels, scores)
        self.order = np.argsort(-s, kind="stable")
        ranked = s[self.order]
        self._fake = y[self.order]
        # The last position of every run of equal scores: thresholds between equal scores do not exist.
        self._ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: ranked.size])
        self.thresholds = ranked[self._ends]

    def counts(self, weights: Floats | None = None) -> tuple[Floats, Floats]:
        """Return false and true positives when everything from each distinct score upward is called fake.

        Both are (..., K). ``weights`` (..., N) counts every row that often, in the order of ``order``; default once.
        """
        if weights is None:
            weights = np.ones(self._fake.size)
        everything = np.cumsum(weights, axis=-1)[..., self._ends]
        true_positives = np.cumsum(weights * self._fake, axis=-1)[..., self._ends]
        return everything - true_positives, true_positives


def _from_zero(counts: Floats) -> Floats:
    """Prepend the point at which nothing is called fake."""
    return np.concatenate([np.zeros((*counts.shape[:-1], 1)), counts], axis=-1)


def _last(counts: Floats) -> Floats:
    """Totals (...,) of cumulated counts (..., K); 0 when there is no row at all."""
    return counts[..., -1] if counts.shape[-1] else np.zeros(counts.shape[:-1])


def area_under_roc(fps: Floats, tps: Floats) -> Floats:
    """AUROC (...,) by the trapezoid rule from the counts of :class:`Ranking`; nan where a class is missing."""
    x, y = _from_zero(fps), _from_zero(tps)
    area = np.sum(np.diff(x, axis=-1) * (y[..., 1:] + y[..., :-1]), axis=-1) / 2
    return _divide(area, _last(fps) * _last(tps))


def precision_area(fps: Floats, tps: Floats) -> Floats:
    """Average precision (...,): sum of (R_k - R_{k-1}) P_k, without interpolation; nan where a class is missing."""
    called = fps + tps
    precision = np.divide(tps, called, out=np.zeros_like(tps), where=called > 0)
    area = np.sum(np.diff(_from_zero(tps), axis=-1) * precision, axis=-1)
    return np.where(_last(fps) > 0, _divide(area, _last(tps)), np.nan)


def equal_error_rate(fps: Floats, tps: Floats) -> Floats:
    """EER (...,): where FPR = 1 - TPR on the ROC drawn with straight lines; nan where a class is missing."""
    fpr = _divide(_from_zero(fps), _last(fps)[..., None])
    tpr = _divide(_from_zero(tps), _last(tps)[..., None])
    excess = fpr + tpr - 1  # grows from -1 to 1 along the curve
    after = np.argmax(excess >= 0, axis=-1)[..., None]
    defined = (_last(fps) > 0) & (_last(tps) > 0)
    after = np.where(defined[..., None], after, 0)
    before = np.maximum(after - 1, 0)
    low, high = np.take_along_axis(excess, before, -1), np.take_along_axis(excess, after, -1)
    x0, x1 = np.take_along_axis(fpr, before, -1), np.take_along_axis(fpr, after, -1)
    return np.asarray((x0 + _divide(-low, high - low) * (x1 - x0))[..., 0])


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return FPR, TPR and thresholds, each (K + 1,), one point per distinct score.

    The first point is (0, 0) at threshold inf. A rate whose class is missing is nan throughout.
    """
    ranking = Ranking(labels, scores)
    fps, tps = ranking.counts()
    fpr, tpr = (_divide(_from_zero(counts), _last(counts)) for counts in (fps, tps))
    return fpr, tpr, np.append(np.inf, ranking.thresholds)


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve in [0, 1]: how often a fake scores above a real, ties half; nan without both."""
    return float(area_under_roc(*Ranking(labels, scores).counts()))


def precision_recall_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return precision (K + 1,), recall (K + 1,) and thresholds (K,), thresholds ascending.

    The last point is precision 1 at recall 0 and has no threshold. Recall is nan when there is no fake.
    """
    ranking = Ranking(labels, scores)
    fps, tps = ranking.counts()
    precision, recall = _divide(tps, fps + tps), _divide(tps, _last(tps))
    return np.append(precision[::-1], 1.0), np.append(recall[::-1], 0.0), ranking.thresholds[::-1]


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Average precision in [0, 1], the step-wise area under the precision-recall curve; nan without both classes."""
    return float(precision_area(*Ranking(labels, scores).counts()))


def eer(labels: ArrayLike, scores: ArrayLike) -> float:
    """Equal error rate in [0, 1]: FPR = FNR, interpolated linearly on the ROC; nan without both classes."""
    return float(equal_error_rate(*Ranking(labels, scores).counts()))


def decision_rates(tn: ArrayLike, fp: ArrayLike, fn: ArrayLike, tp: ArrayLike) -> dict[str, Floats]:
    """Return accuracy, balanced_accuracy, precision, recall, fpr and f1 for counts of any one shape."""
    a, b, c, d = (np.asarray(count, dtype=np.float64) for count in (tn, fp, fn, tp))
    recall, fpr = _divide(d, d + c), _divide(b, b + a)
    return {
        "accuracy": _divide(a + d, a + b + c + d),
        "balanced_accuracy": (recall + 1 - fpr) / 2,
        "precision": _divide(d, d + b),
        "recall": recall,
        "fpr": fpr,
        "f1": _divide(2 * d, 2 * d + b + c),
    }


@dataclass(frozen=True)
class Confusion:
    """Decisions counted at one threshold. Undefined ratios are nan (scikit-learn's ``zero_division=nan``)."""

    tn: int
    fp: int
    fn: int
    tp: int

    def _rate(self, name: str) -> float:
        return float(decision_rates(self.tn, self.fp, self.fn, self.tp)[name])

    @property
    def accuracy(self) -> float:
        """Share of all faces decided correctly."""
        return self._rate("accuracy")

    @property
    def balanced_accuracy(self) -> float:
        """Mean of recall and 1 - FPR; nan when a class is missing."""
        return self._rate("balanced_accuracy")

    @property
    def precision(self) -> float:
        """Share of the faces called fake that are fake; nan when none is called fake."""
        return self._rate("precision")

    @property
    def recall(self) -> float:
        """Share of the fakes that are called fake (TPR); nan when there is no fake."""
        return self._rate("recall")

    @property
    def fpr(self) -> float:
        """Share of the reals that are called fake; nan when there is no real."""
        return self._rate("fpr")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; nan when there is no fake and none is called fake."""
        return self._rate("f1")


def confusion(labels: ArrayLike, scores: ArrayLike, threshold: float) -> Confusion:
    """Count the decisions ``score >= threshold`` (compared in float64)."""
    y, s = checked(labels, scores)
    called = s >= threshold
    tp, fp = int(np.sum(called & y)), int(np.sum(called & ~y))
    n_fake = int(y.sum())
    return Confusion(tn=y.size - n_fake - fp, fp=fp, fn=n_fake - tp, tp=tp)


def _probabilities(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    y, p = checked(labels, probabilities)
    if p.size and (p.min() < 0 or p.max() > 1):
        raise DataError(f"probabilities must lie in [0, 1], found {p.min():.4g} to {p.max():.4g}")
    return y, p


@dataclass(frozen=True)
class ReliabilityBins:
    """Equal-width bins of the probability of fake; every array is (bins,), means are nan in an empty bin."""

    edges: Floats
    """(bins + 1,), from 0 to 1."""
    counts: NDArray[np.int64]
    """Faces per bin."""
    predicted: Floats
    """Mean probability of fake in the bin."""
    observed: Floats
    """Share of fakes in the bin."""


def bin_index(probabilities: Floats, bins: int) -> NDArray[np.int64]:
    """Bin (N,) of each probability: ``[k / bins, (k + 1) / bins)``, the last one closed."""
    return np.minimum((probabilities * bins).astype(np.int64), bins - 1)


def reliability_bins(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> ReliabilityBins:
    """Compare the predicted probability of fake with the observed share of fakes, bin by bin."""
    y, p = _probabilities(labels, probabilities)
    index = bin_index(p, bins)
    counts = np.bincount(index, minlength=bins)
    return ReliabilityBins(
        edges=np.linspace(0, 1, bins + 1),
        counts=counts,
        predicted=_divide(np.bincount(index, weights=p, minlength=bins), counts),
        observed=_divide(np.bincount(index, weights=y, minlength=bins), counts),
    )


def ece(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error of the probability of fake in [0, 1], equal-width bins; nan without rows.

    Mean over the faces of |mean probability - share of fakes| in their bin (Guo et al. 2017, eq. 3, with the
    probability of fake in place of the confidence).
    """
    y, p = _probabilities(labels, probabilities)
    gaps = np.bincount(bin_index(p, bins), weights=p - y, minlength=bins)
    return float(_divide(np.abs(gaps).sum(), y.size))


def log_losses(labels: ArrayLike, probabilities: ArrayLike) -> Floats:
    """Loss (N,) of each face in nats; probabilities are kept one machine epsilon of their own type from 0 and 1."""
    y, p = _probabilities(labels, probabilities)
    dtype: Any = np.asarray(probabilities).dtype
    eps = float(np.finfo(dtype if np.issubdtype(dtype, np.floating) else np.float64).eps)
    return np.asarray(-np.log(np.clip(np.where(y, p, 1 - p), eps, 1 - eps)))


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean log loss in nats; nan without rows."""
    losses = log_losses(labels, probabilities)
    return float(_divide(losses.sum(), losses.size))


def brier(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Brier score in [0, 1]: mean squared difference of probability and label; nan without rows."""
    y, p = _probabilities(labels, probabilities)
    return float(_divide(np.sum((p - y) ** 2), y.size))


def summary(labels: ArrayLike, scores: ArrayLike, threshold: float) -> dict[str, float]:
    """Return every metric of :data:`SUMMARY_KEYS`; ``scores`` (N,) are probabilities of fake in [0, 1]."""
    y, _ = checked(labels, scores)
    counts = Ranking(labels, scores).counts()
    matrix = confusion(labels, scores, threshold)
    rates = decision_rates(matrix.tn, matrix.fp, matrix.fn, matrix.tp)
    return {
        "n": float(y.size),
        "n_real": float(y.size - y.sum()),
        "n_fake": float(y.sum()),
        "auroc": float(area_under_roc(*counts)),
        "average_precision": float(precision_area(*counts)),
        "eer": float(equal_error_rate(*counts)),
        **{name: float(rate) for name, rate in rates.items()},
        "ece": ece(labels, scores),
        "log_loss": log_loss(labels, scores),
    }
