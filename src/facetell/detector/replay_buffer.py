"""The replay buffer of a detector: a small face set in its folder, or vectors, which its description knows by fingerprint."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facetell.detector.description import REPLAY
from facetell.detector.replay_vectors import ReplayVectors, read_replay_vectors
from facetell.errors import BundleError, DataError

if TYPE_CHECKING:
    from facetell.faceset.join import Part
    from facetell.faceset.table import FaceSet

__all__ = ["ADAPTED", "learned_by_adapt", "open_replay_buffer", "rows_to_keep", "write_replay_buffer"]

ADAPTED = "adapted/"
"""Begins the names of groups that came by ``adapt``, which learned from all their faces, those of *validation* too."""


def open_replay_buffer(path: Path, description: dict[str, Any]) -> FaceSet | ReplayVectors | None:
    """The replay buffer of the detector at ``path``, pictures or vectors, or None where it keeps none.

    Raises ``BundleError`` for one that is missing or is not the one the detector was given.
    """
    from facetell.faceset.table import FaceSet

    listed = description.get("replay")
    if listed is None:
        return None
    quoted = shlex.quote(str(path))
    again = f"give it again: facetell remember {quoted} FACESET; or remove it: facetell remember {quoted} --forget"
    if isinstance(listed, dict) and "vectors" in listed:
        return read_replay_vectors(path, listed, again)
    folder = str(listed.get("folder", REPLAY)) if isinstance(listed, dict) else REPLAY
    try:
        faces = FaceSet.open(path / Path(folder).name)
    except DataError as error:
        raise BundleError(f"{path}: its replay buffer cannot be used: {error.message}", hint=again) from None
    if not isinstance(listed, dict) or faces.fingerprint != listed.get("fingerprint"):
        raise BundleError(f"{path}: its replay buffer is not the one it was given", hint=again)
    return faces


def learned_by_adapt(faces: FaceSet, split: str) -> NDArray[np.bool_]:
    """Which faces (N,) of a split an ``adapt`` learned from."""
    import pyarrow.compute as pc

    return np.asarray(pc.starts_with(faces.columns(["group"], split)["group"], ADAPTED))


def write_replay_buffer(path: Path, parts: Sequence[Part], info: dict[str, Any]) -> dict[str, Any]:
    """Write a face set of ``parts`` into the folder of a detector, and return what its description is to say of it.

    It gets a name of its own, by what is in it: the one that the description names is there, as it was, until the
    description names the new one.
    """
    from facetell.faceset.join import join

    key = hashlib.sha256()
    for part in parts:
        key.update(repr((part.faces.fingerprint, part.split, part.prefix)).encode() + part.rows.tobytes())
    folder = f"{REPLAY}-{key.hexdigest()[:16]}"
    faces = join(path / folder, parts, info)
    return {
        "folder": folder,
        "fingerprint": faces.fingerprint,
        "faces": len(faces),
        "bytes": sum(int(shard["bytes"]) for shard in faces.info["shards"]),
        "counts": faces.info["counts"],
    }


def rows_to_keep(faces: FaceSet, split: str, most: int, seed: int) -> NDArray[np.int64]:
    """Rows of a split for a replay buffer, at most ``most``: half real and half fake, of every source equally many.

    What a label or source lacks, the others give. A group gives a second face only after every group of its source has
    given one. Drawn by ``seed``; within a source, the draw for a smaller number is part of that for a larger one.
    """
    table = faces.columns(["label", "source", "group"], split)
    labels = table["label"].to_numpy()
    sources = table["source"].combine_chunks().dictionary_encode().indices.to_numpy()
    groups = table["group"].combine_chunks().dictionary_encode().indices.to_numpy()
    rng = np.random.default_rng(seed)
    walks: dict[int, list[NDArray[np.int64]]] = {0: [], 1: []}
    for label, cells in walks.items():
        for source in np.unique(sources[labels == label]):
            members = rng.permutation(np.flatnonzero((labels == label) & (sources == source)))
            cells.append(members[np.argsort(_turns(groups[members]), kind="stable")])
    counts = _shared([sum(map(len, cells)) for cells in walks.values()], most)
    chosen = [
        walk[:count]
        for cells, number in zip(walks.values(), counts, strict=True)
        for walk, count in zip(cells, _shared([len(walk) for walk in cells], number), strict=True)
    ]
    return np.sort(np.concatenate(chosen)) + faces.rows(split).start


def _turns(groups: NDArray[np.int32]) -> NDArray[np.int64]:
    """For each row, how many of its group come before it."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    turns = np.empty(len(groups), np.int64)
    turns[order] = np.arange(len(groups)) - np.repeat(starts, np.diff([*starts, len(groups)]))
    return turns


def _shared(sizes: list[int], most: int) -> list[int]:
    """Parts of ``most`` as equal as ``sizes`` allow."""
    counts = [0] * len(sizes)
    left = most
    for place, index in enumerate(sorted(range(len(sizes)), key=lambda i: sizes[i])):
        counts[index] = min(sizes[index], left // (len(sizes) - place))
        left -= counts[index]
    return counts
