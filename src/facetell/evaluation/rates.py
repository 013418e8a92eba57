"""Rates with exact intervals: what an operating point can promise of faces that were not there when it was chosen.

The interval is that of Clopper and Pearson (1934). Faces of one group err together, so they count as fewer than they
are: the number of faces is divided by Kish's design effect 1 + (m - 1) ρ, with m the mean size of the group that a face
is in and ρ the intraclass correlation of the scores (one-way analysis of variance). With one face a group it is exact.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.errors import DataError, SettingsError
from facetell.evaluation.metrics import checked

__all__ = ["check_prevalence", "effective_share", "operating_rates", "precision_at", "rate_interval"]

Rate = dict[str, float | None]


def rate_interval(hits: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return the Clopper–Pearson interval at ``level`` of a rate of ``hits`` in ``n``, neither needs to be whole.

    For a threshold put just above the ``hits`` highest of ``n`` scores the upper end also holds although the same
    scores chose it: the true rate then follows Beta(hits + 1, n - hits). (nan, nan) for n = 0.
    """
    from scipy.special import betaincinv  # a fifth of a second, and a verdict needs none

    if not n:
        return math.nan, math.nan
    tail = (1 - level) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
    return low, high


def effective_share(scores: ArrayLike, groups: ArrayLike) -> float:
    """Return in (0, 1] how much one face of ``scores`` (N,) in ``groups`` (N,) counts: 1 / design effect.

    1 without a correlation within groups or when every face is its own group. A single group of several faces says
    nothing about another one: it counts as one face.
    """
    s = np.asarray(scores, dtype=np.float64)
    _, members = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    sizes = np.bincount(members)
    n, k = s.size, sizes.size
    if k == n:
        return 1.0
    if k == 1:
        return 1 / n
    means = np.bincount(members, weights=s) / sizes
    between = float(np.sum(sizes * (means - s.mean()) ** 2)) / (k - 1)
    within = float(np.sum((s - means[members]) ** 2)) / (n - k)
    usual = (n - np.sum(sizes**2) / n) / (k - 1)
    spread = between + (usual - 1) * within
    correlation = max((between - within) / spread, 0.0) if spread > 0 else 1.0
    return float(1 / (1 + (np.sum(sizes**2) / n - 1) * correlation))


def _rate(hits: int, n: int, share: float, level: float) -> Rate:
    if not n:
        return {"value": None, "low": None, "high": None, "effective": 0.0}
    low, high = rate_interval(hits * share, n * share, level)
    return {"value": hits / n, "low": low, "high": high, "effective": n * share}


def operating_rates(
    labels: ArrayLike, scores: ArrayLike, groups: ArrayLike, threshold: float, level: float = 0.95
) -> dict[str, Rate]:
    """Return ``fpr``, ``recall`` and ``precision`` at ``threshold``, each with its interval at ``level``.

    ``effective`` is how many independent faces a rate is measured on. ``labels``, ``scores`` and ``groups`` are (N,). A
    rate without a denominator is None. Precision is that in the mix
    of these faces; its interval is made with the smaller of the two classes' effective shares.
    """
    y, s = checked(labels, scores)
    names = np.asarray(groups)
    called = s >= threshold
    real, fake = (effective_share(s[own], names[own]) if own.any() else 1.0 for own in (~y, y))
    fp, tp = int((called & ~y).sum()), int((called & y).sum())
    return {
        "fpr": _rate(fp, int((~y).sum()), real, level),
        "recall": _rate(tp, int(y.sum()), fake, level),
        "precision": _rate(tp, tp + fp, min(real, fake), level),
    }


def precision_at(
    prevalence: float, labels: ArrayLike, scores: ArrayLike, groups: ArrayLike, threshold: float
) -> dict[str, Rate]:
    """Return what a verdict is worth where the share ``prevalence`` of the faces is fake, with 95% intervals.

    ``precision``: how many of those called fake are; ``npv``: how many of those called real are (None where nothing is
    called so); ``called_fake``: share of all that is called fake. By Bayes' rule from recall and FPR on these faces
    (N,), of both labels; the intervals join those of the two rates at 97.5% each, so they hold together at 95% or more.

    Raises SettingsError for a prevalence outside (0, 1), DataError when a class is missing.
    """
    check_prevalence(prevalence)
    rates = operating_rates(labels, scores, groups, threshold, level=0.975)
    if rates["fpr"]["value"] is None or rates["recall"]["value"] is None:
        raise DataError("precision at a prevalence needs real and fake faces", hint="evaluate on a split with both")

    def found(recall: str, fpr: str) -> NDArray[np.float64]:
        tp, fp = prevalence * rates["recall"][recall], (1 - prevalence) * rates["fpr"][fpr]  # type: ignore[operator]
        fn, tn = prevalence - tp, 1 - prevalence - fp
        with np.errstate(invalid="ignore"):
            return np.array([np.divide(tp, tp + fp), np.divide(tn, tn + fn), tp + fp])

    value, worst, best = found("value", "value"), found("low", "high"), found("high", "low")
    most, least = found("high", "high"), found("low", "low")
    lows, highs = [worst[0], worst[1], least[2]], [best[0], best[1], most[2]]
    return {
        name: {key: float(number) if np.isfinite(number) else None for key, number in zip(_KEYS, numbers, strict=True)}
        for name, *numbers in zip(("precision", "npv", "called_fake"), value, lows, highs, strict=True)
    }


_KEYS = ("value", "low", "high")


def check_prevalence(prevalence: float) -> None:
    """Raise :class:`~facetell.errors.SettingsError` unless ``prevalence`` is a share between 0 and 1."""
    if not 0 < prevalence < 1:
        raise SettingsError(
            f"the prevalence is the share of fakes, between 0 and 1, got {prevalence:g}", hint="for example 0.01"
        )
