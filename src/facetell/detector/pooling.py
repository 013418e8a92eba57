"""From the logits of faces to one for each track and one for the file: the same in fitting and in judging.

**Rule.** A track's logit is the mean over its faces: errors of single frames even out. A file's logit is that of its
most fake track, because a forgery alters one person among many, corrected for how many tracks it is the largest of
(:mod:`facetell.evaluation.many_tests`); tracks with less than a quarter of the faces of the longest do not count, because
a passer-by seen twice is mostly noise. In a picture every face is a track of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from facetell.evaluation.drift import Sketch
from facetell.evaluation.many_tests import corrected
from facetell.faces.face import Face, as_landmarks
from facetell.faces.tracks import link_rows

__all__ = ["RULE", "Pooled", "pool", "tracks_of"]

RULE = (
    "mean logit of a track; the most fake track with at least a quarter of the longest track's faces, "
    "corrected for their number"
)
SHARE = 4


@dataclass(frozen=True)
class Pooled:
    """The logit of each track of one file, and of those that count for the file."""

    tracks: dict[int, float]
    counted: list[float]

    def logit(self, real: Sketch | None) -> float:
        """The file's: the largest of those that count, corrected for their number.

        ``real``: the logits of tracks of real files; without it, the largest as it is.
        """
        largest = max(self.counted)
        return largest if real is None else corrected(largest, len(self.counted), real)


def pool(logits: npt.NDArray[np.float32], tracks: npt.NDArray[np.int64]) -> Pooled:
    """Pool the logits (N,) of the faces of one file, N ≥ 1; ``tracks`` (N,) has the number of each face's track."""
    numbers, places, counts = np.unique(tracks, return_inverse=True, return_counts=True)
    means = np.bincount(places, weights=logits) / counts
    counted = counts >= math.ceil(counts.max() / SHARE)
    return Pooled(dict(zip(numbers.tolist(), means.tolist(), strict=True)), means[counted].tolist())


def tracks_of(rows: pa.Table) -> npt.NDArray[np.int64]:
    """The tracks (N,) of one video's rows in a face set, in any order."""
    table = rows.append_column("row", pa.array(np.arange(len(rows)))).sort_by([("frame", "ascending")])
    faces = [
        Face(tuple(box), as_landmarks(points), score)
        for box, points, score in zip(*(table[n].to_pylist() for n in ("box", "landmarks", "face_score")), strict=True)
    ]
    tracks = np.empty(len(rows), dtype=np.int64)
    tracks[table["row"].to_numpy()] = link_rows(table["frame"].to_pylist(), table["time"].to_pylist(), faces)
    return tracks
