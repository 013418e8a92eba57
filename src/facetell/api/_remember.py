"""``remember``: keep a small memory of old faces in a detector, so that learning a new kind does not cost the old ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from facetell.adaptation.replay_choice import remembered
from facetell.detector.bundle import read_bundle, update_description
from facetell.detector.replay_buffer import FOLDER, described
from facetell.errors import UsageError
from facetell.faceset.join import Part, join
from facetell.faceset.samples import check_split
from facetell.faceset.table import FaceSet
from facetell.ingest.prepare import open_or_prepare

__all__ = ["remember"]

LEAST = 40
"""Faces of a split below which a memory says too little."""


def remember(
    detector: str | Path, faceset: str | Path | None = None, *, faces: int = 1000, forget: bool = False, seed: int = 0
) -> dict[str, Any]:
    """Copy some faces of ``faceset`` into the detector's folder, in place of those it kept before.

    ``faces``: at most that many of the split it was fitted on, to learn from again, and as many of *validation*, to
    measure on; see :func:`facetell.adaptation.replay_choice.remembered` for which. Never of *test*. They are whole pictures of
    persons, and travel with the detector wherever it goes: that is why a detector has none unless it is asked for.
    ``forget`` deletes the memory instead.

    Returns ``detector``, ``faces``, ``bytes``, ``counts`` by split, label and source, and ``warnings``.

    Raises UsageError without a face set, or for too few faces; DataError for a face set without these splits; BundleError
    for a damaged detector.
    """
    path = Path(detector)
    description = read_bundle(path)[0]
    if forget:
        if faceset is not None:
            raise UsageError("to forget, no face set is needed", hint=f"facetell remember {path} --forget")
        update_description(path, lambda stored: stored.pop("memory", None) and None)
        shutil.rmtree(path / FOLDER, ignore_errors=True)
        return {"detector": str(path), "faces": 0, "bytes": 0, "counts": {}, "warnings": []}
    if faceset is None:
        raise UsageError(
            "there is nothing to remember", hint=f"facetell remember {path} FACESET, that it was fitted on"
        )
    if faces < LEAST:
        raise UsageError(f"a memory of {faces} faces says too little", hint=f"at least {LEAST}")
    known = open_or_prepare(Path(faceset))
    split = description["data"].get("split", "train")
    for name in (split, "validation"):
        check_split(known, name, "remember")
    parts = [
        Part(known, remembered(known, name, faces, seed), kept)
        for name, kept in ((split, "train"), ("validation", "validation"))
    ]
    memory = join(path / FOLDER, parts, {"seed": seed, "crop": known.info.get("crop")})
    update_description(path, lambda stored: stored.update(memory=described(memory)))
    return {"detector": str(path), **described(memory), "warnings": _warnings(description, known)}


def _warnings(description: dict[str, Any], known: FaceSet) -> list[str]:
    if description["data"].get("fingerprint") == known.fingerprint:
        return []
    return [
        f"{known.path.name} is not the face set it was fitted on: what is kept safe is how it does on this one",
    ]
