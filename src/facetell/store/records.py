"""What goes into a store, as worker processes may hand it on: nothing here needs a database."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

__all__ = ["REASONS", "WHOLE", "WORDS", "Accepted", "Compared", "Crop", "Ended", "Face", "cut_of"]

WORDS = ("fake", "real", "unsure")
"""What a reviewer may say."""

REASONS = ("random", "disagreement", "novel", "unsure")
"""Why a face is shown: drawn by chance; reviewers disagree; unlike all the detector knows; near its threshold."""

WHOLE = "whole"
"""The cut of a picture that was taken as a crop."""


def cut_of(record: dict[str, Any] | None) -> str:
    """A word for how a detector has faces found and cut, as its description records it: those of one word go together."""
    said = {name: record[name] for name in ("geometry", "rule", "model_fingerprint", "jpeg")} if record else {}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Accepted:
    """A file that a client sent: its ``id``; ``owner``, the hash of the key that did, and its name ``sender``."""

    id: str
    owner: str
    sender: str
    name: str
    video: bool


@dataclass(frozen=True)
class Crop:
    """What the network saw of a face, before it was resized: a PNG, its size in pixels, when (s) in a video."""

    png: bytes
    width: int
    height: int
    time: float | None = None


@dataclass(frozen=True)
class Face:
    """A face of a photo, or a person in a video, as its track's verdict says; ``novel``: unlike all the detector knows;
    ``cut``: how the crops were cut out, see `cut_of`."""

    track: int
    decision: str
    score: float
    threshold: float
    p_known: float | None
    novel: bool
    cut: str
    crops: tuple[Crop, ...]


@dataclass(frozen=True)
class Ended:
    """What came of a file: ``state`` done, failed or cancelled; ``answer``: what a client gets, as JSON."""

    id: str
    state: str
    answer: str
    detector: str | None = None
    settings: str | None = None
    sha256: str | None = None
    faces: tuple[Face, ...] = ()


@dataclass(frozen=True)
class Compared:
    """What a detector in ``shadow`` (its identity) said of a ``file``, beside what was answered by ``detector``: the
    decision, or the status where there is none, and the score."""

    file: str
    shadow: str
    detector: str
    status: str
    score: float | None
    old_status: str
    old_score: float | None
