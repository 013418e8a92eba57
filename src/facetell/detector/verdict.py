"""What is said of a picture or a video: of the file, of each person in it, of each face. ``detect --json`` prints it."""

from __future__ import annotations

import functools
import os
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from facetell.buckets import status
from facetell.declared.declared import Declared
from facetell.files import sha256_of

__all__ = ["STATUSES", "FaceVerdict", "FileStamp", "TrackVerdict", "Verdict", "status_of"]

STATUSES = (
    "fake", "real", "unsure", "no_face", "face_too_small", "unreadable", "unsupported", "truncated", "missing",
    "uncalibrated",
)  # fmt: skip
"""``fake`` and ``real``: judged. ``unsure``: judged, and neither can be said (see ``decision``), or faces were found, but
none good enough to judge by. ``no_face``,
``face_too_small``: nothing to judge. ``unreadable``: damaged, or it took too long, or may not be read.
``unsupported``: not a picture or video in a format we read, or beyond a limit. ``truncated``: the end is missing;
what there is was judged, see ``decision``. ``missing``: no such file. ``uncalibrated``: faces were found, but the
detector gives logits only."""

_AS = {"empty": "unreadable", "timeout": "unreadable", "crashed": "unreadable", "no_access": "unreadable",
       "too_large": "unsupported",
       "too_long": "unsupported"}  # fmt: skip


def status_of(reason: str) -> str:
    """The status for a reason that reading a file gave."""
    return _AS.get(reason, reason)


@functools.cache
def _version() -> str:
    return metadata.version("facetell")


@dataclass(frozen=True)
class FaceVerdict:
    """One face in one frame.

    ``frame``, ``time`` (s) and the video ``stream`` are None in a picture; ``box`` (left, top, width, height) and
    ``landmarks`` (five x, y) in pixels of the frame as shown, None where the whole picture was taken as a crop;
    ``face_score`` the face detector's certainty and ``quality`` 0..1; ``used``: whether it counts for its ``track`` and
    the file, else ``reason`` says why not; ``logit``: of the network, higher = more fake; ``score``: calibrated
    probability of fake, None from a detector that is uncalibrated; ``p_known``: the share of faces like those the detector
    knows that lie as far from them as this one, None where it cannot tell.
    """

    frame: int | None
    time: float | None
    box: tuple[float, ...] | None
    landmarks: tuple[tuple[float, float], ...] | None
    face_score: float | None
    quality: float | None
    track: int | None
    logit: float
    score: float | None
    used: bool = True
    reason: str | None = None
    stream: int | None = None
    p_known: float | None = None


@dataclass(frozen=True)
class TrackVerdict:
    """One person over the frames of a video, or one face of a picture: how many faces count, from when to when (s), and its
    own logit, score and decision, which know of no other track; ``window``: the seconds (from, to) whose mean its logit is,
    the whole track or its most fake stretch, None in a picture; ``p_known``: as of a face, for the mean over its faces."""

    track: int
    faces: int
    start: float | None
    end: float | None
    window: tuple[float, ...] | None
    logit: float
    score: float | None
    decision: str | None
    stream: int | None = None
    p_known: float | None = None


@dataclass(frozen=True)
class StreamVerdict:
    """A video stream that was looked at: its number in the file, how many ``frames`` of it, its length in ``seconds``."""

    stream: int
    frames: int
    seconds: float


@dataclass(frozen=True)
class FileStamp:
    """What tells a file from its next version: size (bytes), times (ns since 1970) of the last change of its content and of
    anything about it, SHA-256 (hex)."""

    bytes: int
    modified: int
    changed: int
    sha256: str

    @classmethod
    def of(cls, status: os.stat_result, path: Path) -> FileStamp | None:
        """The stamp of a file that was judged, with its ``status`` from before: what changed meanwhile makes another file
        of it. None where it is gone."""
        try:
            return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, sha256_of(path))
        except OSError:
            return None

    def replaced(self, path: str) -> bool:
        """Whether another file is at ``path`` now; one that is gone is none. The content is read only where its size and
        time are the same, and something else of the file was changed."""
        try:
            now = status(path)
            if (now.st_size, now.st_mtime_ns) != (self.bytes, self.modified):
                return True
            return now.st_ctime_ns != self.changed and sha256_of(Path(path)) != self.sha256
        except FileNotFoundError:
            return False
        except (OSError, ValueError):
            return True


@dataclass(frozen=True)
class Verdict:
    """What is said of one file.

    ``status``: one of `STATUSES`. ``decision``: ``fake``, ``real``, or ``unsure`` in the detector's unsure band and for faces
    unlike all it knows, None if nothing was judged; ``logit``: of the most fake track, higher = more fake, corrected for
    ``corrected_for`` tracks that count (faces of a picture), None without a calibration; ``score``: calibrated probability
    of fake, 0 to 1;
    ``threshold``: scores from here on are called fake; ``operating_point``: its name; ``unsure``: the band (low,
    high), None where the detector has none; ``prevalence``: share of fakes the scores are meant for, None as in its
    calibration data; ``unlike``: share of known faces that are called unlike all of them, None where none is;
    ``reason``: why there is no decision, or what is missing; ``kind``: picture or video; ``turned``: by how
    many degrees a picture or video was turned clockwise before faces stood upright (boxes are of the turned one); ``note``:
    what was chosen of the file; ``frames``: looked at; ``seconds``: length of a video or animation; ``window``: its seconds
    (from, to) that decide; ``streams``: what was looked at of it; ``detector``: the identity of the one that judged, ""
    for one that was never written; ``facetell``: the version that judged; ``declared``: what the file says of itself, which
    changes no score. From `facetell.detect` alone: ``settings``, a hash of all that decides a verdict beside the file;
    ``file``, what was judged, if it was; ``pictures``, names of those drawn of it.
    """

    path: str
    status: str
    decision: str | None = None
    logit: float | None = None
    score: float | None = None
    corrected_for: int | None = None
    threshold: float | None = None
    operating_point: str | None = None
    unsure: tuple[float, ...] | None = None
    prevalence: float | None = None
    unlike: float | None = None
    reason: str | None = None
    kind: str | None = None
    turned: int = 0
    note: str | None = None
    frames: int = 0
    seconds: float | None = None
    window: tuple[float, ...] | None = None
    detector: str = ""
    settings: str = ""
    facetell: str = field(default_factory=_version)
    file: FileStamp | None = None
    pictures: list[str] = field(default_factory=list)
    declared: Declared | None = None
    faces: list[FaceVerdict] = field(default_factory=list)
    tracks: list[TrackVerdict] = field(default_factory=list)
    streams: list[StreamVerdict] = field(default_factory=list)

    @property
    def judged(self) -> bool:
        """Whether there is a decision."""
        return self.decision is not None

    def word(self, face: FaceVerdict) -> str | None:
        """What a face is called alone: ``fake``, ``real``, ``unsure``; None if nothing was judged."""
        score = face.score
        if self.threshold is None or score is None:
            return None
        if self.unlike is not None and face.p_known is not None and face.p_known <= self.unlike:
            return "unsure"
        if self.unsure is not None and self.unsure[0] < self.unsure[1] and self.unsure[0] <= score <= self.unsure[1]:
            return "unsure"
        return "fake" if score >= self.threshold else "real"

    def as_dict(self) -> dict[str, Any]:
        """The verdict as plain values, as in ``detect --json``; ``verdict.schema.json`` describes it."""
        return asdict(self)
