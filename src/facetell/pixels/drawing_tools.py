"""Small numeric tools of the drawn faces: smooth noise, blur, look-up in a texture, soft edges.

All arrays are float32. Resampling is a product with two small cached matrices (rows first, columns second), which at
these sizes is many times faster than a convolution loop and needs NumPy alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "blur", "bump", "cover", "lookup", "noise", "octaves", "resize", "spread"]

Array = NDArray[Any]


@lru_cache(maxsize=256)
def _resize_matrix(size: int, new: int) -> Array:
    """Return the (new, size) matrix of cubic interpolation (Catmull-Rom), widened where it shrinks."""
    scale = max(1.0, size / new)
    centre = (np.arange(new)[:, None] + 0.5) * size / new - 0.5
    t = np.abs(centre - np.arange(size)[None, :]) / scale
    weight = np.where(t < 1, 1.5 * t**3 - 2.5 * t**2 + 1, np.where(t < 2, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2, 0.0))
    return np.ascontiguousarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float32)


def resize(planes: Array, size: int) -> Array:
    """Return ``planes`` (..., H, W) resampled to (..., size, size), antialiased."""
    rows, columns = _resize_matrix(planes.shape[-2], size), _resize_matrix(planes.shape[-1], size)
    return np.asarray(rows @ planes @ columns.T, dtype=np.float32)


def blur(planes: Array, sigma: float) -> Array:
    """Return ``planes`` (..., H, W) under a Gaussian blur of ``sigma`` pixels; the border is repeated outwards."""
    reach = int(np.ceil(2.5 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    height, width = planes.shape[-2:]
    framed = planes[..., np.clip(np.arange(-reach, height + reach), 0, height - 1), :]
    rows = taps[0] * framed[..., :height, :]
    for i, tap in enumerate(taps[1:], start=1):
        rows += tap * framed[..., i : i + height, :]
    framed = rows[..., np.clip(np.arange(-reach, width + reach), 0, width - 1)]
    blurred: Array = taps[0] * framed[..., :width]
    for i, tap in enumerate(taps[1:], start=1):
        blurred += tap * framed[..., i : i + width]
    return blurred


def noise(rng: np.random.Generator, size: int, cells: int, planes: int | None = None) -> Array:
    """Return smooth noise of about unit variance, ``cells`` blobs across: (size, size) or (planes, size, size)."""
    shape = (cells, cells) if planes is None else (planes, cells, cells)
    return resize(rng.standard_normal(shape, dtype=np.float32), size)


def octaves(rng: np.random.Generator, size: int, cells: tuple[int, ...], fall: float) -> Array:
    """Return (size, size) noise summed over ``cells``, each weaker than the one before by ``fall``."""
    total = noise(rng, size, cells[0])
    for step, count in enumerate(cells[1:], start=1):
        total += np.float32(fall**step) * noise(rng, size, count)
    return total


def lookup(texture: Array, row: Array, column: Array) -> Array:
    """Return the nearest values of ``texture`` (256, 256), wrapping, at ``row`` and ``column`` in cells of two."""
    # Adding one whole turn before the cut to integers makes it a floor; & 255 wraps.
    top = ((row + 128) * 2).astype(np.int32) & 255
    left = ((column + 128) * 2).astype(np.int32) & 255
    return np.take(texture, top * 256 + left)


def cover(depth: Array, width: float) -> Array:
    """Return how much of each pixel is covered, 0 to 1, from the ``depth`` inside an edge ``width`` wide."""
    return np.clip(depth / np.float32(width) + np.float32(0.5), 0, 1)


def bump(x: Array, y: Array, width: float, height: float) -> Array:
    """Return a Gaussian bump of peak 1 at ``x`` = ``y`` = 0."""
    return np.exp(-((x * np.float32(1 / width)) ** 2) - (y * np.float32(1 / height)) ** 2)


def spread(rng: np.random.Generator, low: float, high: float) -> float:
    """Return one number drawn evenly between ``low`` and ``high``."""
    return float(rng.uniform(low, high))
