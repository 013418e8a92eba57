"""Where a face lies in a picture, and a soft mask over it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facetell.pixels.drawing_tools import blur, noise

__all__ = ["FaceFrame", "default_frame", "draw_mask", "frame_of", "softened"]

_GRID = 128  # the mask is made at this size, and enlarged; the paper's is about 224
_PAPER = 224
_EDGE = 0.05  # of the side: the mask falls to zero towards the border of the picture within it

_SHAPES = (
    # (share of the draws, forehead above the eyes, chin below the eyes, half width): drawn from these ranges
    (0.25, (0.75, 1.05), (1.5, 1.7), (0.95, 1.1)),  # the whole face
    (0.5, (0.35, 0.5), (1.5, 1.7), (0.9, 1.05)),  # brows to chin
    (0.25, (0.25, 0.4), (1.2, 1.4), (0.6, 0.8)),  # eyes, nose and mouth
)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FaceFrame:
    """A face's own axes in pixels of a picture: ``eyes``, the point between them; ``down`` from there to the middle of
    the mouth; ``across`` half the face's width to the right. Each is (x, y)."""

    eyes: tuple[float, float]
    down: tuple[float, float]
    across: tuple[float, float]


def frame_of(landmarks: NDArray[np.float64]) -> FaceFrame:
    """The axes of a face by its five points (5, 2): eyes, nose tip, corners of the mouth."""
    eyes, mouth, between = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0), landmarks[1] - landmarks[0]
    down = mouth - eyes
    long = float(np.hypot(*down))
    # A face seen from the side has its eyes close together, yet is about as wide as it is long.
    wide = max(0.95 * float(np.hypot(*between)), 0.6 * long)
    right = np.array([down[1], -down[0]]) / max(long, 1e-6) * wide
    return FaceFrame(
        (float(eyes[0]), float(eyes[1])), (float(down[0]), float(down[1])), (float(right[0]), float(right[1]))
    )


def default_frame(rng: np.random.Generator, size: tuple[int, int]) -> FaceFrame:
    """Where a face lies in a crop of ``size`` (width, height) whose landmarks are unknown, roughly: drawn about it."""
    width, height = size
    x, y, long, wide = rng.normal((0.5, 0.4, 0.32, 0.31), (0.02, 0.025, 0.02, 0.02))
    return FaceFrame((x * width, y * height), (0.0, long * height), (wide * width, 0.0))


def draw_mask(rng: np.random.Generator, size: tuple[int, int], frame: FaceFrame) -> Floats:
    """A soft mask (H, W) over the face in a picture of ``size`` (width, height).

    In [0, 1], zero along the border of the picture; its largest value is 1, or it is all zero where ``frame`` lies
    outside the picture.
    """
    inside = _warped_region(rng, size, frame)
    kernels = rng.integers(2, 13, 2) * 2 + 1  # odd, 5 to 25, of the paper's pixels
    # OpenCV's σ of a kernel, for the first; the second is nearly a box in the paper, as its σ is far above its size.
    first = 0.3 * ((kernels[0] - 1) * 0.5 - 1) + 0.8
    mask = softened(inside, first * _GRID / _PAPER, kernels[1] / math.sqrt(12) * _GRID / _PAPER)
    return _to_size(mask, size)


def softened(inside: Floats, first: float, second: float) -> Floats:
    """A region (S, S) of 0 and 1 drawn back by a blur, then made soft by another; σ in pixels. Largest value 1."""
    kept = (blur(inside, first) > 0.99).astype(np.float32)
    mask: Floats = blur(kept, second)
    return mask / max(float(mask.max()), 1e-6)


def _warped_region(rng: np.random.Generator, size: tuple[int, int], frame: FaceFrame) -> Floats:
    """1 within the face, (_GRID, _GRID): a superellipse that narrows to the chin, its coordinates bent elastically."""
    shape = _SHAPES[int(np.searchsorted(np.cumsum([one[0] for one in _SHAPES]), rng.random(), side="right"))]
    above, below, half = (rng.uniform(*limits) for limits in shape[1:])
    power, narrow = rng.uniform(2, 2.8), rng.uniform(0, 0.25)
    bend = rng.uniform(0.005, 0.03) * noise(rng, _GRID, int(rng.integers(4, 8)), 2)
    line = (np.arange(_GRID, dtype=np.float32) + 0.5) / _GRID
    x = (line[None, :] + bend[0]) * size[0] - frame.eyes[0]
    y = (line[:, None] + bend[1]) * size[1] - frame.eyes[1]
    (ax, ay), (dx, dy) = frame.across, frame.down
    area = ax * dy - ay * dx
    if abs(area) < 1e-6:
        return np.zeros((_GRID, _GRID), np.float32)
    u, v = (x * dy - y * dx) / area, (ax * y - ay * x) / area
    v = (v - (below - above) / 2) / ((below + above) / 2)
    u = u / (half * (1 - narrow * np.clip(v, 0, 1)))
    return (np.abs(u) ** power + np.abs(v) ** power < 1).astype(np.float32)


def _to_size(mask: Floats, size: tuple[int, int]) -> Floats:
    full = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BILINEAR)).clip(0, 1)
    across, down = (np.minimum(np.arange(side), np.arange(side)[::-1]) / max(1.0, _EDGE * side) for side in size)
    window = np.minimum(np.clip(down, 0, 1)[:, None], np.clip(across, 0, 1)[None, :])
    return (full * window).astype(np.float32)
