"""Kinds of fakes, each with a logit of its own: which faces are of which, and logits that mean the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from facetell.errors import SettingsError
from facetell.faceset.samples import Samples

__all__ = ["even_shifts", "kinds_of", "realms_of"]

RATE = 0.05
"""Share of its reals at which the domains are compared."""
LEAST = 20
"""Reals of a kind's own that are enough to compare it by: one of them at `RATE`."""
ROUNDS = 100


def kinds_of(named: Mapping[str, tuple[str, ...]], samples: Samples) -> NDArray[np.int64]:
    """The number of each fake's kind (N,), by the beginnings of source names. Raises ``SettingsError`` for sources of fakes that
    are of no kind, or of two."""
    kinds = np.zeros(len(samples), np.int64)
    if len(named) == 1 or samples.sources is None:
        return kinds
    for code in np.unique(samples.sources[samples.labels == 1]):
        source = samples.source_names[code]
        mine = _named(named, source)
        if len(mine) != 1:
            raise SettingsError(
                f"kinds = {', '.join(named)}: the source '{source}' is of {len(mine)} kinds",
                hint="name each source once",
            )
        kinds[samples.sources == code] = mine[0]
    return kinds


def realms_of(named: Mapping[str, tuple[str, ...]], samples: Samples) -> NDArray[np.int64]:
    """The kind whose own reals each real (N,) is one of: its source begins as theirs do. -1 for fakes and other reals."""
    realms = np.full(len(samples), -1)
    for code in np.unique(samples.sources[samples.labels == 0]) if samples.sources is not None else ():
        mine = _named(named, samples.source_names[code])
        if len(mine) == 1:
            realms[(samples.sources == code) & (samples.labels == 0)] = mine[0]
    return realms


def even_shifts(logits: NDArray[np.float32], realms: NDArray[np.int64]) -> NDArray[np.float64]:
    """What to add to the logit of each kind (K,), so that the domains of all have as many false alarms at one threshold.

    ``logits`` (N, K) of validation faces; ``realms`` (N,): the kind whose own real each is, or -1. A face's logit is log Σ exp of
    its kinds'. The shifts make the one that 5% of a kind's own reals exceed the same for all kinds that have at least 20 of
    them; other kinds stay.
    """
    count = logits.shape[1]
    shifts = np.zeros(count)
    own = [np.flatnonzero(realms == kind) for kind in range(count)]
    known = [kind for kind in range(count) if len(own[kind]) >= LEAST]
    if len(known) < 2:
        return shifts
    for _ in range(ROUNDS):
        total = logsumexp(logits.astype(np.float64) + shifts, axis=1)
        points = np.array([np.quantile(total[own[kind]], 1 - RATE) for kind in known])
        shifts[known] -= (points - points.mean()) / 2
    return shifts


def _named(named: Mapping[str, tuple[str, ...]], source: str) -> list[int]:
    return [number for number, starts in enumerate(named.values()) if source.startswith(starts)]
