"""Looking at a picture at two scales, because a network finds faces well only within a range of sizes.

Measured for CenterFace by scaling the same 90 portraits: boxes are right within about 5% while the face is 35 to 250
pixels of network input; from 300 on, faces are missed (23% of close-ups at 640 pixels) or cut into halves. So a
picture is seen **fine** (long side at most 640) for all but the largest faces, and **coarse** (long side 160, small
pictures scaled up) for faces that take more than 0.4 of the long side. The coarse view costs a sixteenth of the fine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facetell.faces.face import Face, as_landmarks, in_order
from facetell.pixels.decode import resize

__all__ = ["COARSE", "COARSE_FACE", "FINE", "OVERLAP", "Found", "find"]

FINE = 640
"""Largest long side of the fine view, in pixels."""

COARSE = 160
"""Long side of the coarse view, in pixels."""

COARSE_FACE = 64
"""Smallest face (longer side of its box, in pixels of the coarse view) for which the coarse view is believed."""

OVERLAP = 0.3
"""Largest intersection over union of two faces; the value of CenterFace's and of YuNet's authors."""


@dataclass(frozen=True)
class Found:
    """N candidates in one view: boxes (N, 4) left, top, right, bottom; landmarks (N, 5, 2) x, y; scores (N,)."""

    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    scores: NDArray[np.float32]

    def at(self, rows: NDArray[np.int64]) -> Found:
        """The candidates at these rows, in their order."""
        return Found(self.boxes[rows], self.landmarks[rows], self.scores[rows])


def find(look: Callable[[NDArray[np.uint8]], Found], pixels: NDArray[np.uint8]) -> list[Face]:
    """Find faces in uint8 (H, W, 3) RGB with a network that gives candidates, overlapping ones too, for one view."""
    side = max(pixels.shape[:2])
    fine_view = _view(pixels, min(FINE, side))
    # From the fine view, which takes a third of the time of a resize of the whole picture and finds the same faces.
    coarse = _look(look, _view(fine_view, COARSE), pixels)
    if side <= COARSE:
        return _faces(coarse)
    longer = (coarse.boxes[:, 2:] - coarse.boxes[:, :2]).max(axis=1)
    large = coarse.at(np.flatnonzero(longer >= COARSE_FACE * side / COARSE))
    fine = _look(look, fine_view, pixels)
    both = Found(
        np.concatenate([large.boxes, fine.boxes]),
        np.concatenate([large.landmarks, fine.landmarks]),
        np.concatenate([large.scores, fine.scores]),
    )
    # Where both views see a face, the coarse one is right although its score may be lower: it goes first.
    first = np.concatenate([large.scores + 1, fine.scores])
    return _faces(both.at(_without_overlaps(both.boxes, first)))


def _view(pixels: NDArray[np.uint8], long_side: int) -> NDArray[np.uint8]:
    """The picture (H, W, 3) with its longer side scaled to ``long_side``."""
    scale = long_side / max(pixels.shape[:2])
    return resize(pixels, *(max(1, round(side * scale)) for side in pixels.shape[:2]))


def _look(look: Callable[[NDArray[np.uint8]], Found], view: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> Found:
    """Candidates of one view without overlaps, in pixels of the picture."""
    height, width = pixels.shape[:2]
    found = look(view)
    found = found.at(_without_overlaps(found.boxes, found.scores))
    # Sizes were rounded, so the two directions differ by a trifle.
    back = np.array([width / view.shape[1], height / view.shape[0]], np.float32)
    return Found(found.boxes * np.tile(back, 2), found.landmarks * back, found.scores)


def _without_overlaps(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """Greedy non-maximum suppression: the rows kept, the best score first; the same as ``torchvision.ops.nms``."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        start = np.maximum(boxes[best, :2], boxes[left, :2])
        end = np.minimum(boxes[best, 2:], boxes[left, 2:])
        shared = np.maximum(end - start, 0).prod(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):  # two boxes without an area do not overlap
            over = (shared / (areas[best] + areas[left] - shared)).astype(np.float64) > OVERLAP
        left = left[~over]
    return np.array(kept, dtype=np.int64)


def _faces(found: Found) -> list[Face]:
    return in_order(
        Face((left, top, right - left, bottom - top), as_landmarks(points), min(1.0, max(0.0, score)))
        for (left, top, right, bottom), points, score in zip(
            found.boxes.tolist(), found.landmarks.reshape(-1, 10).tolist(), found.scores.tolist(), strict=True
        )
    )
