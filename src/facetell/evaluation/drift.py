"""Does traffic without labels look like known reals and fakes in *some* mix? A two-sample test on logits.

How many of the files are fake is not known, so the null hypothesis leaves it free: the distribution function of the
traffic is (1 - π) F_real + π F_fake for some π in [0, 1]. π is the minimum distance estimate (Wolfowitz 1957): least
squares between the distribution functions at the reference's quantiles, which has a closed form. The statistic is
Kuiper's distance to that mix (1960), the largest difference of shares within one interval: π takes up about half of what
is new between reals and fakes, so the Kolmogorov–Smirnov distance, which is given as well, finds it less often (8% new of
600: 37% against 62% of the time). As π is estimated and the reference is a sample too, its law is found by parametric
bootstrap (Stute, González Manteiga and Presedo Quindimil 1993): all samples are drawn anew from the fitted mix and π is
estimated anew in each.

The reference is kept as quantiles, a few numbers without a picture or a path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.errors import DataError, SettingsError
from facetell.evaluation.bootstrap import percentiles
from facetell.evaluation.rates import effective_share

__all__ = ["QUANTILES", "REPETITIONS", "Drift", "Sketch", "drift"]

QUANTILES = 201
"""Of a sketch: every half percent, so a distribution function is right to 0.005 between them and exact at them."""

REPETITIONS = 2000
"""Of the bootstrap: p is never below 1 / 2001, small enough for some tens of batches after Holm's adjustment."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sketch:
    """A sample of logits as its quantiles (Q,) at equal steps from 0 to 1."""

    quantiles: Floats
    n: int
    """Logits it is made from."""
    effective: float
    """Independent logits these are worth, see :func:`~facetell.evaluation.rates.effective_share`; at least 1."""

    @classmethod
    def of(cls, logits: ArrayLike, groups: ArrayLike | None = None) -> Sketch:
        """Sketch finite ``logits`` (N,) of ``groups`` (N,), by default each its own. Raises ``DataError`` for none."""
        z = np.asarray(logits, dtype=np.float64)
        if z.ndim != 1 or not z.size or not np.isfinite(z).all():
            raise DataError("a sketch needs one column of finite logits, and at least one of them")
        share = 1.0 if groups is None else effective_share(z, groups)
        return cls(np.quantile(z, np.linspace(0, 1, QUANTILES)), int(z.size), max(1.0, z.size * share))

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Sketch:
        """Undo :meth:`as_dict`. Raises KeyError, TypeError or ValueError for what is no sketch."""
        quantiles = np.asarray(stored["quantiles"], dtype=np.float64)
        n, effective = int(stored["n"]), float(stored["effective"])
        rising = quantiles.ndim == 1 and quantiles.size > 1 and bool((np.diff(quantiles) >= 0).all())
        if not rising or not np.isfinite(quantiles).all() or not 1 <= effective <= n:
            raise ValueError("not the quantiles of a sample")
        return cls(quantiles, n, effective)

    def as_dict(self) -> dict[str, Any]:
        """Plain values: ``n``, ``effective`` and ``quantiles`` (rounded to seven digits, as much as float32 holds)."""
        rounded = [float(f"{value:.7g}") for value in self.quantiles]
        return {"n": self.n, "effective": self.effective, "quantiles": rounded}

    def clipped(self, low: float, high: float) -> Sketch:
        """The sketch of the same logits, clipped."""
        return Sketch(np.clip(self.quantiles, low, high), self.n, self.effective)

    def cdf(self, x: Floats) -> Floats:
        """Share of the sample at or below ``x`` (K,): straight between quantiles, a step where several are equal."""
        q, last = self.quantiles, self.quantiles.size - 1
        above = np.searchsorted(q, x, side="right")
        left, right = np.maximum(above - 1, 0), np.minimum(above, last)
        width = q[right] - q[left]
        part = np.divide(x - q[left], width, out=np.zeros(x.shape), where=width > 0)
        return np.asarray(np.where(above > last, 1.0, np.where(above == 0, 0.0, (left + part) / last)))


@dataclass(frozen=True)
class Drift:
    """How far traffic is from the nearest mix of the reference."""

    n: int
    ks: float
    """Kolmogorov–Smirnov distance in [0, 1]: at least this share of the traffic would have to score otherwise."""
    kuiper: float
    """Kuiper's distance in [0, 1], of which p is: the same with all that is too much or too little in one interval."""
    wasserstein: float
    """Wasserstein-1 distance in logits: how far a logit would have to move, on average over the files."""
    p: float
    """How often a mix of the reference lies at least as far from its nearest mix."""
    fakes: tuple[float, float, float] | None
    """π with its 95% interval, *if nothing new is there*; None for a reference without labels."""
    excess: float
    """The largest share of the traffic, beyond what the mix explains, within one interval of logits."""
    between: tuple[float, float]
    """That interval; open ends are -inf and inf."""


def drift(logits: ArrayLike, reference: Sequence[Sketch], *, repetitions: int = REPETITIONS, seed: int = 0) -> Drift:
    """Test finite ``logits`` (N,) of independent files against ``reference``: (real, fake), or one without labels.

    With one sketch it is the plain two-sample test, which also sees a changed share of fakes. Same data and seed, same
    result, whatever the order of the logits. O(N log N), and some 400 numbers for each repetition.

    Raises DataError for no logit or one that is not finite, SettingsError for no repetition or three sketches.
    """
    z = np.sort(np.asarray(logits, dtype=np.float64), axis=None)
    if not z.size or not np.isfinite(z).all():
        raise DataError("a drift test needs logits that are finite numbers, and at least one")
    if repetitions < 1 or len(reference) not in (1, 2):
        raise SettingsError("a drift test needs one repetition or more, and one or two sketches")
    grid = np.unique(np.concatenate([sketch.quantiles for sketch in reference]))
    known = np.stack([sketch.cdf(grid) for sketch in reference])
    found = np.searchsorted(z, grid, side="right") / z.size
    share, gap = _nearest(found[None], known[:, None])
    mix = _mixed(known, share)

    rng = np.random.default_rng(seed)
    drawn = np.stack(
        [_draw(rng, cdf, max(1, round(one.effective)), repetitions) for cdf, one in zip(known, reference, strict=True)]
    )
    shares, gaps = _nearest(_draw(rng, mix[0], z.size, repetitions), drawn)
    kuiper = float(_kuiper(gap)[0])
    low, high = percentiles(shares, 0.95)
    excess, between = _excess(gap[0], grid)
    return Drift(
        n=int(z.size),
        ks=float(np.abs(gap).max()),
        kuiper=kuiper,
        wasserstein=_wasserstein(z, reference, float(share[0])),
        p=float((np.sum(_kuiper(gaps) >= kuiper - 1e-12) + 1) / (repetitions + 1)),
        fakes=(float(share[0]), low, high) if len(reference) == 2 else None,
        excess=excess,
        between=between,
    )


def _mixed(known: Floats, share: Floats) -> Floats:
    """The mix (R, K) of distribution functions (2 or 1, [R,] K) at shares (R,)."""
    return np.asarray(known[0] + share[:, None] * (known[-1] - known[0]))


def _nearest(found: Floats, known: Floats) -> tuple[Floats, Floats]:
    """Shares (R,) of the nearest mixes of ``known`` (2 or 1, R, K) to ``found`` (R, K), and what is left (R, K)."""
    apart = known[-1] - known[0]
    top, bottom = np.sum((found - known[0]) * apart, axis=1), np.sum(apart**2, axis=1)
    share = np.clip(np.divide(top, bottom, out=np.zeros(top.shape), where=bottom > 0), 0, 1)
    return share, found - _mixed(known, share)


def _kuiper(gaps: Floats) -> Floats:
    """The largest differences (R,) of ``gaps`` (R, K) between two points; beyond the grid a gap is 0."""
    return np.asarray(np.maximum(gaps.max(axis=1), 0) - np.minimum(gaps.min(axis=1), 0))


def _draw(rng: np.random.Generator, cdf: Floats, n: int, repetitions: int) -> Floats:
    """Distribution functions (R, K) of samples of ``n`` from that whose value on the grid is ``cdf`` (K,)."""
    cells = np.maximum(np.diff(cdf, prepend=0.0, append=1.0), 0)
    counts = rng.multinomial(n, cells / cells.sum(), size=repetitions)
    return np.asarray(np.cumsum(counts[:, :-1], axis=1) / n)


def _excess(gap: Floats, grid: Floats) -> tuple[float, tuple[float, float]]:
    """The largest rise of ``gap`` (K,) from one point of ``grid`` to a later one, and these; beyond the grid it is 0."""
    gap, ends = np.concatenate([[0.0], gap, [0.0]]), np.concatenate([[-np.inf], grid, [np.inf]])
    rise = gap - np.minimum.accumulate(gap)
    end = int(np.argmax(rise))
    start = int(np.argmin(gap[: end + 1]))
    return float(rise[end]), (float(ends[start]), float(ends[end]))


def _wasserstein(z: Floats, reference: Sequence[Sketch], share: float) -> float:
    """The integral of |G - F| over the logit, G the steps of ``z`` (N,) and F the mix."""
    points = np.unique(np.concatenate([z, *(sketch.quantiles for sketch in reference)]))
    known = np.stack([sketch.cdf(points) for sketch in reference])
    mix = known[0] + share * (known[-1] - known[0])
    steps = np.searchsorted(z, points, side="right") / z.size
    a, b = np.abs(mix[:-1] - steps[:-1]), np.abs(mix[1:] - steps[:-1])
    crossing = (mix[:-1] < steps[:-1]) & (mix[1:] > steps[:-1])
    both = a + b
    area = np.where(crossing, np.divide(a**2 + b**2, both, out=np.zeros(both.shape), where=both > 0), both) / 2
    return float(np.sum(area * np.diff(points)))
