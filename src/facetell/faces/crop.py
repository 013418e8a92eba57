"""From a face in a frame to the square crop that detectors see."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facetell.errors import SettingsError, near_miss
from facetell.faces.face import Face, Landmarks
from facetell.pixels.decode import resize

__all__ = ["CropGeometry", "crop", "landmarks_within"]

_TEMPLATE_SIDE = 112
_TEMPLATE = np.array(
    [38.2946 + 51.6963j, 73.5318 + 51.5014j, 56.0252 + 71.7366j, 41.5493 + 92.3655j, 70.7299 + 92.2041j]
)
"""Where ArcFace puts the landmarks in 112×112 pixels (Deng et al., 2019, arXiv:1801.07698), as x + iy."""


@dataclass(frozen=True)
class CropGeometry:
    """How faces are cut out. Recorded with a face set and a detector, for both must see the same.

    Attributes:
        margin: side of the crop over the longer side of the face's box, 0.5..5; 1.3 shows some hair and neck.
        align: turn and scale the face so that its landmarks lie as in ArcFace's template, which at margin 1 is the
            whole crop. This resamples every pixel; upright crops are copied as they are.
        size: longest side of a crop in pixels; larger ones are shrunk with antialiasing, smaller ones left alone.
            None keeps the frame's resolution.

    Raises:
        SettingsError: a value out of its range.
    """

    margin: float = 1.3
    align: bool = False
    size: int | None = None

    def __post_init__(self) -> None:
        if not 0.5 <= self.margin <= 5:
            raise SettingsError(f"margin {self.margin} is not within 0.5..5")
        if self.size is not None and self.size < 1:
            raise SettingsError(f"size {self.size} is not a number of pixels from 1 on")

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON can hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> CropGeometry:
        """The inverse of `as_dict`; what is missing is the default.

        Raises:
            SettingsError: an unknown setting, or a value out of its range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in settings:
            if name not in known:
                raise SettingsError(f"unknown crop setting {name!r}{near_miss(name, known)}")
        return cls(**settings)


def crop(pixels: NDArray[np.uint8], face: Face, geometry: CropGeometry) -> NDArray[np.uint8]:
    """Cut a face out of a frame, uint8 (H, W, 3) → (S, S, 3); black where the square runs over the edge."""
    square = _aligned(pixels, face.landmarks, geometry) if geometry.align else _upright(pixels, face, geometry)
    if geometry.size is None or len(square) <= geometry.size:
        return square
    return resize(square, geometry.size)


def landmarks_within(face: Face, geometry: CropGeometry) -> NDArray[np.float64]:
    """Where a face's landmarks lie in its crop: (5, 2), x and y as shares of the crop's side."""
    points = np.array(face.landmarks, np.float64)
    if not geometry.align:
        x, y, side = _square(face, geometry)
        return (points - (x, y)) / side
    corner, step, side = _turned(face.landmarks, geometry)
    within = (points @ [1, 1j] - corner) / step / side
    return np.stack([within.real, within.imag], axis=1)


def _square(face: Face, geometry: CropGeometry) -> tuple[int, int, int]:
    """Left, top and side of an upright crop, in pixels of the frame."""
    left, top, width, height = face.box
    side = max(1, round(geometry.margin * max(width, height)))
    return round(left + width / 2 - side / 2), round(top + height / 2 - side / 2), side


def _upright(pixels: NDArray[np.uint8], face: Face, geometry: CropGeometry) -> NDArray[np.uint8]:
    x, y, side = _square(face, geometry)
    square = np.zeros((side, side, 3), np.uint8)
    part = pixels[max(0, y) : max(0, y + side), max(0, x) : max(0, x + side)]
    down, right = max(0, -y), max(0, -x)
    square[down : down + part.shape[0], right : right + part.shape[1]] = part
    return square


def _turned(landmarks: Landmarks, geometry: CropGeometry) -> tuple[complex, complex, int]:
    """Of an aligned crop its corner in the frame as x + iy, the step from one pixel to the next, and its side."""
    # Points as complex numbers: a similarity is w = turn * z + shift, and least squares has this closed form.
    points = np.array([complex(x, y) for x, y in landmarks])
    template = _TEMPLATE - _TEMPLATE.mean()
    turn = complex(np.vdot(template, points) / np.vdot(template, template))
    covered = _TEMPLATE_SIDE * geometry.margin
    side = max(1, round(covered * abs(turn)))  # one pixel of the crop per pixel of the frame
    step = turn * covered / side
    centre = complex(points.mean()) + turn * complex(_TEMPLATE_SIDE * (0.5 + 0.5j) - _TEMPLATE.mean())
    return centre - step * side * (0.5 + 0.5j), step, side


def _aligned(pixels: NDArray[np.uint8], landmarks: Landmarks, geometry: CropGeometry) -> NDArray[np.uint8]:
    corner, step, side = _turned(landmarks, geometry)
    turned = Image.fromarray(pixels).transform(
        (side, side),
        Image.Transform.AFFINE,
        (step.real, -step.imag, corner.real, step.imag, step.real, corner.imag),
        resample=Image.Resampling.BILINEAR,
    )
    return np.array(turned)
