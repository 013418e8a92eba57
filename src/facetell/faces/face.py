"""What a face is here, and what every face detector must do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST", "Box", "Face", "FaceDetector", "Landmarks", "Point", "as_landmarks", "in_order"]

Box = tuple[float, float, float, float]
"""(left, top, width, height) in pixels of the frame; x grows to the right, y downwards."""

LEAST = 32.0
"""Smallest face that is used, in pixels (longer side of its box): below, eyes and mouth are a few pixels each."""

Point = tuple[float, float]
"""(x, y) in pixels of the frame."""

Landmarks = tuple[Point, Point, Point, Point, Point]
"""Left eye, right eye, nose tip, left and right corner of the mouth; left and right **as seen in the picture**."""


@dataclass(frozen=True)
class Face:
    """One face in one frame.

    Pixel i covers [i, i + 1): a box around the whole of a W×H frame is (0, 0, W, H). The box may run over the edge
    of the frame where the face does. ``score`` is the detector's certainty in 0..1; scores of different detectors
    are not on one scale.
    """

    box: Box
    landmarks: Landmarks
    score: float


class FaceDetector(Protocol):
    """Finds faces in one frame; reading files, cropping and filtering are others' work."""

    @property
    def name(self) -> str:
        """Word for logs and records, e.g. ``centerface``."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the model and every setting that changes what is found; part of a face set's identity."""
        ...

    def detect(self, pixels: NDArray[np.uint8], least: float = LEAST) -> list[Face]:
        """Faces of one picture, uint8 (H, W, 3) RGB, in the order of `in_order`; the same picture, the same list.

        All faces whose longer side has at least ``least`` pixels, and smaller ones if they happen to be found.
        """
        ...


def as_landmarks(numbers: Sequence[float]) -> Landmarks:
    """Five points out of x, y, x, y, ... as a face set stores them."""
    one, two, three, four, five = zip(numbers[::2], numbers[1::2], strict=True)
    return one, two, three, four, five


def in_order(faces: Iterable[Face]) -> list[Face]:
    """Sort by score, the highest first, then from left to right and top to bottom."""
    return sorted(faces, key=lambda face: (-face.score, face.box))
