"""A replay buffer without pictures: of each old face the numbers that experts read of it, and no face of anyone.

A detector of the method `experts` needs of an old face only the logit of its oldest network and the statistics of its second
backbone. They are kept as int8, of each part (the faces that came together) by its own centre and spread: 600 faces of 11,000
numbers are 6.6 MB. Groups and pictures are there as salted hashes, see `lineage`, so that a face that comes again is known.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from facetell.detector.description import REPLAY
from facetell.detector.lineage import SALT, hashed
from facetell.errors import BundleError
from facetell.files import whole_file
from facetell.labels import LABELS

if TYPE_CHECKING:
    from facetell.faceset.table import FaceSet

__all__ = ["SPLITS", "ReplayVectors", "quantised", "read_replay_vectors", "vectors_of_rows"]

SPLITS = ("train", "validation")
MOST_BYTES = 2**31
"""Larger files are none of ours: 2,000 faces of 11,000 numbers are 22 MB."""
STEPS = 127
CLIP = 5.0
"""Standard deviations at which a feature is cut off, as experts do it (`facetell.networks.mixture.CLIP`)."""

Floats = NDArray[np.float32]
_KINDS: dict[str, tuple[Any, int]] = {
    "codes": (np.int8, 2), "centre": (np.float32, 2), "spread": (np.float32, 2), "part": (np.int32, 1),
    "split": (np.uint8, 1), "labels": (np.uint8, 1), "sources": (np.int32, 1), "adapted": (np.uint8, 1),
    "groups": (np.uint64, 1), "pictures": (np.uint64, 1), "logits": (np.float32, 1), "salt": (np.uint8, 1),
}  # fmt: skip
"""Tensors of the file: type and number of axes."""


@dataclass(frozen=True)
class ReplayVectors:
    """N old faces.

    ``codes`` (N, D) times ``spread`` plus ``centre`` (P, D), each of the face's ``part`` (N,), are its statistics. ``logits``
    (N,) are of the oldest network. ``split`` (N,) counts `SPLITS`; ``sources`` (N,) ``names``; ``adapted`` (N,) says that an
    ``adapt`` learned from the face. ``groups`` and ``pictures`` (N,) are hashes under ``salt``.
    """

    codes: NDArray[np.int8]
    centre: Floats
    spread: Floats
    part: NDArray[np.int32]
    split: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    sources: NDArray[np.int32]
    adapted: NDArray[np.uint8]
    groups: NDArray[np.uint64]
    pictures: NDArray[np.uint64]
    logits: Floats
    salt: NDArray[np.uint8]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def verify(self) -> None:
        """Nothing is left to check: whoever opened it has."""

    def rows(self, split: str) -> NDArray[np.int64]:
        """Rows of a split of `SPLITS`."""
        return np.flatnonzero(self.split == SPLITS.index(split))

    def vectors(self, rows: NDArray[np.int64]) -> Floats:
        """The statistics (M, D) of rows (M,)."""
        part = self.part[rows]
        found: Floats = self.codes[rows] * self.spread[part] + self.centre[part]
        return found

    def hashes_of(self, faces: FaceSet) -> NDArray[np.uint64]:
        """Hashes (M,) of the pictures of a face set, under the salt."""
        return hashed(self.salt.tobytes(), "pictures", faces.columns(["sha256"]))

    def labels_of(self, faces: FaceSet) -> NDArray[np.int64]:
        """The label (M,) under which each face of a face set is kept; -1: it is not."""
        asked = self.hashes_of(faces)
        order = np.argsort(self.pictures, kind="stable")
        place = np.minimum(np.searchsorted(self.pictures[order], asked), len(self) - 1)
        found = order[place]
        return np.where(self.pictures[found] == asked, self.labels[found].astype(np.int64), -1)

    def joined(self, other: ReplayVectors) -> ReplayVectors:
        """The faces of both, which have one salt."""
        names = tuple(dict.fromkeys((*self.names, *other.names)))
        codes = np.array([names.index(name) for name in other.names], np.int32)
        own = np.array([names.index(name) for name in self.names], np.int32)
        moved = replace(other, part=other.part + len(self.centre), sources=codes[other.sources])
        mine = replace(self, sources=own[self.sources])
        kinds = [kind for kind in _KINDS if kind != "salt"]
        merged: Any = {kind: np.concatenate([getattr(mine, kind), getattr(moved, kind)]) for kind in kinds}
        return replace(self, **merged, names=names)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the file into the folder of a detector, and return what its description is to say of it."""
        content = save({kind: np.ascontiguousarray(getattr(self, kind)) for kind in _KINDS})
        digest = hashlib.sha256(content).hexdigest()
        name = f"{REPLAY}-{digest[:16]}.safetensors"
        with whole_file(folder / name) as partial:
            partial.write_bytes(content)
        counts: dict[str, dict[str, dict[str, int]]] = {}
        for number, split in enumerate(SPLITS):
            for value, label in enumerate(LABELS):
                mine = self.sources[(self.split == number) & (self.labels == value)]
                found = {self.names[code]: int(count) for code, count in zip(*np.unique(mine, return_counts=True))}  # noqa: B905
                counts.setdefault(split, {})[label] = found
        return {
            "folder": name, "vectors": self.codes.shape[1], "sources": list(self.names), "fingerprint": digest,
            "faces": len(self), "bytes": len(content), "counts": counts,
        }  # fmt: skip


def quantised(vectors: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
    """Codes (N, D) of vectors (N, D), and the centre and step (D,) by which they are undone, cut off at `CLIP`."""
    centre, spread = vectors.mean(axis=0), vectors.std(axis=0)
    step = np.where(spread > 0, spread, 1) * np.float32(CLIP / STEPS)
    codes = np.rint((vectors - centre) / step).clip(-STEPS, STEPS).astype(np.int8)
    return codes, centre.astype(np.float32), step.astype(np.float32)


def vectors_of_rows(
    faces: FaceSet,
    rows: dict[str, NDArray[np.int64]],
    vectors: Floats,
    logits: Floats,
    salt: bytes,
    *,
    adapted: bool = False,
) -> ReplayVectors:
    """One part: ``rows`` of a face set by the split they are kept as, with their statistics and logits in that order."""
    every = np.concatenate(list(rows.values()))
    table = faces.columns(["sha256", "source", "group", "label"]).take(every)
    names, sources = np.unique(np.array(table["source"].to_pylist(), dtype=str), return_inverse=True)
    codes, centre, spread = quantised(vectors)
    return ReplayVectors(
        codes, centre[None], spread[None],
        np.zeros(len(every), np.int32),
        np.repeat([SPLITS.index(name) for name in rows], [len(mine) for mine in rows.values()]).astype(np.uint8),
        table["label"].to_numpy().astype(np.uint8),
        sources.astype(np.int32),
        np.full(len(every), adapted, np.uint8),
        hashed(salt, "groups", table), hashed(salt, "pictures", table),
        logits.astype(np.float32),
        np.frombuffer(salt, np.uint8),
        tuple(names.tolist()),
    )  # fmt: skip


def read_replay_vectors(path: Path, listed: dict[str, Any], again: str) -> ReplayVectors:
    """The vectors that a detector's description lists as ``listed``.

    Raises ``BundleError``, with the hint ``again``, for a file that is missing, damaged or not the one it was given.
    """
    file = path / Path(str(listed.get("folder"))).name
    try:
        if file.stat().st_size > MOST_BYTES:
            raise BundleError(f"{file} is larger than any replay buffer", hint=again)
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != listed.get("fingerprint"):
            raise BundleError(f"{path}: its replay buffer is not the one it was given", hint=again)
        tensors = load(content)
    except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
        raise BundleError(f"{path}: its replay buffer cannot be used: {error}", hint=again) from None
    names = listed.get("sources")
    wrong = _wrong(tensors, names)
    if wrong:
        raise BundleError(f"{path}: its replay buffer is damaged: {wrong}", hint=again)
    assert isinstance(names, list)
    return ReplayVectors(
        **{field.name: tensors[field.name] for field in fields(ReplayVectors)[:-1]}, names=tuple(names)
    )


def _wrong(tensors: dict[str, NDArray[Any]], names: object) -> str | None:
    """What does not fit together in a file, or None."""
    kinds = {name: (array.dtype, array.ndim) for name, array in tensors.items()}
    if kinds != {name: (np.dtype(kind), axes) for name, (kind, axes) in _KINDS.items()}:
        return "it does not hold what a replay buffer of vectors does"
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return "its sources have no names"
    n, length = tensors["codes"].shape
    of_faces = [name for name, (_, axes) in _KINDS.items() if axes == 1 and name != "salt"]
    parts = len(tensors["centre"])
    if any(len(tensors[name]) != n for name in of_faces) or not n:
        return "its tensors are of different numbers of faces"
    if tensors["centre"].shape != tensors["spread"].shape or tensors["centre"].shape[1] != length:
        return "its tensors are of different numbers of features"
    if len(tensors["salt"]) != SALT:
        return "its salt is of the wrong length"
    if not all(bool(np.isfinite(tensors[name]).all()) for name in ("centre", "spread", "logits")):
        return "its numbers are not finite"
    limits = {"part": parts, "split": len(SPLITS), "labels": 2, "adapted": 2, "sources": len(names)}
    if any(tensors[name].min() < 0 or tensors[name].max() >= limit for name, limit in limits.items()):
        return "its numbers are out of range"
    return None
