"""The whole videos of a split, each with the logits of its faces pooled by the rule that judges a video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from facetell.detector.pooling import Pooled, pool, tracks_of
from facetell.evaluation.drift import Sketch
from facetell.faceset.table import FaceSet

__all__ = ["Videos", "videos_of"]

_PLACES = ["frame", "time", "box", "landmarks", "face_score", "scene"]


@dataclass(frozen=True)
class Videos:
    """V videos: ``paths``, ``labels``, ``groups`` and ``sources``, each (V,), what was ``pooled`` of each, and the ``rows`` of
    each among the faces of the split."""

    paths: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int8]
    groups: npt.NDArray[np.str_]
    sources: npt.NDArray[np.str_]
    pooled: list[Pooled]
    rows: list[npt.NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.pooled)

    def tracks_of_reals(self) -> Sketch:
        """The logits of the tracks of real videos that count, by which videos of several are corrected."""
        real = np.flatnonzero(self.labels == 0)
        known = [
            (track.logit, self.groups[video]) for video in real for track in self.pooled[video].tracks if track.counts
        ]
        return Sketch.of([logit for logit, _ in known], [group for _, group in known])

    def logits(self, real: Sketch | None, *, of_tracks: bool) -> npt.NDArray[np.float32]:
        """Logits (V,), corrected for the number of tracks; see :meth:`Pooled.logit`."""
        return np.array([one.logit(real, of_tracks=of_tracks) for one in self.pooled], dtype=np.float32)


def videos_of(
    faces: FaceSet, split: str, logits: npt.NDArray[np.float32], keep: npt.NDArray[np.bool_] | None = None
) -> Videos:
    """The videos of a split with the logits (N,) of its faces; only of the faces of ``keep`` (N,), if it is given.

    A video is a file of which faces of numbered frames are there. Fakes that were blended from its faces are none of it.
    """
    table = faces.columns(["path", "label", "group", "source", *_PLACES], split)
    in_video = pc.is_valid(table["box"]).to_numpy() & pc.is_valid(table["frame"]).to_numpy()  # no box: blended anew
    if keep is not None:
        in_video = in_video & keep
    rows, places = table.filter(in_video), np.flatnonzero(in_video)
    paths = rows["path"].dictionary_encode().combine_chunks()
    files, frames = paths.indices.to_numpy(), rows["frame"].to_numpy()
    count = len(paths.dictionary)
    labels = np.zeros(count, dtype=np.int8)
    groups, sources = (np.empty(count, dtype=object) for _ in range(2))
    labels[files], groups[files] = rows["label"].to_numpy(), rows["group"].to_numpy()
    sources[files] = rows["source"].to_pylist()
    order = np.argsort(files, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(files, minlength=count))[:-1]) if count else []
    pooled = [pool(logits[places[mine]], tracks_of(rows.take(mine)), frames[mine]) for mine in members]
    names = np.array(paths.dictionary.to_pylist(), dtype=str)
    return Videos(names, labels, groups.astype(str), sources.astype(str), pooled, [places[mine] for mine in members])
