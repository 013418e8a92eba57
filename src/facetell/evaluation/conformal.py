"""An *unsure* band by split-conformal prediction, so that "unsure" means something.

Class-conditional (Mondrian; Vovk 2012): each label gets a bound of its own, so the coverage holds among the reals and
among the fakes, whatever their mix. A label is ruled out for a face that is more extreme than that bound.

Faces of one group are not exchangeable. Groups are: the bounds are quantiles in which every group weighs the same,
whatever its number of faces (Lee, Barber and Willett 2023, "Distribution-free inference with hierarchical data"). They
hold for a face of a *new* group drawn like these; with one face a group they are the usual ⌈(n + 1) coverage⌉-th of n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.errors import DataError, SettingsError
from facetell.evaluation.bootstrap import group_members
from facetell.evaluation.metrics import checked

__all__ = ["Band", "fit_band", "most_of", "upper_bound"]

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Band:
    """The scores at which a label is not ruled out: *fake* from ``fake_from`` up, *real* up to ``real_to``.

    Where the classes overlap, ``fake_from <= real_to`` and both labels remain in between. Where they are well apart,
    neither remains in between; then a threshold there decides, and keeps the coverage.
    """

    fake_from: float
    real_to: float

    def decision(self, score: float, threshold: float) -> str:
        """``fake`` or ``real`` where the threshold says so and the other label is ruled out, else ``unsure``.

        Among faces of a new group at most 1 - coverage of the reals are called fake, and of the fakes real, wherever
        the threshold lies.
        """
        if score >= threshold and score > self.real_to:
            return "fake"
        if score < threshold and score < self.fake_from:
            return "real"
        return "unsure"

    def around(self, threshold: float) -> tuple[float, float]:
        """The scores (low, high) from which and up to which a face is unsure; low >= high where none is."""
        return min(self.fake_from, threshold), max(self.real_to, threshold)


def upper_bound(values: ArrayLike, groups: ArrayLike, coverage: float) -> float:
    """Return the least of ``values`` (N,) that a value of a new group does not exceed with probability ``coverage``.

    Raises SettingsError for a coverage outside (0, 1), DataError when there are too few ``groups`` (N,) for it: some
    value above all of these must be left for the new group, which takes coverage / (1 - coverage) groups.
    """
    if not 0 < coverage < 1:
        raise SettingsError(f"a coverage lies between 0 and 1, got {coverage:g}", hint="for example 0.9")
    v: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    n_groups, members = group_members(groups, v.size)
    least = math.ceil(coverage / (1 - coverage) - _ROUNDING)
    if n_groups < least:
        raise DataError(
            f"a coverage of {coverage:g} needs {least} groups of each label, there are {n_groups}",
            hint="ask for less coverage, or give a split of more groups",
        )
    weights = 1 / ((n_groups + 1) * np.bincount(members))[members]
    order = np.argsort(v, kind="stable")
    reached = np.cumsum(weights[order]) >= coverage - _ROUNDING
    return float(v[order[int(np.argmax(reached))]])


def most_of(values: ArrayLike, groups: ArrayLike, rate: float) -> float:
    """Return the least of ``values`` (N,) that a value of a new group exceeds with probability at most ``rate``.

    The greatest where there are too few ``groups`` (N,) for that: then one more than it is exceeded in one of
    (groups + 1) cases, and no order statistic promises less. Minus infinity for a rate of 1.
    """
    if rate >= 1:
        return -math.inf
    n_groups, _ = group_members(groups, len(np.asarray(values)))
    if rate * (n_groups + 1) < 1 - _ROUNDING:
        return float(np.max(values))
    return upper_bound(values, groups, 1 - rate)


def fit_band(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike, coverage: float) -> Band:
    """Return the band of ``coverage`` per label from validation ``labels``, ``scores`` and ``groups``, each (N,).

    Raises as :func:`upper_bound` does.
    """
    y, s = checked(labels, scores)
    names = np.asarray(groups)
    real_to = upper_bound(s[~y], names[~y], coverage)
    return Band(fake_from=-upper_bound(-s[y], names[y], coverage), real_to=real_to)
