"""Does the crossing of the two score densities match the ROC's ideal threshold? Both, with intervals, and the difference.

Youden's J at t is the real scores' distribution function at t less the fakes'. It peaks where its slope is zero, which is
where the two densities (each of area 1) cross. So both estimate one and the same score, the crossing from smoothed
densities and the ROC from the scores as they are; they differ by chance and by the smoothing.

Densities live on the log-odds axis of the score, where neither end is squeezed and no boundary needs care. A change of
axis stretches both densities alike: where they cross does not depend on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.evaluation.bootstrap import draw_groups, group_members, percentiles
from facetell.evaluation.metrics import Ranking, checked
from facetell.evaluation.score_curves import calibrated, log_odds
from facetell.evaluation.thresholds import candidate_thresholds

__all__ = ["LOG_ODDS_LIMIT", "clipped_log_odds", "density", "ideal_thresholds", "silverman_bandwidth"]

LOG_ODDS_LIMIT = 16.0  # one in ten million: what lies beyond is as sure
_GRID = 512

Floats = NDArray[np.float64]


def clipped_log_odds(scores: ArrayLike) -> Floats:
    """Return the log-odds of ``scores``, within ±:data:`LOG_ODDS_LIMIT`."""
    return np.clip(log_odds(scores), -LOG_ODDS_LIMIT, LOG_ODDS_LIMIT)


def silverman_bandwidth(values: ArrayLike) -> float:
    """Bandwidth for ``values`` (N,): 0.9 min(σ, IQR / 1.34) N^(-1/5) (Silverman 1986, eq. 3.31)."""
    v = np.asarray(values, dtype=np.float64)
    deviation = float(np.std(v))
    spread = min(deviation, float(np.subtract(*np.percentile(v, [75, 25]))) / 1.34) or deviation
    return float(0.9 * spread * v.size**-0.2)


class _Smoother:
    """Gaussian kernel densities on an even grid (K,) of values (N,), for many weightings of them.

    Values are first counted per cell of the grid, so the cost does not grow with values times grid points.
    """

    def __init__(self, values: Floats, grid: Floats) -> None:
        step = float(grid[1] - grid[0])
        width = max(silverman_bandwidth(values), float(grid[-1] - grid[0]) / 80)  # equal scores stay visible
        self.size, self.step, self.sigma = grid.size, step, width / step
        self.cells = np.clip(np.rint((values - grid[0]) / step).astype(int), 0, grid.size - 1)

    def __call__(self, weights: Floats | None = None) -> Floats:
        from scipy.ndimage import gaussian_filter1d  # slow to import

        counts = np.bincount(self.cells, weights=weights, minlength=self.size).astype(np.float64)
        smooth = gaussian_filter1d(counts, self.sigma, mode="constant", radius=int(np.ceil(5 * self.sigma)))
        return np.asarray(smooth / (counts.sum() * self.step))


def density(values: ArrayLike, grid: Floats) -> Floats:
    """Gaussian kernel density (K,) of ``values`` (N,) on an even ``grid`` (K,), bandwidth by :func:`silverman_bandwidth`."""
    return _Smoother(np.asarray(values, dtype=np.float64), grid)()


def _peak(difference: Floats, grid: Floats) -> float:
    """Where the smoothed J peaks: ``difference`` (K,), real minus fake, falls through zero there. nan if it never does.

    Straight lines between the points of the grid.
    """
    rising = np.cumsum(difference)
    falls = np.flatnonzero((difference[:-1] > 0) & (difference[1:] <= 0))
    if not falls.size:
        return float("nan")
    k = int(falls[np.argmax(rising[falls])])
    share = difference[k] / (difference[k] - difference[k + 1])
    return float(grid[k] + share * (grid[k + 1] - grid[k]))


def ideal_thresholds(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike,
    *,
    repetitions: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Any] | None:
    """Return the ``crossing`` of the score densities, the ROC's ideal threshold ``youden``, and their ``difference``.

    ``labels``, ``scores`` and ``groups`` are (N,); every result is a score with its percentile interval over groups
    (value, low, high; nan where not defined). The crossing is the one at which the smoothed J peaks; the bandwidths of
    all faces are kept in every repetition. ``agree``: whether the interval of the difference, taken within repetitions,
    includes 0; None where there is no interval. None at all when a class is missing.

    A description of these faces: it chooses nothing.
    """
    y, s = checked(labels, scores)
    if y.all() or not y.any():
        return None
    x = clipped_log_odds(s)
    margin = max(0.08 * float(np.ptp(x)), 1.0)
    grid = np.linspace(x.min() - margin, x.max() + margin, _GRID)
    real, fake = _Smoother(x[~y], grid), _Smoother(x[y], grid)
    ranking = Ranking(y, s)
    cuts = candidate_thresholds(ranking.thresholds)
    nearness = np.abs(cuts - 0.5)

    def ideal(weights: Floats | None) -> tuple[float, float]:
        own = (None, None) if weights is None else (weights[~y], weights[y])
        fps, tps = (np.append(0.0, n) for n in ranking.counts(None if weights is None else weights[ranking.order]))
        balanced = tps * fps[-1] - fps * tps[-1]  # whole numbers: ties are exact
        best = np.flatnonzero(balanced == balanced.max())
        crossing = float(calibrated(_peak(real(own[0]) - fake(own[1]), grid), 1.0))
        return crossing, float(cuts[best[np.argmin(nearness[best])]])

    n_groups, members = group_members(groups, y.size)
    drawn = []
    if n_groups > 1:
        for block in draw_groups(n_groups, y.size, repetitions, seed):
            for counts in block:
                weights = counts[members]
                if weights[y].any() and weights[~y].any():
                    drawn.append(ideal(weights))
    columns = np.array(drawn).reshape(-1, 2).T
    crossing, youden = ideal(None)
    intervals = [percentiles(column, level) for column in (*columns, columns[0] - columns[1])]
    found: dict[str, Any] = {
        name: {"value": value, "low": low, "high": high}
        for name, value, (low, high) in zip(
            ("crossing", "youden", "difference"), (crossing, youden, crossing - youden), intervals, strict=True
        )
    }
    low, high = intervals[2]
    found["agree"] = bool(low <= 0 <= high) if np.isfinite(low) and np.isfinite(crossing) else None
    return found
