"""From the logits of faces to one for each track and one for the file: the same in fitting and in judging.

**Rule.** A track's logit is the mean over its faces: errors of single frames even out. A file's logit is that of its
most fake track, because a forgery alters one person among many; tracks with less than a quarter of the faces of the
longest do not count, because a passer-by seen twice is mostly noise. In a picture every face is a track of its own.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from facetell.faces.face import Face, as_landmarks
from facetell.faces.tracks import link_rows

__all__ = ["RULE", "pool", "pool_files", "tracks_of"]

RULE = "mean logit of a track; the most fake track with at least a quarter of the longest track's faces"
SHARE = 4


def pool(logits: npt.NDArray[np.float32], tracks: npt.NDArray[np.int64]) -> tuple[dict[int, float], float]:
    """Pool the faces of one file.

    Args:
        logits: (N,) of its faces, N ≥ 1.
        tracks: (N,) the number of each face's track.

    Returns:
        The logit of each track, and the file's.
    """
    numbers, places, counts = np.unique(tracks, return_inverse=True, return_counts=True)
    means = np.bincount(places, weights=logits) / counts
    counted = counts >= math.ceil(counts.max() / SHARE)
    return dict(zip(numbers.tolist(), means.tolist(), strict=True)), float(means[counted].max())


def pool_files(
    logits: npt.NDArray[np.float32], files: npt.NDArray[np.int64], tracks: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """The logit of each file 0..F-1, from the faces (N,) of all of them."""
    order = np.argsort(files, kind="stable")
    bounds = np.flatnonzero(np.diff(files[order], prepend=-1))
    groups = np.split(order, bounds[1:])
    return np.array([pool(logits[rows], tracks[rows])[1] for rows in groups], dtype=np.float32)


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
