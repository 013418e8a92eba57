"""``remember``: give a detector a replay buffer, so that learning a new kind does not cost the old ones."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.detector.bundle import read_bundle, update_description
from facetell.detector.detector import Detector
from facetell.detector.places import DetectorLike, bundle_path, description_file
from facetell.detector.replay_buffer import rows_to_keep, write_replay_buffer
from facetell.detector.replay_vectors import ReplayVectors, vectors_of_rows
from facetell.detector.runtimes import ReadsForExperts
from facetell.errors import UsageError
from facetell.faceset.join import Part
from facetell.faceset.samples import check_split
from facetell.faceset.table import FaceSet, FaceSetLike
from facetell.files import alone
from facetell.ingest.prepare import open_or_prepare
from facetell.pixels.decode import decode_resized

__all__ = ["RememberResult", "remember"]

BATCH = 32
LEAST = 40
"""Faces of a split below which a replay buffer says too little."""


@dataclass(frozen=True)
class RememberResult:
    """The replay buffer of a detector: its fingerprint (None: it keeps none), faces, bytes, and counts by split and label."""

    detector: str
    fingerprint: str | None = None
    faces: int = 0
    bytes: int = 0
    counts: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@alone("detector", description_file)
def remember(
    detector: DetectorLike,
    faceset: FaceSetLike | None = None,
    *,
    faces: int = 1000,
    vectors: bool = False,
    forget: bool = False,
    seed: int = 0,
) -> RememberResult:
    """Copy some faces of ``faceset`` into the detector's folder, in place of those it kept before.

    ``faces``: at most that many of the split it was fitted on, to learn from again, and as many of *validation*, to
    measure on; never of *test*. :func:`facetell.detector.replay_buffer.rows_to_keep` chooses them. They are whole pictures of
    persons, and travel with the detector wherever it goes: that is why a detector has none unless it is asked for.
    ``vectors``: of a detector with experts (see :func:`facetell.adapt`), keep only the numbers that these read of each face,
    and no picture. ``forget`` deletes the replay buffer instead.

    Raises UsageError without a face set, for too few faces, or for ``vectors`` of a detector without experts; DataError for a
    face set without these splits; BundleError for a damaged detector.
    """
    path = bundle_path(detector)
    description = read_bundle(path)
    if forget:
        if faceset is not None:
            raise UsageError(
                "to forget, no face set is needed", hint=f"facetell remember {shlex.quote(str(path))} --forget"
            )
        update_description(path, lambda stored: stored.pop("replay", None) and None)
        return RememberResult(str(path))
    if faceset is None:
        raise UsageError(
            "there is nothing to remember",
            hint=f"facetell remember {shlex.quote(str(path))} FACESET, that it was fitted on",
        )
    if faces < LEAST:
        raise UsageError(f"a replay buffer of {faces} faces says too little", hint=f"at least {LEAST}")
    known = open_or_prepare(faceset)
    split = description["data"].get("split", "train")
    for name in (split, "validation"):
        check_split(known, name, "remember")
    rows = {
        kept: rows_to_keep(known, name, faces, seed) for name, kept in ((split, "train"), ("validation", "validation"))
    }
    if vectors:
        found = _read(path, known, rows).write(path)
    else:
        parts = [Part(known, mine, kept) for kept, mine in rows.items()]
        found = write_replay_buffer(path, parts, {"seed": seed, "crop": known.info.get("crop")})
    update_description(path, lambda stored: stored.update(replay=found))
    warning = f"{known.path.name} is not the face set it was fitted on: what is kept safe is how it does on this one"
    fitted_on = description["data"].get("fingerprint")
    found = {name: found[name] for name in ("fingerprint", "faces", "bytes", "counts")}
    return RememberResult(str(path), **found, warnings=() if fitted_on == known.fingerprint else (warning,))


def _read(path: Path, known: FaceSet, rows: dict[str, NDArray[np.int64]]) -> ReplayVectors:
    """What the detector's experts read of rows of a face set."""
    loaded = Detector.load(path, "cpu", runtime="torch")
    if not isinstance(loaded.runtime, ReadsForExperts):
        raise UsageError("the detector's runtime cannot read vectors", hint="keep pictures, without --vectors")
    logits, vectors = list[NDArray[np.float32]](), list[NDArray[np.float32]]()
    for mine in rows.values():
        for _, pictures in known.pick(mine, BATCH):
            crops = np.stack([decode_resized(picture, loaded.size) for picture in pictures])
            for found, read in zip((logits, vectors), loaded.runtime.read_for_experts(crops), strict=True):
                found.append(read)
    salt = loaded.lineage.parts[0].salt
    return vectors_of_rows(known, rows, np.concatenate(vectors), np.concatenate(logits), salt)
