"""Bootstrap intervals that resample whole groups (identities, source videos).

Faces of one group resemble each other, so drawing faces one by one would make the intervals too narrow. A repetition
draws as many groups as there are, with replacement; a group drawn k times counts k times. Rows are not copied: every
row gets its group's count as a weight, and all metrics of all repetitions come from one sort and a few matrix products.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.errors import DataError, SettingsError
from facetell.evaluation.metrics import (
    SUMMARY_KEYS,
    Ranking,
    area_under_roc,
    bin_index,
    checked,
    decision_rates,
    equal_error_rate,
    log_losses,
    precision_area,
)

__all__ = [
    "Intervals",
    "WeightedMetrics",
    "check_bootstrap",
    "draw_groups",
    "group_members",
    "grouped_bootstrap",
    "percentiles",
]

_ECE_BINS = 15
_BLOCK = 2_000_000  # weights held at once (float64): bounds memory to some tens of MB

Floats = NDArray[np.float64]


class Intervals(dict[str, tuple[float, float]]):
    """Intervals (low, high) by metric, and how they were made.

    ``groups``: groups resampled. ``repetitions``: drawn. ``omitted``: of these, left out because a class was missing.
    """

    def __init__(self, values: dict[str, tuple[float, float]], *, groups: int, repetitions: int, omitted: int) -> None:
        super().__init__(values)
        self.groups = groups
        self.repetitions = repetitions
        self.omitted = omitted


class WeightedMetrics:
    """The metrics of one table for many weightings of its rows: a weight of k counts a face as if it stood there k times."""

    def __init__(self, labels: ArrayLike, scores: ArrayLike, threshold: float) -> None:
        y, s = checked(labels, scores)
        called = s >= threshold
        self.ranking = Ranking(labels, scores)
        # Sums over rows: real, fake, tn, fp, fn, tp, log loss, then the calibration gap of each bin.
        columns = [~y, y, ~y & ~called, ~y & called, y & ~called, y & called, log_losses(labels, scores)]
        gaps = np.zeros((y.size, _ECE_BINS))
        gaps[np.arange(y.size), bin_index(s, _ECE_BINS)] = s - y
        self.columns = np.column_stack([*columns, gaps]).astype(np.float64)

    def __call__(self, ranked_weights: Floats, sums: Floats) -> dict[str, Floats]:
        """Metrics (R,) from weights (R, N) in rank order and the weighted sums (R, columns)."""
        real, fake, tn, fp, fn, tp, loss = sums[:, :7].T
        n = real + fake
        counts = self.ranking.counts(ranked_weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            values = {
                "n": n,
                "n_real": real,
                "n_fake": fake,
                "auroc": area_under_roc(*counts),
                "average_precision": precision_area(*counts),
                "eer": equal_error_rate(*counts),
                **decision_rates(tn, fp, fn, tp),
                "ece": np.abs(sums[:, 7:]).sum(axis=1) / n,
                "log_loss": loss / n,
            }
        return {key: values[key] for key in SUMMARY_KEYS}


def check_bootstrap(repetitions: int, level: float) -> None:
    """Raise :class:`~facetell.errors.SettingsError` for less than one repetition or a level outside (0, 1)."""
    if repetitions < 1:
        raise SettingsError(f"repetitions must be at least 1, got {repetitions}")
    if not 0 < level < 1:
        raise SettingsError(f"level must be between 0 and 1, got {level}")


def group_members(groups: ArrayLike, rows: int) -> tuple[int, NDArray[np.intp]]:
    """Return how many groups there are and the number of each row's group (N,), by their sorted names.

    Raises :class:`~facetell.errors.DataError` when ``groups`` is not one column of ``rows`` entries.
    """
    names, members = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    if members.shape != (rows,):
        raise DataError(f"groups must be one column of {rows} rows, got shape {np.shape(groups)}")
    return int(names.size), members


def draw_groups(n_groups: int, rows: int, repetitions: int, seed: int) -> Iterator[Floats]:
    """Yield how often each group is drawn, in blocks (R, groups) whose weights of ``rows`` rows fit in memory."""
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // rows)
    for start in range(0, repetitions, block):
        size = (min(block, repetitions - start),)
        yield rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=size).astype(np.float64)


def percentiles(values: Floats, level: float) -> tuple[float, float]:
    """Return the percentile interval at ``level`` of ``values`` (R,), nan left aside; (nan, nan) without a number."""
    values = values[~np.isnan(values)]
    if not values.size:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def grouped_bootstrap(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike,
    threshold: float,
    *,
    repetitions: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Intervals:
    """Return percentile intervals (low, high) at ``level`` for every key of :data:`SUMMARY_KEYS`.

    ``groups`` (N,) names the group of each face. Repetitions that lack a class which the data has are left out and
    counted in ``omitted``; a metric that is undefined in a repetition is left out of that metric alone. An interval
    is (nan, nan) when the metric is undefined throughout or there is only one group, which says nothing about
    another one. Resampling raises the ECE of a well calibrated detector, so its interval may lie above the estimate.

    Same data and seed, same intervals, whatever the order of the rows.
    """
    check_bootstrap(repetitions, level)
    y, _ = checked(labels, scores)
    n_groups, members = group_members(groups, y.size)
    if n_groups < 2:
        nothing = dict.fromkeys(SUMMARY_KEYS, (float("nan"), float("nan")))
        return Intervals(nothing, groups=n_groups, repetitions=0, omitted=0)

    weighted = WeightedMetrics(labels, scores, threshold)
    ranked_members = members[weighted.ranking.order]
    per_group = np.zeros((n_groups, weighted.columns.shape[1]))
    np.add.at(per_group, members, weighted.columns)
    parts = [
        weighted(drawn[:, ranked_members], drawn @ per_group)
        for drawn in draw_groups(n_groups, y.size, repetitions, seed)
    ]
    values = {key: np.concatenate([part[key] for part in parts]) for key in SUMMARY_KEYS}
    usable = np.ones(repetitions, dtype=bool)
    for key, present in (("n_real", bool((~y).any())), ("n_fake", bool(y.any()))):
        usable &= (values[key] > 0) | (not present)
    return Intervals(
        {key: percentiles(column[usable], level) for key, column in values.items()},
        groups=n_groups,
        repetitions=repetitions,
        omitted=int(repetitions - usable.sum()),
    )
