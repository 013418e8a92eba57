"""One logit for a file of many parts (the faces of a photo, the tracks of a video), so that many parts are no reason.

The largest of m logits of reals is above any threshold more often than one is: at a false positive rate of 5%, a photo
of 40 real faces would be called fake seven times in eight. With F the distribution function of one part of a *real* file,
the largest x of m lies at F(x)^m among the largest of m reals (Šidák 1967); the logit of one part that lies there is
Q(F(x)^m), with Q the inverse of F. So every threshold, band and score means for the file what it means for one part. Parts
of one file are alike, which makes their largest smaller than that of strangers: the rates are then below those of one part.

F is known from n reals as a `Sketch`: the j-th of n is one that a new real exceeds with probability (n - j + 1) / (n + 1),
whatever the law. To correct for 40 parts F must be known where one real in 800 lies, beyond most samples, so for its upper
tail there is a model as well: excesses over a high quantile follow a generalised Pareto distribution (Pickands 1975), fitted
by probability-weighted moments (Hosking and Wallis 1987). Its shape, between the exponential tail that so few excesses can
show and 1/2, and its mean are each taken one standard error (1 / √excesses) higher than found. Where reals and model
disagree, the heavier of the two holds: too heavy a tail costs some recall, too light a one calls real people fake.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facetell.errors import DataError
from facetell.evaluation.drift import Sketch

__all__ = ["corrected"]

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
    log_share = parts * _log_share(law.odds(logit))
    return law.logit(log_share - _log_rest(log_share))


def _log_share(odds: float) -> float:
    """The logarithm of the share that has these log-odds."""
    return -float(np.logaddexp(0.0, -odds))


def _log_rest(log_share: float) -> float:
    """The logarithm of 1 - share."""
    return math.log(-math.expm1(log_share)) if log_share < 0 else -math.inf


@dataclass(frozen=True)
class _Law:
    """The distribution function of one real, as its log-odds: straight between points, with a tail on each side."""

    points: NDArray[np.float64]
    """(K,) rising logits, of which some may be equal."""
    at: NDArray[np.float64]
    """(K,) rising log-odds of the share of reals below them."""
    start: float
    scale: float
    shape: float
    """Of the excesses over ``start``: S(y) = (1 + shape y / scale)^(-1 / shape)."""
    shortfall: float
    """Of the lower tail, which is exponential."""

    @classmethod
    def of(cls, real: Sketch) -> _Law:
        q, n, last = real.quantiles, real.effective, real.quantiles.size - 1
        tail = max(1, round(min(max(EXCESSES / n, 0.02), 0.5) * last))
        least = 1e-6 * (1 + float(np.abs(q).max()))
        k, above = max(1.0, n * tail / last), q[-tail - 1 :] - q[last - tail]
        mean, weighted = np.trapezoid(above) / tail, np.trapezoid(above * np.linspace(1, 0, tail + 1)) / tail
        found = 2 - mean / max(mean - 2 * weighted, least) if mean > least else 0.0
        scale = max(float(mean * (1 + 1 / math.sqrt(k)) * (1 - min(max(found, 0.0), SHAPE))), least)
        shape = float(min(max(found + 1 / math.sqrt(k), 1 / k), SHAPE))
        # Of n reals the largest is no bound for a new one, which exceeds it once in n + 1 times.
        shares = np.maximum(np.linspace(0, 1, last + 1) * n, 0.5) / (n + 1)
        rest = 1 - shares
        rest[-tail - 1 :] = np.maximum(
            rest[-tail - 1 :], rest[last - tail] * (1 + shape * above / scale) ** (-1 / shape)
        )
        shortfall = max(float(np.trapezoid(q[tail] - q[: tail + 1]) / tail), least)
        return cls(q, np.log1p(-rest) - np.log(rest), float(q[last - tail]), scale, shape, shortfall)

    def _beyond(self, logit: float) -> float:
        """Log of how much rarer a ``logit`` above the last point is than that point, by the model."""
        first, last = self.scale + self.shape * (self.points[-1] - self.start), self.shape * (logit - self.points[-1])
        return -math.log1p(last / first) / self.shape

    def odds(self, logit: float) -> float:
        """Log-odds of the share of reals below ``logit``."""
        if logit > self.points[-1]:
            log_rest = -float(np.logaddexp(0.0, self.at[-1])) + self._beyond(logit)
            return math.log(-math.expm1(log_rest)) - log_rest
        if logit <= self.points[0]:
            return float(self.at[0] - (self.points[0] - logit) / self.shortfall)
        right = int(np.searchsorted(self.points, logit, side="left"))
        left = self.points[right - 1]
        part = (logit - left) / (self.points[right] - left)
        return float(self.at[right - 1] + part * (self.at[right] - self.at[right - 1]))

    def logit(self, odds: float) -> float:
        """The logit at which ``odds`` are."""
        if odds > self.at[-1]:
            rarer = -float(np.logaddexp(0.0, odds)) + float(np.logaddexp(0.0, self.at[-1]))
            first = self.scale + self.shape * (self.points[-1] - self.start)
            return float(self.points[-1] + first / self.shape * math.expm1(-self.shape * rarer))
        if odds <= self.at[0]:
            return float(self.points[0] - self.shortfall * (self.at[0] - odds))
        return float(np.interp(odds, self.at, self.points))
