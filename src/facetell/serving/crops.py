"""Crops of the faces in a file, for a store: what a face set made of the file would hold, and what people label."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facetell.detector.judge import Judge
from facetell.detector.known_faces import UNLIKE
from facetell.detector.verdict import FaceVerdict, TrackVerdict, Verdict
from facetell.errors import MediaError
from facetell.faces.crop import crop
from facetell.faces.face import Face as FoundFace
from facetell.faces.face import as_landmarks
from facetell.faces.finding import CROP_SIZE
from facetell.faces.turns import turned
from facetell.media.frames import frames
from facetell.media.limits import Limits, read_bytes
from facetell.pixels.decode import read_picture, resize
from facetell.pixels.encode import encode
from facetell.pixels.opening import MAX_BYTES
from facetell.store.records import WHOLE, Crop, Face, cut_of

__all__ = ["cut_out", "faces_of"]

Pixels = npt.NDArray[np.uint8]

FACES = 32
"""Of a file at most; of more, which is drawn."""
CROPS = 4
"""Of a person in a video, spread over the time."""


def faces_of(judge: Judge, path: Path, verdict: Verdict, limits: Limits) -> list[Face]:
    """The faces that count of a photo, or people of a video, with their crops; none of a file without a decision."""
    if not verdict.judged or verdict.threshold is None:
        return []
    tracks = verdict.tracks if len(verdict.tracks) <= FACES else random.sample(verdict.tracks, FACES)
    chosen = {track.track: _spread(verdict, track) for track in tracks}
    crops: dict[int, list[Crop]] = {track.track: [] for track in tracks}
    try:
        for track, one in cut_out(judge, path, verdict, limits, [face for some in chosen.values() for face in some]):
            crops[track].append(one)
    except MediaError:
        pass  # the verdict has said it; what was cut so far is kept
    return [_face(judge, verdict, track, crops[track.track]) for track in tracks if crops[track.track]]


def _face(judge: Judge, verdict: Verdict, track: TrackVerdict, crops: list[Crop]) -> Face:
    rare = UNLIKE if verdict.unlike is None else verdict.unlike
    whole = all(face.box is None for face in verdict.faces if face.track == track.track)
    novel = track.p_known is not None and track.p_known <= rare
    return Face(
        track=track.track,
        decision=str(track.decision),
        score=float(track.score or 0.0),
        threshold=float(verdict.threshold or 0.0),
        p_known=track.p_known,
        novel=novel,
        cut=WHOLE if whole else cut_of(judge.record),
        crops=tuple(crops),
    )


def _spread(verdict: Verdict, track: TrackVerdict) -> list[FaceVerdict]:
    faces = [face for face in verdict.faces if face.used and face.track == track.track]
    at = np.unique(np.linspace(0, len(faces) - 1, min(CROPS, len(faces))).round().astype(int))
    return [faces[place] for place in at.tolist()]


def cut_out(
    judge: Judge, path: Path, verdict: Verdict, limits: Limits, faces: list[FaceVerdict]
) -> Iterator[tuple[int, Crop]]:
    """The numbers of the tracks of some faces of a file, and their crops. Raises ``MediaError`` for what cannot be read."""
    if verdict.kind == "picture":
        pixels = turned(read_picture(read_bytes(path, MAX_BYTES)).pixels, verdict.turned)
        yield from ((int(face.track or 0), _crop(judge, pixels, face)) for face in faces)
        return
    of_frame: dict[tuple[int | None, int | None], list[FaceVerdict]] = {}
    for face in faces:
        of_frame.setdefault((face.stream, face.frame), []).append(face)
    for frame in frames(path, judge.finder.choice, limits):
        here = of_frame.pop((frame.stream, frame.index), [])
        pixels = turned(frame.pixels, verdict.turned) if here else frame.pixels
        yield from ((int(face.track or 0), _crop(judge, pixels, face)) for face in here)
        if not of_frame:
            return


def _crop(judge: Judge, pixels: Pixels, face: FaceVerdict) -> Crop:
    if face.box is None or face.landmarks is None:
        cut = pixels if max(pixels.shape[:2]) <= CROP_SIZE else _smaller(pixels)
    else:
        left, top, width, height = face.box
        landmarks = as_landmarks([number for point in face.landmarks for number in point])
        found = FoundFace((left, top, width, height), landmarks, face.face_score or 0.0)
        cut = judge.stored(crop(pixels, found, judge.finder.finding.geometry))
    return Crop(encode(cut), cut.shape[1], cut.shape[0], face.time)


def _smaller(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    scale = CROP_SIZE / max(height, width)
    return resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
