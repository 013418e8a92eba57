"""Logits of a split's faces under every corruption and strength: what ``stress`` measures."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facetell.detector.detector import Detector
from facetell.detector.predictions import BATCH
from facetell.errors import DataError, ImageError
from facetell.faceset.table import FaceSet
from facetell.pixels.corruptions import corrupt
from facetell.pixels.decode import decode, resize
from facetell.progress import Progress, Step

__all__ = [
    "Condition",
    "Logits",
    "Work",
    "corrupted_logits",
    "decode_all",
    "first_crop",
    "make",
    "median_side",
    "speed_of",
]

_PIECE = 8
"""Crops of one task of a worker."""

Pixels = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]
Condition = tuple[str, int]
"""Name of a corruption and its strength; ``("none", 0)`` leaves faces as they are."""
Work = tuple[list[Pixels], float, float]
"""Crops at the network's size, and processor seconds of corrupting and of resizing."""


@dataclass
class _Clock:
    """Processor seconds by what they went to."""

    decoding: float = 0.0
    corrupting: float = 0.0
    resizing: float = 0.0


def corrupted_logits(
    detector: Detector,
    faces: FaceSet,
    split: str,
    conditions: list[Condition],
    seed: int,
    workers: int,
    progress: Progress,
) -> tuple[dict[Condition, Logits], dict[str, Any]]:
    """Logits (N,) of each condition, and how fast it went."""
    count = len(faces.rows(split))
    logits = {condition: np.empty(count, np.float32) for condition in conditions}
    done, total = 0, count * len(conditions)
    clock, began, processor = _Clock(), time.perf_counter(), time.process_time()
    with contextlib.closing(_batches(faces, split, detector.size, conditions, seed, workers, clock)) as batches:
        for condition, first, pixels in batches:
            logits[condition][first : first + len(pixels)] = detector.logits(pixels)
            done += len(pixels)
            progress(Step("scoring", done, total, "pictures"))
    seconds, used = time.perf_counter() - began, time.process_time() - processor
    return logits, speed_of(total, seconds, workers, (clock.decoding, clock.corrupting, clock.resizing, used))


def speed_of(images: int, seconds: float, workers: int, spent: Iterable[float]) -> dict[str, Any]:
    """How fast it went. ``spent``: processor seconds of decoding, of corrupting, of resizing and of all together; those that
    are left went to scoring."""
    *known, used = map(float, spent)
    parts = dict(zip(("decoding", "corrupting", "resizing"), known, strict=True))
    return {
        "images": images,
        "seconds": seconds,
        "images_per_s": images / seconds,
        "workers": workers,
        "processor_seconds": used,
        "parts": {**parts, "scoring": max(0.0, used - sum(known))},
    }


def _batches(
    faces: FaceSet,
    split: str,
    size: int,
    conditions: list[Condition],
    seed: int,
    workers: int,
    clock: _Clock,
) -> Generator[tuple[Condition, int, Pixels], None, None]:
    """(condition, first row in the split, uint8 (B, size, size, 3)): all conditions of a batch of crops, then the next.

    Every crop is decoded once. In memory are two batches of crops at most and, of their conditions, the one that is
    scored and the one that the workers make meanwhile. Batches are those of ``evaluate``, to the bit.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="facetell-stress")
    waiting: deque[tuple[Condition, int, list[Future[Work]]]] = deque()

    def finished() -> tuple[Condition, int, Pixels]:
        condition, first, futures = waiting.popleft()
        pieces = [future.result() for future in futures]
        clock.corrupting += sum(piece[1] for piece in pieces)
        clock.resizing += sum(piece[2] for piece in pieces)
        return condition, first, np.stack(list(itertools.chain.from_iterable(piece[0] for piece in pieces)))

    try:
        for first, data in _chunks(faces, split):
            reading = [pool.submit(decode_all, faces, first + at, data[at : at + _PIECE]) for at in _starts(data)]
            crops: list[Pixels] = []
            for future in reading:
                pixels, spent = future.result()
                crops += pixels
                clock.decoding += spent
            for condition in conditions:
                at_once = [
                    pool.submit(make, crops[at : at + _PIECE], condition, size, seed, first + at)
                    for at in _starts(crops)
                ]
                waiting.append((condition, first, at_once))
                if len(waiting) > 1:
                    yield finished()
        while waiting:
            yield finished()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _starts(items: Sequence[object]) -> range:
    return range(0, len(items), _PIECE)


def _chunks(faces: FaceSet, split: str) -> Iterator[tuple[int, list[bytes]]]:
    """(first row in the split, bytes of `BATCH` pictures)."""
    pictures = itertools.chain.from_iterable(data for _, data in faces.images(split))
    for first in range(0, len(faces.rows(split)), BATCH):
        yield first, list(itertools.islice(pictures, BATCH))


def decode_all(faces: FaceSet, first: int, data: list[bytes]) -> tuple[list[Pixels], float]:
    """Crops at their own resolution, and processor seconds; ``first`` is counted within the split."""
    began = time.thread_time()
    crops = []
    for number, picture in enumerate(data, start=first):
        try:
            crops.append(decode(picture))
        except ImageError as error:
            raise DataError(
                f"face set {faces.path}, picture {number} of the split: {error.message}", hint="prepare it again"
            ) from None
    return crops, time.thread_time() - began


def make(crops: list[Pixels], condition: Condition, size: int, seed: int, first: int) -> Work:
    """Crops under one condition at the network's size, and processor seconds of corrupting and of resizing."""
    began = time.thread_time()
    made = [corrupt(pixels, *condition, seed, row) for row, pixels in enumerate(crops, start=first)]
    between = time.thread_time()
    ready = [resize(pixels, size) for pixels in made]
    return ready, between - began, time.thread_time() - between


def median_side(faces: FaceSet, split: str) -> float:
    """Median of the longer sides (px): how much larger crops are than the input decides what a corruption can do."""
    sides = faces.columns(["width", "height"], split)
    return float(np.median(np.maximum(sides["width"].to_numpy(), sides["height"].to_numpy())))


def first_crop(faces: FaceSet, split: str, conditions: list[Condition], seed: int) -> dict[Condition, Pixels]:
    """The split's first crop under every condition, at its own resolution."""
    pixels = decode(faces.image(faces.rows(split).start))
    return {condition: corrupt(pixels, *condition, seed, 0) for condition in conditions}
