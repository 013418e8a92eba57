"""Choosing among candidates on few faces, and what that choice is worth on faces that did not choose.

The best of several cross-validated candidates looks better than it is. Bootstrap bias-corrected cross-validation
(Tsamardinos, Greasidou and Borboudakis, Machine Learning 2018) resamples the held-out scores, lets each resample choose,
and measures the chosen one on the faces that the resample left out. It costs no further fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.evaluation.bootstrap import draw_groups, group_members, percentiles
from facetell.evaluation.metrics import auroc

__all__ = ["REPETITIONS", "Gain", "assign_folds", "gain_of_choice"]

REPETITIONS = 1000
SHRINK = (0.368 / 0.632) ** 0.5
"""A resample leaves out 36.8% of the faces. Drawn from a sample of n, means of 0.368 n of them spread sqrt(0.632 / 0.368) =
1.31 times as wide as the sample's own mean does around the truth: deviations are shrunk by that."""

Floats = NDArray[np.float64]


def assign_folds(labels: NDArray[Any], groups: ArrayLike, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold (N,) of each row: groups stay whole, and each kind of group (real, fake, both) is dealt out in turn.

    So no fold lacks a label that has as many groups as there are folds.
    """
    n_groups, members = group_members(groups, len(labels))
    kinds = np.zeros(n_groups, np.int64)
    np.bitwise_or.at(kinds, members, 1 << labels.astype(np.int64))
    shuffled = np.random.default_rng(seed).permutation(n_groups)
    fold = np.empty(n_groups, np.int64)
    fold[shuffled[np.argsort(kinds[shuffled], kind="stable")]] = np.arange(n_groups) % folds
    return fold[members]


@dataclass(frozen=True)
class Gain:
    """AUROC before and after on held-out faces, and the difference that choosing among candidates leaves."""

    before: float
    after: float
    """Mean over resamples of the chosen candidate's on the faces left out."""
    difference: float
    low: float
    """2.5% point of the difference, see `SHRINK`."""
    high: float
    risk: float
    """Share of resamples in which there is no gain, see `SHRINK`."""


def gain_of_choice(
    labels: NDArray[Any],
    groups: ArrayLike,
    before: Floats,
    after: Floats,
    seed: int,
    repetitions: int = REPETITIONS,
    *,
    untouched: NDArray[np.bool_] | None = None,
) -> Gain:
    """Correct the gain of the best of several candidates for having been chosen.

    Args:
        labels: (N,) 0 or 1, both there.
        groups: (N,), resampled whole.
        before: (N,) scores without any candidate.
        after: (S, K, N) held-out scores of K candidates from S repetitions of the cross-validation; a resample takes
            one repetition, so that the luck of the folds is in the interval.
        seed: draws the resamples.
        repetitions: resamples; those that lack a class on either side are left out.
        untouched: (N,) the faces on which no candidate was given up before: the gain is measured on these alone, for on the
            others the ones that are left were chosen. By default all.

    Returns:
        The gain. With one candidate it is the out-of-bag bootstrap of its difference.
    """
    n_groups, members = group_members(groups, len(labels))
    y = np.asarray(labels, dtype=bool)
    measured = np.ones(len(y), dtype=bool) if untouched is None else untouched
    gains, reached, was = list[float](), list[float](), list[float]()
    for repetition, weights in enumerate(chain.from_iterable(draw_groups(n_groups, len(labels), repetitions, seed))):
        mine = weights[members]
        inside, outside = np.repeat(np.arange(len(y)), mine.astype(np.int64)), np.flatnonzero((mine == 0) & measured)
        if any(len(np.unique(y[side])) < 2 for side in (inside, outside)):
            continue
        scores = after[repetition % len(after)]
        best = max(range(len(scores)), key=lambda k: auroc(y[inside], scores[k][inside]))
        reached.append(auroc(y[outside], scores[best][outside]))
        was.append(auroc(y[outside], before[outside]))
        gains.append(reached[-1] - was[-1])
    difference = float(np.mean(gains))
    likely = difference + SHRINK * (np.asarray(gains) - difference)
    low, high = percentiles(likely, 0.95)
    return Gain(
        before=float(np.mean(was)),
        after=float(np.mean(reached)),
        difference=difference,
        low=low,
        high=high,
        risk=float(np.mean(likely <= 0)),
    )
