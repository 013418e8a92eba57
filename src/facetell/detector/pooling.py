"""From the logits of faces to one for each track and one for the file: the same in fitting and in judging.

**Rule.** A track's logit is the mean over its faces, for errors of single frames even out; or that of its most fake
stretch, an eighth of the track, if that is larger: a forgery need not last. The file's logit is that of its most fake track,
because a forgery alters one person among many, corrected for how many tracks it is the largest of
(:mod:`facetell.evaluation.many_tests`). A track with fewer faces than a stretch of the longest does not count, nor does one
face beside a track of five or more: a passer-by seen once is mostly noise. In a picture every face is a track of its own.

Stretches are further tests as well. Whole validation videos are pooled by this same rule, so what is measured on them knows
of it. Where tracks are judged by what was measured on single faces, one with stretches counts as `STRETCHED` faces: stretches
of a real track overlap and go together, and over all correlations within and between frames that were simulated (from none to
0.8 between neighbours) no more were called fake than of single faces.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from facetell.evaluation.drift import Sketch
from facetell.evaluation.many_tests import corrected
from facetell.faces.face import Face, as_landmarks
from facetell.faces.tracks import link_rows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RULE", "Pooled", "PooledTrack", "pool", "tracks_of"]

RULE = (
    "mean logit of a track, or of its most fake eighth; the most fake track with at least an eighth of the longest "
    "track's faces, corrected for their number"
)
SHARE = 8
"""Stretches side by side in a track; as many lie across their bounds."""
LEAST = 3
"""Faces of a stretch; a track of fewer than two of these has none."""
STRETCHED = 4
PASSING = 5


@dataclass(frozen=True)
class PooledTrack:
    """One track: its number, its logit, the ``faces`` (F,) that this is the mean of, as places among those of the file,
    and in order, and whether they are a stretch of several."""

    number: int
    logit: float
    faces: npt.NDArray[np.int64]
    stretched: bool
    counts: bool


@dataclass(frozen=True)
class Pooled:
    """The tracks of one file, by their numbers."""

    tracks: list[PooledTrack]

    @property
    def deciding(self) -> PooledTrack:
        """The track that the file's logit is of."""
        return max((track for track in self.tracks if track.counts), key=lambda track: track.logit)

    def parts(self, *, of_tracks: bool) -> int:
        """How many tests the file is, if one is a track, or else a face."""
        return sum(STRETCHED if track.stretched and not of_tracks else 1 for track in self.tracks if track.counts)

    def logit(self, real: Sketch | None, *, of_tracks: bool = False, but: Collection[int] = ()) -> float:
        """The file's: the largest of those that count, corrected for their number.

        ``real``: the logits of real faces, or of the tracks of real files (``of_tracks``); without it, the largest as it is.
        ``but``: numbers of tracks that have no say; at least one that counts must have it.
        """
        largest = max(track.logit for track in self.tracks if track.counts and track.number not in but)
        return largest if real is None else corrected(largest, self.parts(of_tracks=of_tracks), real)


def pool(
    logits: npt.NDArray[np.float32], tracks: npt.NDArray[np.int64], frames: npt.NDArray[np.int64] | None = None
) -> Pooled:
    """Pool the logits (N,) of the faces of one file, N ≥ 1.

    ``tracks`` (N,) has the number of each face's track; ``frames`` (N,) that of its frame, by default in their order.
    """
    order = np.arange(len(logits)) if frames is None else np.argsort(frames, kind="stable")
    members = {int(number): order[tracks[order] == number] for number in np.unique(tracks)}
    longest = max(map(len, members.values()))
    least = max(longest // SHARE, 2 if longest >= PASSING else 1)
    return Pooled([_track(number, mine, logits[mine], len(mine) >= least) for number, mine in members.items()])


def _track(number: int, places: npt.NDArray[np.int64], logits: npt.NDArray[np.float32], counts: bool) -> PooledTrack:
    n, length = len(places), max(LEAST, len(places) // SHARE)
    whole, sums = slice(0, n), np.concatenate([[0.0], np.cumsum(logits, dtype=np.float64)])
    stretched = n >= 2 * length
    starts = sorted({*range(0, n - length + 1, -(-length // 2)), n - length}) if stretched else []
    parts = [whole, *(slice(start, start + length) for start in starts)]
    means = [float(sums[part.stop] - sums[part.start]) / (part.stop - part.start) for part in parts]
    most = int(np.argmax(means))
    return PooledTrack(number, means[most], places[parts[most]], stretched, counts)


def tracks_of(rows: pa.Table) -> npt.NDArray[np.int64]:
    """The tracks (N,) of one video's rows in a face set, in any order."""
    import pyarrow as pa

    table = rows.append_column("row", pa.array(np.arange(len(rows)))).sort_by([("frame", "ascending")])
    faces = [
        Face(tuple(box), as_landmarks(points), score)
        for box, points, score in zip(*(table[n].to_pylist() for n in ("box", "landmarks", "face_score")), strict=True)
    ]
    tracks = np.empty(len(rows), dtype=np.int64)
    frames, times, scenes = (table[name].to_pylist() for name in ("frame", "time", "scene"))
    tracks[table["row"].to_numpy()] = link_rows(frames, times, faces, scenes)
    return tracks
