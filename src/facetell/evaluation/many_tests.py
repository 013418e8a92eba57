"""One logit for a file of many parts (the faces of a photo, the tracks of a video), so that many parts are no reason.

The largest of m logits of reals is above any threshold more often than one is: at a false positive rate of 5%, a photo
of 40 real faces would be called fake seven times in eight. With F the distribution function of one part of a *real* file,
the largest x of m lies at F(x)^m among the largest of m reals (Šidák 1967); the logit of one part that lies there is
Q(F(x)^m), with Q the inverse of F. So every threshold, band and score means for the file what it means for one part. Parts
of one file are alike, which makes their largest smaller than that of strangers: the rates are then below those of one part.

F is known from n reals as a `Sketch`. To correct for 40 parts one must know it where one real in 800 lies, beyond most
samples, so its upper tail is a model: excesses over a high quantile follow a generalised Pareto distribution (Pickands
1975), fitted by probability-weighted moments (Hosking and Wallis 1987). Its shape, between the exponential tail that so few
excesses can show and 1/2, and its mean are each taken one standard error (1 / √excesses) higher than found: too heavy a
tail costs some recall, too light a one calls real people fake.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facetell.errors import DataError
from facetell.evaluation.drift import Sketch

__all__ = ["corrected"]

_LEAST = 1e-300
EXCESSES = 25
"""Reals beyond the quantile at which the model begins, counted as independent ones; it begins between 2% and half."""
SHAPE = 0.5
"""Largest shape of the tail: beyond it the excesses have no variance, and so few of them cannot tell the shape."""


def corrected(logit: float, parts: int, real: Sketch) -> float:
    """The logit of a file whose largest of ``parts`` logits is ``logit``; that one itself where there is one part.

    ``real``: of one part of real files. Rises with ``logit``, falls with ``parts``. Raises ``DataError`` for no part.
    """
    if parts < 1:
        raise DataError(f"a file is judged by one part or more, not by {parts}")
    if parts == 1:
        return logit
    law = _Law.of(real)
    return law.quantile(parts * law.log_cdf(logit))


@dataclass(frozen=True)
class _Law:
    """The distribution function of one real: its sketch in the middle, a tail on each side."""

    points: NDArray[np.float64]
    """(K,) rising logits, of which some may be equal."""
    shares: NDArray[np.float64]
    """(K,) rising: F there, or at equal points from the least to the most."""
    scale: float
    shape: float
    """Of the excesses over the last point: S(y) = (1 + shape y / scale)^(-1 / shape)."""
    shortfall: float
    """Mean distance from the first point of those below it, as an exponential tail."""

    @classmethod
    def of(cls, real: Sketch) -> _Law:
        q, n = real.quantiles, real.effective
        share = min(max(EXCESSES / n, 0.02), 0.5)
        tail = max(1, round(share * (q.size - 1)))
        middle = slice(tail, q.size - tail) if 2 * tail < q.size - 1 else slice(tail, tail + 1)
        # Of n reals the largest is no bound for a new one, which exceeds it once in n + 1 times.
        shares = np.linspace(0, 1, q.size)[middle] * n / (n + 1)
        points, least = q[middle], 1e-6 * (1 + float(np.abs(q).max()))
        k, above = max(1.0, n * tail / (q.size - 1)), q[-tail - 1 :] - points[-1]
        mean, weighted = np.trapezoid(above) / tail, np.trapezoid(above * np.linspace(1, 0, tail + 1)) / tail
        found = 2 - mean / max(mean - 2 * weighted, least) if mean > least else 0.0
        scale = mean * (1 + 1 / math.sqrt(k)) * (1 - min(max(found, 0.0), SHAPE))
        shape = min(max(found + 1 / math.sqrt(k), 1 / k), SHAPE)
        shortfall = np.trapezoid(points[0] - q[: tail + 1]) / tail
        return cls(points, shares, max(float(scale), least), float(shape), max(float(shortfall), least))

    @property
    def _beyond(self) -> float:
        """Share of reals beyond the last point."""
        return float(1 - self.shares[-1])

    def log_cdf(self, logit: float) -> float:
        """Log of the share of reals below ``logit``."""
        above, below = logit - self.points[-1], self.points[0] - logit
        if above > 0:
            return math.log1p(-max(self._beyond * (1 + self.shape * above / self.scale) ** (-1 / self.shape), _LEAST))
        if below >= 0:
            return math.log(self.shares[0]) - below / self.shortfall
        right = int(np.searchsorted(self.points, logit, side="left"))
        left = self.points[right - 1]
        part = (logit - left) / (self.points[right] - left)
        return math.log(self.shares[right - 1] + part * (self.shares[right] - self.shares[right - 1]))

    def quantile(self, log_share: float) -> float:
        """The logit at which ``log_cdf`` is ``log_share``, a number below 0."""
        if log_share <= math.log(self.shares[0]):
            return float(self.points[0] + self.shortfall * (log_share - math.log(self.shares[0])))
        share = math.exp(log_share)
        if share <= self.shares[-1]:
            return float(np.interp(share, self.shares, self.points))
        rarer = -math.expm1(log_share) / self._beyond
        return float(self.points[-1] + self.scale / self.shape * (rarer**-self.shape - 1))
