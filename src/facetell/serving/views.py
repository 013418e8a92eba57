"""Pictures for the page: the photo, or the frames of a video that decide, small enough to be sent along."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facetell.detector.judge import Judge
from facetell.detector.verdict import Verdict
from facetell.errors import MediaError
from facetell.faces.turns import turned
from facetell.media.frames import frames
from facetell.media.limits import Limits, read_bytes
from facetell.pixels.decode import read_picture, resize
from facetell.pixels.encode import encode
from facetell.pixels.opening import MAX_BYTES

__all__ = ["View", "views_of"]

SIDE = 960
FRAMES = 6
_QUALITY = 80


@dataclass(frozen=True)
class View:
    """A picture as JPEG; ``width`` and ``height``: of the one in which boxes are; ``frame`` and ``time`` (s) in a video."""

    jpeg: bytes
    width: int
    height: int
    frame: int | None = None
    time: float | None = None


def views_of(judge: Judge, path: Path, verdict: Verdict, limits: Limits) -> list[View]:
    """The photo, or of a video at most six frames: those of the most fake faces. Nothing of what cannot be read."""
    try:
        if verdict.kind == "picture":
            return [_view(turned(read_picture(read_bytes(path, MAX_BYTES)).pixels, verdict.turned))]
        if verdict.kind == "video":
            return _frames(judge, path, verdict, limits)
    except MediaError:
        pass  # the verdict has said it
    return []


def _frames(judge: Judge, path: Path, verdict: Verdict, limits: Limits) -> list[View]:
    stream = verdict.streams[0].stream if verdict.streams else 0
    faces = [face for face in verdict.faces if face.used and face.stream == stream]
    worst = sorted(faces, key=lambda face: -face.logit)
    wanted = set(list(dict.fromkeys(face.frame for face in worst))[:FRAMES])
    if not wanted:
        return []
    return [
        _view(turned(frame.pixels, verdict.turned), frame.index, frame.time)
        for frame in frames(path, judge.finder.choice, limits)
        if frame.stream == stream and frame.index in wanted
    ]


def _view(pixels: npt.NDArray[np.uint8], frame: int | None = None, time: float | None = None) -> View:
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    small = resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
    return View(encode(small, _QUALITY), width, height, frame, time)
