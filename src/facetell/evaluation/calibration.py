"""Temperature scaling: turn logits into probabilities of fake (Guo et al. 2017, section 4.2, for two classes).

One number T > 0 divides every logit, so the ranking of the faces, and with it AUROC, stays as it was.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.errors import DataError
from facetell.evaluation.metrics import checked

__all__ = ["TEMPERATURE_RANGE", "calibrated", "fit_temperature"]

TEMPERATURE_RANGE = (0.05, 20.0)
"""Temperatures outside say more about the data than about the detector; the fit stops there."""

_STEPS = 60  # halvings of log T over a range of 6: far below float64 resolution


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    small = np.exp(-np.abs(z))  # in (0, 1]: never overflows
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


def calibrated(logits: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Return the probability of fake, ``sigmoid(logits / temperature)``, in the shape of ``logits``, in [0, 1]."""
    return _sigmoid(np.asarray(logits, dtype=np.float64) / temperature)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the T in :data:`TEMPERATURE_RANGE` with the least log loss of ``logits`` (N,) against ``labels`` (N,).

    The loss is convex in 1 / T, so its slope has one root, found by bisection on log T. When every logit already has
    the sign of its label the loss has no minimum (T -> 0 only makes a perfect fit more certain than the data can
    show); then Platt's targets (n + 1) / (n + 2) and 1 / (n + 2) replace 1 and 0 (Platt 1999, eq. 4 and 5).
    When the slope has no root in the range the nearer bound is returned.

    Raises :class:`~facetell.errors.DataError` when a class is missing or a logit is not finite.
    """
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
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return float(np.exp((low + high) / 2))
