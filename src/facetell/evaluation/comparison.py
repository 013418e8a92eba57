"""Does one detector rank better than another? Two tests of a difference of AUROC on the same faces.

The faces are the same, so the two AUROC are correlated and overlapping intervals say little: what is tested is the
difference itself. Faces of one group (an identity; a fake and the photo it was made from) are dependent, and both tests
take whole groups as their unit: DeLong's by the variance of Obuchowski (1997), the bootstrap by drawing groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.errors import DataError
from facetell.evaluation.bootstrap import check_bootstrap, draw_groups, group_members, percentiles
from facetell.evaluation.metrics import Ranking, area_under_roc, checked

__all__ = ["BootstrapComparison", "Comparison", "auroc_covariance", "delong", "holm", "paired_bootstrap"]

_ZERO = 1e-12  # differences of AUROC below this are rounding: one pair of faces moves it by 1 / (reals · fakes)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """A difference of AUROC, a minus b, in [-1, 1]."""

    difference: float
    standard_error: float
    low: float
    """Lower end of the interval of the difference."""
    high: float
    p: float
    """Two-sided: how often a difference at least this large would be seen if there were none."""
    groups: int
    """Groups of faces the error was estimated over; the faces themselves where none were given."""

    @property
    def detectable(self) -> float:
        """The true difference these faces would show at p < 0.05 four times out of five: (1.96 + 0.84) errors."""
        return (NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)) * self.standard_error


@dataclass(frozen=True)
class BootstrapComparison(Comparison):
    """A :class:`Comparison` by resampling."""

    repetitions: int
    """Drawn."""
    omitted: int
    """Of these, left out because a class was missing."""


def _columns(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    """Labels (N,) and scores (S, N), of both classes; one score column becomes S = 1."""
    columns = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if columns.ndim != 2 or not columns.shape[0]:
        raise DataError(f"scores must be (faces,) or (seeds, faces), got shape {columns.shape}")
    for column in columns:
        y, _ = checked(labels, column)
    fakes = int(y.sum())
    if fakes in (0, y.size):
        raise DataError(f"an AUROC needs real and fake faces, got {y.size - fakes} real and {fakes} fake")
    return y, columns


def _components(y: NDArray[np.bool_], scores: Floats) -> Floats:
    """Structural components (N,) of one column: the share of the other class each face is ranked right against.

    Binary searches give what the midranks of Sun and Xu (2014) give, in O(n log n): ties count half.
    """
    found = np.empty(y.size)
    for own, sign in ((y, 1.0), (~y, -1.0)):
        others = np.sort(sign * scores[~own])
        mine = sign * scores[own]
        found[own] = (np.searchsorted(others, mine, "left") + np.searchsorted(others, mine, "right")) / (
            2 * others.size
        )
    return found


def _covariance(y: NDArray[np.bool_], components: Floats, groups: ArrayLike | None) -> tuple[Floats, Floats, int]:
    """Means (K,) of components (K, N), their covariance (K, K) over groups, and how many groups there are."""
    n_groups, members = (y.size, np.arange(y.size)) if groups is None else group_members(groups, y.size)
    areas = components[:, y].mean(axis=1)
    sums: list[Floats] = []
    factors: list[float] = []
    for name, own in (("fake", y), ("real", ~y)):
        present = int(np.unique(members[own]).size)
        if present < 2:
            raise DataError(
                f"all {name} faces are of one group: how far another group would differ is not known",
                hint="compare on faces of more groups",
            )
        excess = components[:, own] - areas[:, None]
        total = np.stack([np.bincount(members[own], weights=row, minlength=n_groups) for row in excess])
        sums.append(total / own.sum())
        factors.append(present / (present - 1))
    (fake, real), both = sums, n_groups / (n_groups - 1)
    cross = fake @ real.T
    return areas, factors[0] * fake @ fake.T + factors[1] * real @ real.T + both * (cross + cross.T), n_groups


def auroc_covariance(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Return the AUROC (K,) of ``scores`` (K, N) on the same faces and their covariance matrix (K, K).

    Without ``groups`` that of DeLong, DeLong and Clarke-Pearson (Biometrics 1988). With ``groups`` (N,), which may hold
    both classes, that of Obuchowski (Biometrics 1997), which is exactly the former when every group is one face.

    Raises :class:`~facetell.errors.DataError` for columns of unequal length, a missing class, or a class of one group.
    """
    y, columns = _columns(labels, scores)
    areas, covariance, _ = _covariance(y, np.stack([_components(y, column) for column in columns]), groups)
    return areas, covariance


def delong(labels: ArrayLike, a: ArrayLike, b: ArrayLike, groups: ArrayLike | None = None) -> Comparison:
    """Compare the AUROC of score columns ``a`` and ``b`` (N,) of the same faces; see :func:`auroc_covariance`.

    ``a`` and ``b`` may be (S, N), seeds of one detector, any number each: the mean AUROC over the seeds is compared,
    the seeds taken as they are. The 95% interval and p come from the normal distribution: they want some tens of groups.
    A difference that does not vary at all (two equal or two perfect rankings) has p = 1 if it is 0, else p = 0.

    Raises :class:`~facetell.errors.DataError` as :func:`auroc_covariance` does.
    """
    means = []
    for scores in (a, b):
        y, columns = _columns(labels, scores)
        means.append(np.mean([_components(y, column) for column in columns], axis=0))
    # One row, not the covariance of two: nothing is left of equal rankings, not even rounding.
    (difference,), ((variance,),), n_groups = _covariance(y, (means[0] - means[1])[None], groups)
    error = math.sqrt(max(variance, 0.0))
    if error < _ZERO:
        error, p = 0.0, float(abs(difference) < _ZERO)
    else:
        p = math.erfc(abs(difference) / error / math.sqrt(2))
    half = NormalDist().inv_cdf(0.975) * error
    return Comparison(float(difference), error, float(difference - half), float(difference + half), p, n_groups)


def paired_bootstrap(
    labels: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    groups: ArrayLike,
    *,
    repetitions: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> BootstrapComparison:
    """Compare mean AUROC over seeds of ``a`` and ``b``, each (N,) or (S, N), by drawing groups (N,) with replacement.

    A repetition draws the same groups for both. The interval is by percentiles. ``p`` is twice the smaller share of
    repetitions at or beyond 0, counted as (k + 1) / (R + 1), at most 1: with 1,000 repetitions never below 0.002.
    Repetitions that lack a class are left out. Same data and seed, same result, whatever the order of the rows.

    Raises :class:`~facetell.errors.DataError` for columns of unequal length, a missing class or fewer than two groups.
    """
    check_bootstrap(repetitions, level)
    rankings: list[list[Ranking]] = []
    for scores in (a, b):
        y, columns = _columns(labels, scores)
        rankings.append([Ranking(y, column) for column in columns])
    n_groups, members = group_members(groups, y.size)
    if n_groups < 2:
        raise DataError("one group of faces says nothing about another", hint="compare on faces of more groups")

    def difference(weights: Floats) -> Floats:
        """The statistic (R,) for weights (R, groups)."""
        first, second = (
            np.mean([area_under_roc(*one.counts(weights[:, members[one.order]])) for one in detector], axis=0)
            for detector in rankings
        )
        return np.asarray(first - second)

    drawn = np.concatenate([difference(weights) for weights in draw_groups(n_groups, y.size, repetitions, seed)])
    drawn = drawn[~np.isnan(drawn)]
    if drawn.size < 2:
        raise DataError(
            f"{repetitions - drawn.size} of {repetitions} repetitions lack a class", hint="compare on more groups"
        )
    beyond = min(int(np.sum(drawn <= _ZERO)), int(np.sum(drawn >= -_ZERO)))
    low, high = percentiles(drawn, level)
    return BootstrapComparison(
        difference=float(difference(np.ones((1, n_groups)))[0]),
        standard_error=float(drawn.std(ddof=1)),
        low=low,
        high=high,
        p=min(1.0, 2 * (beyond + 1) / (drawn.size + 1)),
        groups=n_groups,
        repetitions=repetitions,
        omitted=repetitions - drawn.size,
    )


def holm(p: ArrayLike) -> Floats:
    """Adjust p values (K,) for being several (Holm 1979): in at most 5% of studies is one of a true null below 0.05."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1))
    adjusted = np.empty(values.size)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted
