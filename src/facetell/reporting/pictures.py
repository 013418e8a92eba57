"""Pictures of faces in results: a face beside the map of what spoke for fake in it, and sheets of many faces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

__all__ = ["MAPPED_SIDE", "contact_sheet", "face_with_map"]

MAPPED_SIDE = 160
"""Pixels a side of a face with its map."""
_COLUMNS = 6
_GAP, _LINE = 6, 18
_RED, _BLUE = np.array([200, 30, 30], np.float32), np.array([30, 90, 200], np.float32)


def face_with_map(face: npt.NDArray[np.uint8], map_: npt.NDArray[np.float32] | None) -> Image.Image:
    """The face (H, W, 3) and, where there is one, its map (h, w) over it, side by side; ``map_`` positive = fake."""
    picture = Image.fromarray(face).resize((MAPPED_SIDE, MAPPED_SIDE), Image.Resampling.BICUBIC)
    if map_ is None:
        return picture
    scaled = map_ / max(float(np.abs(map_).max()), 1e-12)
    grown = np.asarray(
        Image.fromarray(scaled.astype(np.float32)).resize((MAPPED_SIDE, MAPPED_SIDE), Image.Resampling.BILINEAR)
    )
    grey = np.asarray(picture.convert("L"), np.float32)[..., None]
    pale = 255 - (255 - grey) * 0.7
    opacity = 0.8 * np.abs(grown)[..., None]
    colour = np.where(grown[..., None] > 0, _RED, _BLUE)
    beside = Image.fromarray((pale * (1 - opacity) + colour * opacity).clip(0, 255).astype(np.uint8))
    both = Image.new("RGB", (2 * MAPPED_SIDE + 4, MAPPED_SIDE), "white")
    both.paste(picture, (0, 0))
    both.paste(beside, (MAPPED_SIDE + 4, 0))
    return both


def contact_sheet(faces: Sequence[tuple[npt.NDArray[np.uint8], float]]) -> Image.Image:
    """Faces (side, side, 3) of one size in rows of six, the score below each."""
    side = len(faces[0][0])
    columns = min(_COLUMNS, len(faces))
    across, down = side + _GAP, side + _LINE + _GAP
    sheet = Image.new("RGB", (columns * across + _GAP, -(-len(faces) // columns) * down + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for place, (face, score) in enumerate(faces):
        left, top = _GAP + place % columns * across, _GAP + place // columns * down
        sheet.paste(Image.fromarray(face), (left, top))
        draw.text((left + side / 2, top + side + 2), f"score {score:.2f}", fill="#222222", font=font, anchor="ma")
    return sheet
