"""One photo or video to its faces: frames, boxes, quality, crops. The same for preparing and for judging."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.errors import MediaError, UsageError
from facetell.faces.crop import CropGeometry, crop
from facetell.faces.face import Face, FaceDetector
from facetell.faces.load import NAMES, load_face_detector
from facetell.faces.quality import FaceRule, judge
from facetell.faces.scenes import Scenes
from facetell.faces.turns import TURNS, right_way_up, turned, upright_score
from facetell.media.frame import Frame
from facetell.media.frame_choice import Choice, Spread
from facetell.media.frames import frames
from facetell.media.kind import Kind, kind_of
from facetell.media.limits import Limits, read_bytes
from facetell.pixels.decode import read_picture
from facetell.pixels.opening import MAX_BYTES
from facetell.threads import ordered

__all__ = ["FaceFinder", "Finding", "FoundFace", "Reading", "Shot", "Stream"]

CROP_SIZE = 512
HELD = 64
"""Shots of a video without an upright face after which it is looked at turned."""
TRIED = 8
"""Frames of a video that are looked at turned."""
_NO_PIXELS = np.zeros((0, 0, 3), np.uint8)
FILLS = 0.6
"""Share of a crop's longer side that a face fills at least, with the usual margin around it."""


@dataclass(frozen=True)
class Finding:
    """How faces are found and cut; recorded with a face set and with a detector, for both must see the same.

    Attributes:
        geometry: how a face is cut out of its frame; by default crops above 512 pixels are shrunk to that.
        rule: which faces are used.
        model: a name of `faces.load.NAMES`, an ONNX file, or None for CenterFace.
    """

    geometry: CropGeometry = field(default_factory=lambda: CropGeometry(size=CROP_SIZE))
    rule: FaceRule = field(default_factory=FaceRule)
    model: str | None = None

    def as_dict(self, detector: FaceDetector) -> dict[str, Any]:
        """The settings as JSON can hold them, with the name and fingerprint of the face detector itself."""
        return {
            "geometry": self.geometry.as_dict(),
            "rule": asdict(self.rule),
            "model": detector.name,
            "model_fingerprint": detector.fingerprint,
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any], model: str | None = None) -> Finding:
        """What `as_dict` recorded, with the face detector ``model`` in place of the recorded one if it is given.

        Raises:
            UsageError: the recorded one is a file, and none is given.
        """
        if model is None and record["model"] not in NAMES:
            raise UsageError(
                f"the faces of training were found by {record['model']}, which is a file of its own",
                hint=f"give the file of {record['model']} with --face-model FILE.onnx",
            )
        return cls(CropGeometry.from_dict(record["geometry"]), FaceRule(**record["rule"]), model or record["model"])


@dataclass(frozen=True)
class FoundFace:
    """A face in a frame: where, its quality (0..1), why it is not used (None: it is), and its crop (S, S, 3) uint8."""

    face: Face
    quality: float
    reason: str | None
    crop: NDArray[np.uint8]


@dataclass(frozen=True)
class Shot:
    """One picture, or one chosen frame of a video: number, time in s (None for a picture), pixels, faces, number of its
    scene, video stream (None for a picture).

    ``turned``: by how many degrees it was turned clockwise, since the faces of the picture or video did not stand upright.
    """

    index: int
    time: float | None
    pixels: NDArray[np.uint8]
    faces: list[FoundFace]
    scene: int = 0
    stream: int | None = None
    turned: int = 0

    @property
    def is_crop(self) -> bool:
        """Whether the picture is one face crop: one face alone that can be used, which fills most of it."""
        usable = [found.face for found in self.faces if found.reason is None]
        return len(usable) == 1 and max(usable[0].box[2:]) * 1.3 >= FILLS * max(self.pixels.shape[:2])


@dataclass(frozen=True)
class Stream:
    """A video stream that was looked at: its number in the file, how many frames of it, its length in s."""

    stream: int
    frames: int
    seconds: float


class Reading:
    """Iterates over the shots of one file, once; afterwards says what was missing.

    ``missing``: what of the file could not be read, in words, empty if nothing; ``note``: what was chosen of it and what
    is wrong with it; ``seconds``: length of a video; ``streams``: those of it that were looked at;
    ``shots``: how many were given.
    """

    def __init__(self, kind: Kind, read: Callable[[Reading], Iterator[Shot]]) -> None:
        self.kind = kind
        self.missing = ""
        self.note = ""
        self.seconds: float | None = None
        self.streams: list[Stream] = []
        self.shots = 0
        self._read = read

    def __iter__(self) -> Iterator[Shot]:
        for shot in self._read(self):
            self.shots += 1
            yield shot


class FaceFinder:
    """Reads files and finds their faces. Holds the face detector; make one for each process.

    ``threads`` decode and find; more of them change the speed alone.
    """

    def __init__(
        self,
        finding: Finding | None = None,
        choice: Choice | None = None,
        limits: Limits | None = None,
        *,
        threads: int = 1,
    ) -> None:
        self.finding = finding or Finding()
        self.choice = choice or Spread(32)
        self.limits = limits or Limits()
        self.detector = load_face_detector(self.finding.model)
        self.threads = threads

    def read(self, path: Path) -> Reading:
        """Open a photo or a video, whatever its name says.

        Raises:
            MediaError: missing, empty, unreadable or unsupported; further ones come from the iteration.
        """
        kind = kind_of(path)
        if kind is None:
            raise MediaError(
                "neither a picture nor a video in a format we read; next: save it as PNG, JPEG or MP4",
                reason="unsupported",
            )
        return Reading(kind, partial(self._picture if kind == "picture" else self._video, path))

    def look(self, pixels: NDArray[np.uint8]) -> list[FoundFace]:
        """The faces of one frame, uint8 (H, W, 3) RGB, the surest first."""
        found = []
        for face in self.detector.detect(pixels, self.finding.rule.min_side):
            quality = judge(pixels, face).value
            reason = self.finding.rule.reason(face, quality)
            found.append(FoundFace(face, quality, reason, crop(pixels, face, self.finding.geometry)))
        return found

    def shot(self, pixels: NDArray[np.uint8]) -> Shot:
        """A picture, uint8 (H, W, 3) RGB, with its faces, turned if that is how they stand upright."""
        upright, faces, turn = right_way_up(self.look, pixels)
        return Shot(0, None, upright, faces, turned=turn)

    def _picture(self, path: Path, reading: Reading) -> Iterator[Shot]:
        picture = read_picture(read_bytes(path, MAX_BYTES))
        shot = self.shot(picture.pixels)
        reading.note = _also(picture.note, shot.turned)
        reading.missing = picture.truncated
        yield shot

    def _video(self, path: Path, reading: Reading) -> Iterator[Shot]:
        """Its shots. Where none of the first shows a face that can be used and stands upright, some are looked at turned."""
        shots = self._shots(path, reading, 0)
        held: list[Shot] = []
        upright = 0.0
        while not upright and len(held) < HELD and (shot := next(shots, None)):
            held.append(replace(shot, pixels=_NO_PIXELS))
            upright = upright_score(shot.faces)
        turn = 0 if upright else self._turn(path)
        if turn:
            shots.close()
            yield from self._shots(path, reading, turn)
        else:
            yield from held
            yield from shots

    def _turn(self, path: Path) -> int:
        """By how much a video has to be turned so that faces stand upright in it; 0 if none would."""
        scores = dict.fromkeys(TURNS, 0.0)
        for frame in frames(path, Spread(TRIED), self.limits, threads=self.threads):
            for turn in TURNS:
                scores[turn] += upright_score(self.look(turned(frame.pixels, turn)))
        return max(TURNS, key=lambda turn: scores[turn])

    def _shots(self, path: Path, reading: Reading, turn: int) -> Generator[Shot, None, None]:
        video = frames(path, self.choice, self.limits, threads=self.threads)
        upright = video if not turn else (replace(frame, pixels=turned(frame.pixels, turn)) for frame in video)
        scene = Scenes()
        for frame, faces in self._looked_at(upright):
            number = scene(frame.pixels)
            yield Shot(frame.index, frame.time, frame.pixels, faces, number, frame.stream, turn)
        reading.missing, reading.note = video.missing, _also(video.note, turn)
        reading.seconds = max(account.seconds for account in video.accounts)
        reading.streams = [Stream(one.stream, one.given, one.seconds) for one in video.accounts]

    def _looked_at(self, video: Iterable[Frame]) -> Iterator[tuple[Frame, list[FoundFace]]]:
        """Frames in order with their faces, some looked at while the next ones are decoded.

        A thread takes a whole frame: two threads within one frame wait for each other at every layer, and on a busy
        machine take longer than one.
        """
        if self.threads == 1:
            yield from ((frame, self.look(frame.pixels)) for frame in video)
        else:
            yield from ordered(lambda frame: (frame, self.look(frame.pixels)), video, self.threads, "facetell-faces")


def _also(note: str, turn: int) -> str:
    """A note with the turn of a picture or video, if there was one."""
    said = f"turned by {turn}° clockwise, so that a face stands upright" if turn else ""
    return "; ".join(filter(None, (note, said)))
