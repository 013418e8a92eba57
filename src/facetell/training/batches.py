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


def balanced_order(labels: ArrayLike, seed: int, epoch: int, rank: int = 0, world: int = 1) -> NDArray[np.int64]:
    """The order in which one process of ``world`` visits rows of two classes in turns: real, fake, real, fake …

    An epoch has as many rows as ``labels`` (N,), half of each class. Every class is walked through permutation after
    permutation, over epochs: a small one is repeated within an epoch, a large one is gone through over several.
    """
    values = np.asarray(labels)
    half = -(-len(values) // 2)
    columns = []
    for label in (0, 1):
        members = np.flatnonzero(values == label)
        places = np.arange(epoch * half, (epoch + 1) * half)
        walks = range(places[0] // len(members), places[-1] // len(members) + 1)
        walked = np.concatenate([np.random.default_rng([seed, walk, label]).permutation(members) for walk in walks])
        columns.append(walked[places - walks.start * len(members)])
    pairs = np.stack(columns, axis=1)
    share = -(-half // world)
    return np.resize(pairs, (share * world, 2))[rank::world].reshape(-1).astype(np.int64)


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
