"""Batches of decoded pictures: who is in them (seeded, sharded over processes) and how they reach the device."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from facetell.faceset.decoded import DecodedImages
from facetell.threads import ordered

__all__ = ["balanced_order", "epoch_order", "iterate"]


def epoch_order(
    n: int, seed: int, epoch: int, rank: int = 0, world: int = 1, *, apart: bool = False
) -> NDArray[np.int64]:
    """The order in which one process of ``world`` visits ``n`` rows in an epoch.

    All processes together visit a permutation that depends on seed and epoch alone. Each gets ceil(n / world) rows, so
    that none waits for another: where n is not divisible, the permutation starts again from its beginning. ``apart``:
    every process keeps the rows of its first epoch, so that it can remember something of each.
    """
    if apart and world > 1:
        own = np.sort(epoch_order(n, seed, 0, rank, world))
        return own[np.random.default_rng([seed, epoch]).permutation(len(own))]
    order = np.random.default_rng([seed, epoch]).permutation(n)
    length = -(-n // world)
    return np.resize(order, length * world)[rank::world].astype(np.int64) if n else order.astype(np.int64)


def balanced_order(
    labels: ArrayLike, seed: int, epoch: int, rank: int = 0, world: int = 1, sources: ArrayLike | None = None
) -> NDArray[np.int64]:
    """The order in which one process of ``world`` visits rows of two classes in turns: real, fake, real, fake …

    An epoch has as many rows as ``labels`` (N,), half of each class. Every class is walked through permutation after
    permutation, over epochs: a small one is repeated within an epoch, a large one is gone through over several. With
    ``sources`` (N,) the sources of a class take turns as well, and each is walked through in the same way.
    """
    values = np.asarray(labels)
    of = np.zeros(len(values), np.int64) if sources is None else np.asarray(sources)
    half = -(-len(values) // 2)
    places = np.arange(epoch * half, (epoch + 1) * half)
    columns = []
    for label in (0, 1):
        cells = [np.flatnonzero((values == label) & (of == source)) for source in np.unique(of[values == label])]
        column = np.empty(half, np.int64)
        for number, members in enumerate(cells):
            turns = places % len(cells) == number
            keys = (seed, label) if len(cells) == 1 else (seed, label, number)
            column[turns] = _walked(members, places[turns] // len(cells), keys)
        columns.append(column)
    pairs = np.stack(columns, axis=1)
    share = -(-half // world)
    return np.resize(pairs, (share * world, 2))[rank::world].reshape(-1).astype(np.int64)


def _walked(members: NDArray[np.int64], steps: NDArray[np.int64], keys: tuple[int, ...]) -> NDArray[np.int64]:
    """Where an endless walk through permutation after permutation of ``members`` is at some rising steps."""
    if not len(steps):
        return steps
    walks = range(steps[0] // len(members), steps[-1] // len(members) + 1)
    seed, *rest = keys
    walked = np.concatenate([np.random.default_rng([seed, walk, *rest]).permutation(members) for walk in walks])
    return walked[steps - walks.start * len(members)]


def iterate(
    images: DecodedImages, indices: ArrayLike, batch_size: int, device: torch.device | str
) -> Iterator[tuple[torch.Tensor, NDArray[np.int64]]]:
    """Yield (pictures, indices) batch by batch, the last one perhaps smaller; the next batch is read while this one is
    used.

    Pictures are uint8 (B, 3, size, size) in channels_last memory on ``device``: a view of the pixels as they lie in
    the cache. Stopping early ends the reading thread; its errors are raised here.
    """
    rows = np.asarray(indices, dtype=np.int64)
    target = torch.device(device)

    def load(start: int) -> tuple[torch.Tensor, NDArray[np.int64]]:
        chosen = rows[start : start + batch_size]
        pixels = torch.from_numpy(images.gather(chosen)).permute(0, 3, 1, 2)
        if target.type == "cuda":  # pinned memory lets the copy overlap with the computation of the batch before
            pixels = pixels.pin_memory().to(target, non_blocking=True)
        return pixels.to(target), chosen

    yield from ordered(load, range(0, len(rows), batch_size), workers=1, name="facetell-batches")
