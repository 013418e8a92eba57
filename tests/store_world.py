"""A store filled as a server fills it, without the server."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sql

from facetell.detector.bundle import identity_of
from facetell.detector.detector import Detector
from facetell.detector.judge import Judge
from facetell.media.limits import Limits
from facetell.serving.crops import faces_of
from facetell.store.labels import label
from facetell.store.records import Accepted, Ended
from facetell.store.store import Store
from facetell.store.tables import FACES
from facetell.store.verdicts import accept, end

__all__ = ["judged", "say"]


def judged(store: Store, detector: Path, files: Iterable[Path], sender: str = "Ann") -> list[int]:
    """The numbers of the faces, one a file, of files that ``detector`` has judged as crops; crops are kept."""
    judge, identity, numbers = Judge(Detector.load(detector, "cpu"), faces="crops"), identity_of(detector), []
    for file in files:
        verdict = replace(judge.file(file), detector=identity, path="photo.png")
        name = f"{sender}-{file.parent.name}-{file.stem}"
        accept(store, "a server", [Accepted(name, "owner", sender, "photo.png", False)])
        faces = tuple(faces_of(judge, file, verdict, Limits()))
        end(
            store,
            [Ended(name, "done", json.dumps({"verdict": verdict.as_dict()}), identity, "settings", name, faces)],
            30,
        )
        with store.reading() as reading:
            numbers.append(reading.execute(sql.select(FACES.c.id).where(FACES.c.file == name)).scalar_one())
    return numbers


def say(store: Store, reviewer: str, faces: Iterable[int], word: str, kind: str | None = None) -> None:
    """Label faces."""
    for face in faces:
        label(store, reviewer, face, word, kind, None)
