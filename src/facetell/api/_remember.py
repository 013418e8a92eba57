"""``remember``: give a detector a replay buffer, so that learning a new kind does not cost the old ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from facetell.detector.bundle import read_bundle, update_description
from facetell.detector.places import DetectorLike, bundle_path, description_file
from facetell.detector.replay_buffer import rows_to_keep, write_replay_buffer
from facetell.errors import UsageError
from facetell.faceset.join import Part
from facetell.faceset.samples import check_split
from facetell.faceset.table import FaceSetLike
from facetell.files import alone
from facetell.ingest.prepare import open_or_prepare

__all__ = ["RememberResult", "remember"]

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
    forget: bool = False,
    seed: int = 0,
) -> RememberResult:
    """Copy some faces of ``faceset`` into the detector's folder, in place of those it kept before.

    ``faces``: at most that many of the split it was fitted on, to learn from again, and as many of *validation*, to
    measure on; never of *test*. :func:`facetell.detector.replay_buffer.rows_to_keep` chooses them. They are whole pictures of
    persons, and travel with the detector wherever it goes: that is why a detector has none unless it is asked for.
    ``forget`` deletes the replay buffer instead.

    Raises UsageError without a face set, or for too few faces; DataError for a face set without these splits; BundleError
    for a damaged detector.
    """
    path = bundle_path(detector)
    description = read_bundle(path)[0]
    if forget:
        if faceset is not None:
            raise UsageError("to forget, no face set is needed", hint=f"facetell remember {path} --forget")
        update_description(path, lambda stored: stored.pop("replay", None) and None)
        return RememberResult(str(path))
    if faceset is None:
        raise UsageError(
            "there is nothing to remember", hint=f"facetell remember {path} FACESET, that it was fitted on"
        )
    if faces < LEAST:
        raise UsageError(f"a replay buffer of {faces} faces says too little", hint=f"at least {LEAST}")
    known = open_or_prepare(faceset)
    split = description["data"].get("split", "train")
    for name in (split, "validation"):
        check_split(known, name, "remember")
    parts = [
        Part(known, rows_to_keep(known, name, faces, seed), kept)
        for name, kept in ((split, "train"), ("validation", "validation"))
    ]
    found = write_replay_buffer(path, parts, {"seed": seed, "crop": known.info.get("crop")})
    update_description(path, lambda stored: stored.update(replay=found))
    warning = f"{known.path.name} is not the face set it was fitted on: what is kept safe is how it does on this one"
    fitted_on = description["data"].get("fingerprint")
    found = {name: value for name, value in found.items() if name != "folder"}
    return RememberResult(str(path), **found, warnings=() if fitted_on == known.fingerprint else (warning,))
