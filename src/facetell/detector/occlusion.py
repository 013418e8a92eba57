"""Occlusion (Zeiler and Fergus, ECCV 2014, arXiv:1311.2901): where a face speaks for fake, asked of any runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["occlusion", "window_of"]

BATCH = 64

Number = TypeVar("Number", np.uint8, np.float32)


def window_of(size: int) -> tuple[int, int]:
    """Side and stride in pixels of the square that hides a part: an eighth of the face, moved by half of that."""
    side = max(2, round(size / 8))
    return side, max(1, side // 2)


def occlusion(
    logits: Callable[[npt.NDArray[Number]], npt.NDArray[np.float32]],
    crops: npt.NDArray[Number],
    side: int,
    stride: int,
) -> npt.NDArray[np.float32]:
    """How far the logit falls when a place is hidden: crops (N, S, S, 3) to (N, S, S), positive = it spoke for fake.

    A square of ``side`` pixels slides over the face in steps of ``stride``, filled with the face's own mean colour: one
    that stands out less than black. A pixel has the mean over the squares that hid it, in logits. A face costs
    1 + ceil((S - side) / stride + 1)² passes of ``logits``, crops like these to (N,).
    """
    size: int = crops.shape[1]
    starts = [*range(0, size - side, stride), size - side]
    corners = [(row, column) for row in starts for column in starts]
    counts = np.zeros((size, size), np.float32)
    for row, column in corners:
        counts[row : row + side, column : column + side] += 1
    maps = np.zeros(crops.shape[:3], np.float32)
    for crop, whole, found in zip(crops, logits(crops) if len(crops) else (), maps, strict=True):
        colour = crop.mean(axis=(0, 1)).astype(crop.dtype)
        for first in range(0, len(corners), BATCH):
            some = corners[first : first + BATCH]
            hidden = np.repeat(crop[None], len(some), axis=0)
            for picture, (row, column) in zip(hidden, some, strict=True):
                picture[row : row + side, column : column + side] = colour
            for fall, (row, column) in zip((whole - logits(hidden)).tolist(), some, strict=True):
                found[row : row + side, column : column + side] += fall
    return maps / counts
