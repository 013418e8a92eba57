"""What a face detector's network gives for one view: candidates with overlaps, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facetell.faces.face import Face, as_landmarks, in_order

__all__ = ["OVERLAP", "Found", "joined", "overlapping_once"]

OVERLAP = 0.3
"""Largest intersection over union of two faces; the value of CenterFace's and of YuNet's authors."""


@dataclass(frozen=True)
class Found:
    """N candidates: boxes (N, 4) left, top, right, bottom; landmarks (N, 5, 2) x, y; scores (N,)."""

    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    scores: NDArray[np.float32]

    @property
    def sides(self) -> NDArray[np.float32]:
        """The longer side of each box, (N,)."""
        sides: NDArray[np.float32] = (self.boxes[:, 2:] - self.boxes[:, :2]).max(axis=1)
        return sides

    @property
    def centres(self) -> NDArray[np.float32]:
        """The centre of each box, (N, 2)."""
        centres: NDArray[np.float32] = self.boxes.reshape(-1, 2, 2).mean(axis=1)
        return centres

    def at(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Found:
        """The candidates at these rows, in their order."""
        return Found(self.boxes[rows], self.landmarks[rows], self.scores[rows])

    def sure(self, threshold: float) -> Found:
        """Those with more than this score, each face once, the best first."""
        found = self.at(self.scores > threshold)
        return found.at(overlapping_once(found.boxes, found.scores))

    def placed(self, scale: tuple[float, float], start: tuple[int, int]) -> Found:
        """The same in a picture where all is ``scale`` (x, y) times as large and begins at ``start`` (x, y)."""
        times, corner = np.array(scale, np.float32), np.array(start, np.float32)
        return Found(self.boxes * np.tile(times, 2) + np.tile(corner, 2), self.landmarks * times + corner, self.scores)

    def faces(self) -> list[Face]:
        """As faces, the surest first."""
        return in_order(
            Face((left, top, right - left, bottom - top), as_landmarks(points), min(1.0, max(0.0, score)))
            for (left, top, right, bottom), points, score in zip(
                self.boxes.tolist(), self.landmarks.reshape(-1, 10).tolist(), self.scores.tolist(), strict=True
            )
        )


def joined(parts: list[Found]) -> Found:
    """All candidates of several, at least one."""
    return Found(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.landmarks for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


def overlapping_once(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.int64]:
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
