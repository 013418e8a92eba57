"""How good the picture of a face is, and the rule by which faces are left out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facetell.errors import SettingsError
from facetell.faces.face import LEAST, Face
from facetell.pixels.decode import resize

__all__ = ["FaceRule", "Quality", "judge"]

_ENOUGH_PIXELS = 128
_SHARP_SIDE = 64
_SHARP = 0.08
_ROUNDING = 20 / 12  # variance of the Laplacian (squared weights: 20) of rounding to grey levels (1/12)
_PROFILE = 0.3


@dataclass(frozen=True)
class Quality:
    """The parts of a face's quality, each 0..1; what they say was measured on 1,900 faces of photos and videos.

    Attributes:
        size: longer side of the box over 128 pixels.
        score: the detector's.
        sharpness: how much fine detail the box holds at 64×64 pixels; nine in ten real faces have over 0.8, and ones
            with the detail of 32, 16, 12 pixels across have about 0.6, 0.3, 0.2. It is the square root of the variance
            of the Laplacian over the variance of the brightness (0.08 counts as sharp), so neither a dark nor a
            low-contrast picture counts as blurred; but noise counts as detail.
        inside: share of the box that lies in the frame.
        frontal: 1 when the nose is midway between the eyes, 0.3 when it is in line with one of them or beyond
            (profile); a face turned by a third, as a newsreader's, has about 0.7.
    """

    size: float
    score: float
    sharpness: float
    inside: float
    frontal: float

    @property
    def value(self) -> float:
        """The quality: the worst part, since no good part makes up for it."""
        return min(self.size, self.score, self.sharpness, self.inside, self.frontal)


def judge(pixels: NDArray[np.uint8], face: Face) -> Quality:
    """Judge a face in its frame, uint8 (H, W, 3) RGB."""
    left, top, width, height = face.box
    part = pixels[max(0, round(top)) : max(0, round(top + height)), max(0, round(left)) : max(0, round(left + width))]
    return Quality(
        size=min(1.0, max(width, height) / _ENOUGH_PIXELS),
        score=face.score,
        sharpness=_sharpness(part),
        inside=min(1.0, part.shape[0] * part.shape[1] / max(1.0, round(width) * round(height))),
        frontal=_frontal(face),
    )


@dataclass(frozen=True)
class FaceRule:
    """Which faces are used; the rest are kept in the account with their reason.

    Attributes:
        min_side: smallest longer side of the box in pixels, whatever the picture's size.
        min_score: smallest score. Between 0.35 and 0.5 CenterFace finds faces that are cut, hidden or none.
        min_quality: smallest `Quality.value`. 0.25 leaves out what shows the detail of a 12-pixel face, or less than
            a quarter of one.

    Raises:
        SettingsError: a value out of its range.
    """

    min_side: float = LEAST
    min_score: float = 0.5
    min_quality: float = 0.25

    def __post_init__(self) -> None:
        if self.min_side < 0:
            raise SettingsError(f"min_side {self.min_side} is negative")
        for name in ("min_score", "min_quality"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} {getattr(self, name)} is not within 0..1")

    def reason(self, face: Face, quality: float) -> str | None:
        """None if the face is used, else why not: ``face_too_small``, ``face_unsure`` or ``face_low_quality``."""
        if max(face.box[2:]) < self.min_side:
            return "face_too_small"
        if face.score < self.min_score:
            return "face_unsure"
        if quality < self.min_quality:
            return "face_low_quality"
        return None


def _sharpness(part: NDArray[np.uint8]) -> float:
    if not part.size:
        return 0.0
    grey = resize(part, _SHARP_SIDE).astype(np.float64) @ (0.299, 0.587, 0.114)
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    detail, contrast = float(laplacian.var()) - _ROUNDING, float(grey.var())
    return min(1.0, math.sqrt(detail / contrast / _SHARP)) if detail > 0 else 0.0


def _frontal(face: Face) -> float:
    left_eye, right_eye, nose, left_mouth, right_mouth = (complex(x, y) for x, y in face.landmarks)
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    axis, half = mouth - eyes, abs(right_eye - left_eye) / 2
    if not axis or not half:
        return _PROFILE
    # Distance of the nose from the line between the eyes' and the mouth's middle, in half eye distances.
    off = abs(((nose - eyes) * axis.conjugate()).imag) / abs(axis) / half
    return 1 - (1 - _PROFILE) * min(1.0, off)
