"""Pictures of single faces for a report: the face, and beside it what spoke for fake (red) and for real (blue)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["mistake_picture"]

SIDE = 160
"""Pixels a side."""
_RED, _BLUE = np.array([200, 30, 30], np.float32), np.array([30, 90, 200], np.float32)


def mistake_picture(face: npt.NDArray[np.uint8], map_: npt.NDArray[np.float32] | None) -> Image.Image:
    """The face (H, W, 3) and, where there is one, its map (h, w) over it, side by side; ``map_`` positive = fake."""
    picture = Image.fromarray(face).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    if map_ is None:
        return picture
    scaled = map_ / max(float(np.abs(map_).max()), 1e-12)
    grown = np.asarray(Image.fromarray(scaled.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    grey = np.asarray(picture.convert("L"), np.float32)[..., None]
    pale = 255 - (255 - grey) * 0.7
    opacity = 0.8 * np.abs(grown)[..., None]
    colour = np.where(grown[..., None] > 0, _RED, _BLUE)
    beside = Image.fromarray((pale * (1 - opacity) + colour * opacity).clip(0, 255).astype(np.uint8))
    both = Image.new("RGB", (2 * SIDE + 4, SIDE), "white")
    both.paste(picture, (0, 0))
    both.paste(beside, (SIDE + 4, 0))
    return both
