"""Batches of decoded pictures: who is in them (seeded, sharded over processes) and how they reach the device."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from facetell.errors import DataError
from facetell.faceset.decoded import DecodedImages

__all__ = ["balanced_order", "draw_shots", "epoch_order", "iterate"]

_NAMES = ("real", "fake")


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

    pool = ThreadPoolExecutor(1, thread_name_prefix="facetell-batches")
    try:
        coming = None
        for start in range(0, len(rows), batch_size):
            ready = coming if coming is not None else pool.submit(load, start)
            following = start + batch_size
            coming = pool.submit(load, following) if following < len(rows) else None
            yield ready.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def draw_shots(labels: ArrayLike, shots: int, seed: int) -> NDArray[np.int64]:
    """Draw ``shots`` rows of each class: (2 · shots,) indices into ``labels``, real and fake in turns.

    Draws are nested: those for 25 shots are the beginning of those for 100 with the same seed, so that learning curves
    compare like with like.

    Raises:
        DataError: a class has fewer rows, or ``shots`` is not positive.
    """
    values = np.asarray(labels)
    if shots < 1:
        raise DataError(f"shots must be at least 1, not {shots}")
    drawn = []
    for label in (0, 1):
        members = np.flatnonzero(values == label)
        if len(members) < shots:
            most = min(int((values == 0).sum()), int((values == 1).sum()))
            raise DataError(
                f"{shots} shots need as many pictures of each label; there are {len(members)} {_NAMES[label]} ones",
                hint=f"ask for at most {most} shots, or add pictures",
            )
        drawn.append(np.random.default_rng([seed, label]).permutation(members)[:shots])
    return np.stack(drawn, axis=1).reshape(-1).astype(np.int64)
