"""Is a face unlike all that a detector knows? How far its vector lies from theirs, and how rare that is among known ones.

The distance is the mean over the features of |x - mean| / standard deviation of the known faces. What was measured of it,
and of others, is on the page about `detect`. A distance to faces that set means and deviations is too small, and an axis
that an outlier has drawn through itself makes that one's too large; so known faces are measured by folds, each against
the others (cross-conformal, Vovk 2015), a group never on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.evaluation.bootstrap import group_members

__all__ = ["Tail", "conformal_p", "deviation", "discoveries", "held_out_deviation", "standard"]

FOLDS = 5
_CONSTANT = 1e-6
"""Of the largest standard deviation: a feature that varies less says nothing."""

Floats = NDArray[np.float64]


def standard(vectors: ArrayLike) -> tuple[Floats, Floats]:
    """Mean (D,) and one through the standard deviation (D,) of vectors (N, D); 0 for a feature that is constant."""
    x = np.asarray(vectors, dtype=np.float64)
    spread = x.std(axis=0)
    varies = spread > _CONSTANT * spread.max(initial=0.0)
    return x.mean(axis=0), np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)


def deviation(vectors: ArrayLike, mean: Floats, weights: Floats) -> Floats:
    """The distances (N,) of vectors (N, D) to known faces with what `standard` says of them."""
    return np.asarray((np.abs(np.asarray(vectors, dtype=np.float64) - mean) * weights).mean(axis=1))


def held_out_deviation(vectors: ArrayLike, groups: ArrayLike) -> Floats:
    """The distances (N,) of known faces (N, D) of ``groups`` (N,), each to those of the other folds of five.

    Groups go to the folds in turn, by their order. There must be two of them.
    """
    x = np.asarray(vectors, dtype=np.float64)
    _, place = group_members(groups, len(x))
    fold = place % FOLDS
    found = np.empty(len(x))
    for number in np.unique(fold):
        out = fold == number
        found[out] = deviation(x[out], *standard(x[~out]))
    return found


def conformal_p(values: ArrayLike, known: ArrayLike, groups: ArrayLike) -> Floats:
    """P-values (N,) of ``values`` (N,): the share of ``known`` (M,) that are as large, the new one counted in.

    Every one of G ``groups`` (M,) weighs the same, and the new face is a group more; see `facetell.evaluation.conformal`.
    Of the faces of a new group drawn like the known ones at most a share α has p ≤ α. The least p is 1 / (G + 1).
    """
    return Tail.of(known, groups).p(values)


@dataclass(frozen=True)
class Tail:
    """The known values in rising order (M,), and the p-value (M + 1,) of a new one before each, or after all: worked out once
    for all that `conformal_p` is asked."""

    known: Floats
    p_before: Floats

    @classmethod
    def of(cls, known: ArrayLike, groups: ArrayLike) -> Tail:
        """Of ``known`` values (M,) of ``groups`` (M,)."""
        values = np.asarray(known, dtype=np.float64)
        n_groups, members = group_members(groups, values.size)
        order = np.argsort(values)
        weights = (1 / np.bincount(members))[members][order]
        beyond = np.append(np.cumsum(weights[::-1])[::-1], 0.0)
        return cls(values[order], (beyond + 1) / (n_groups + 1))

    def p(self, values: ArrayLike) -> Floats:
        """P-values (N,) of ``values`` (N,)."""
        return self.p_before[np.searchsorted(self.known, np.asarray(values, dtype=np.float64), side="left")]


def discoveries(p: ArrayLike, rate: float) -> NDArray[np.bool_]:
    """Which of several p-values (N,) count, so that any does at most at ``rate`` where none should; NaN never does.

    Benjamini and Hochberg (1995): the i smallest for the largest i with p_(i) ≤ rate · i / N. Bates et al. (2023, "Testing
    for outliers with conformal p-values") show that it holds for p-values that share their known faces.
    """
    values = np.asarray(p, dtype=np.float64)
    ordered = np.sort(values)
    below = np.flatnonzero(ordered <= rate * np.arange(1, values.size + 1) / values.size)
    return values <= ordered[below[-1]] if below.size else np.zeros(values.shape, dtype=np.bool_)
