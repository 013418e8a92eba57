"""Turn logits into probabilities of fake, without a change in the ranking of the faces.

Temperature scaling (Guo et al. 2017, section 4.2, for two classes) divides every logit by one number T > 0. Isotonic
regression (Zadrozny and Elkan 2002) fits any rising curve: more than a few faces can tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.errors import DataError
from facetell.evaluation.metrics import checked

__all__ = [
    "ISOTONIC_FACES",
    "TEMPERATURE_RANGE",
    "Curve",
    "calibrated",
    "fit_isotonic",
    "fit_temperature",
    "log_odds",
    "pool_violators",
    "prior_shift",
]

TEMPERATURE_RANGE = (0.05, 20.0)
"""Temperatures outside say more about the data than about the detector; the fit stops there."""

ISOTONIC_FACES = 1000
"""Faces below which an isotonic curve follows noise (Niculescu-Mizil and Caruana 2005, figure 7)."""

Floats = NDArray[np.float64]

_ROUNDING = 1e-12


def calibrated(logits: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Return the probability of fake, ``sigmoid(logits / temperature)``, in the shape of ``logits``, in [0, 1]."""
    return _sigmoid(np.asarray(logits, dtype=np.float64) / temperature)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the T in :data:`TEMPERATURE_RANGE` with the least log loss of ``logits`` (N,) against ``labels`` (N,).

    The loss is convex in 1 / T, so its slope has one root, found by Brent's method on log T. When every logit already has
    the sign of its label the loss has no minimum (T -> 0 only makes a perfect fit more certain than the data can
    show); then Platt's targets (n + 1) / (n + 2) and 1 / (n + 2) replace 1 and 0 (Platt 1999, eq. 4 and 5).
    When the slope has no root in the range the nearer bound is returned.

    Raises :class:`~facetell.errors.DataError` when a class is missing or a logit is not finite.
    """
    from scipy.optimize import brentq  # slow to import

    y, z = checked(labels, logits)
    n_fake = int(y.sum())
    n_real = y.size - n_fake
    if not n_fake or not n_real:
        raise DataError(
            f"a temperature needs real and fake faces, got {n_real} real and {n_fake} fake",
            hint="give the validation split faces of both labels",
        )
    targets = y.astype(np.float64)
    if np.all(np.where(y, z, -z) >= 0):
        targets = np.where(y, (n_fake + 1) / (n_fake + 2), 1 / (n_real + 2))

    def slope(log_t: float) -> float:
        """Derivative of the mean loss by 1 / T: falls as T grows."""
        return float(np.mean(z * (_sigmoid(z * np.exp(-log_t)) - targets)))

    low, high = np.log(TEMPERATURE_RANGE)
    if slope(low) <= 0:
        return TEMPERATURE_RANGE[0]
    if slope(high) >= 0:
        return TEMPERATURE_RANGE[1]
    return float(np.exp(brentq(slope, low, high, xtol=1e-14)))


def log_odds(scores: ArrayLike) -> Floats:
    """Return log(p / (1 - p)) of ``scores`` in [0, 1], -inf and inf at the ends: what ``calibrated`` undoes."""
    p = np.asarray(scores, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(p) - np.log1p(-p))


def _sigmoid(z: Floats) -> Floats:
    """As ``scipy.special.expit``, whose import takes as long as judging a face."""
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-z)))


def prior_shift(prevalence: float, share: float) -> float:
    """Return what to add to a score's log-odds where the share of fakes is ``prevalence`` instead of ``share``.

    Elkan 2001, theorem 2; Saerens et al. 2002, eq. 4. It assumes that the fakes themselves, and the reals, are alike.
    """
    return float(log_odds(prevalence) - log_odds(share))


@dataclass(frozen=True)
class Curve:
    """From a logit to the probability of fake, rising everywhere, so it can be undone.

    With ``knots``, pairs (logit, log-odds) in rising order, the log-odds run straight from knot to knot and on beyond
    the outer two with the slope 1 / ``temperature``; without, they are ``logit / temperature``.
    """

    temperature: float
    knots: tuple[tuple[float, float], ...] = ()

    def scores(self, logits: ArrayLike) -> Floats:
        """Probabilities of fake in [0, 1], in the shape of ``logits``."""
        z = np.asarray(logits, dtype=np.float64)
        if not self.knots:
            return calibrated(z, self.temperature)
        x, y = np.array(self.knots).T
        return _sigmoid(np.interp(z, x, y) + (z - np.clip(z, x[0], x[-1])) / self.temperature)

    def logits(self, scores: ArrayLike) -> Floats:
        """The logits of ``scores``, the inverse; -inf and inf for 0 and 1."""
        odds = log_odds(scores)
        if not self.knots:
            return np.asarray(odds * self.temperature)
        x, y = np.array(self.knots).T
        return np.asarray(np.interp(odds, y, x) + (odds - np.clip(odds, y[0], y[-1])) * self.temperature)


def pool_violators(values: ArrayLike, weights: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    """Return the rising sequence nearest to ``values`` (N,) in weighted squares, by blocks: value and length (B,).

    Pool adjacent violators (Ayer et al. 1955); blocks apart by no more than rounding are one.
    """
    from scipy.optimize import isotonic_regression

    rising = isotonic_regression(np.asarray(values, float), weights=np.asarray(weights, float)).x
    starts = np.flatnonzero(np.diff(rising, prepend=-np.inf) > _ROUNDING)
    return rising[starts], np.diff(starts, append=rising.size)


def fit_isotonic(logits: ArrayLike, labels: ArrayLike) -> Curve:
    """Return the curve through the blocks of the isotonic regression of ``labels`` (N,) on ``logits`` (N,).

    A knot is the mean logit of a block's faces and its share of fakes, kept 1 / (N + 2) from 0 and 1. Steps would make
    faces equal that the detector tells apart; lines from knot to knot keep the ranking, and with it AUROC.

    Raises :class:`~facetell.errors.DataError` for fewer than :data:`ISOTONIC_FACES` faces, or as ``fit_temperature``.
    """
    y, z = checked(labels, logits)
    if y.size < ISOTONIC_FACES:
        raise DataError(
            f"isotonic calibration needs {ISOTONIC_FACES:,} faces, there are {y.size:,}", hint="use temperature"
        )
    temperature = fit_temperature(logits, labels)
    distinct, members, counts = np.unique(z, return_inverse=True, return_counts=True)
    shares, lengths = pool_violators(np.bincount(members, weights=y) / counts, counts)
    starts = np.append(0, np.cumsum(lengths)[:-1])
    centres = np.add.reduceat(distinct * counts, starts) / np.add.reduceat(counts, starts)
    edge = 1 / (y.size + 2)
    odds = log_odds(np.clip(shares, edge, 1 - edge))
    if not (np.diff(centres) > 0).all():
        raise DataError("the logits lie too close together for an isotonic curve", hint="use temperature")
    return Curve(temperature, tuple(zip(centres.tolist(), odds.tolist(), strict=True)))
