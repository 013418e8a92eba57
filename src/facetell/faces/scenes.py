"""Cuts between the frames of a video that were looked at, so that a track does not go on from one scene to another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facetell.pixels.decode import resize

__all__ = ["Scenes"]

_SIDE = 32
_COLOURS = 0.3
"""Share of the pixels whose colour, in eighths of each channel, the frame before did not have. Within scenes, up to 1.4 s
apart, at most 0.2 was measured; between frames of two clips 95% of the pairs have more than 0.46."""
_LAYOUT = 0.4
"""Correlation of the brightness at the same places. Within scenes at least 0.54; between two clips mostly below 0.44."""


class Scenes:
    """Numbers the scenes of one video: called with each frame in order, it says in which scene that is, from 0 on.

    A cut is another set of colours or another layout of light and dark, on frames shrunk to 32 pixels.
    """

    def __init__(self) -> None:
        self._scene = 0
        self._last: NDArray[np.uint8] | None = None

    def __call__(self, pixels: NDArray[np.uint8]) -> int:
        """The scene of a frame, uint8 (H, W, 3) RGB."""
        small = resize(pixels, _SIDE)
        if self._last is not None and _cut(self._last, small):
            self._scene += 1
        self._last = small
        return self._scene


def _cut(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> bool:
    changed = 1 - np.minimum(_histogram(before), _histogram(after)).sum() / _SIDE**2
    if changed > _COLOURS:
        return True
    a, b = (picture.mean(axis=2).ravel() - picture.mean() for picture in (before, after))
    spread = float(np.sqrt((a @ a) * (b @ b)))
    flat = spread < _SIDE**2  # less than one grey level: without a layout that could change
    return not flat and float(a @ b) / spread < _LAYOUT


def _histogram(picture: NDArray[np.uint8]) -> NDArray[np.int64]:
    codes = picture.astype(np.int64) // 32 @ np.array([64, 8, 1])
    return np.bincount(codes.ravel(), minlength=512)
