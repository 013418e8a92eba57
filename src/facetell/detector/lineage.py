"""Where a detector comes from, and which faces it has learned from: asked before anything is measured on faces.

A detector carries ``lineage.safetensors``: hashes of the pictures and of the group names that it learned from at any step
(fit, adapt, and those of a detector that it began with), and of the pictures that chose its epoch, calibration and
thresholds. No picture, path or name is in it. A hash is 8 bytes of BLAKE2b: enough that among 500,000 learned and as many
asked none is equal by chance (1 in 10⁸), and 4 MB. It is salted with the weights of the first step, so that no table made
once tells what all detectors learned from, nor two detectors show that they share a person. It cannot hide more: whoever
holds a picture, or guesses a group's name and source, can ask as the guards here do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from facetell.errors import BundleError, UsageError

if TYPE_CHECKING:
    from facetell.faceset.table import FaceSet

__all__ = ["LINEAGE", "SALT", "Lineage", "Seen", "hashed", "history_of"]

LINEAGE = "lineage.safetensors"
SALT = 16
"""Bytes, as much as BLAKE2b takes."""
_KINDS = ("learned", "groups", "chosen")

Hashes = NDArray[np.uint64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Seen:
    """Which faces (N,) of a split a detector knows.

    ``learned``: it learned from the picture, or from another of the same group in this face set. ``namesakes``: it did
    not, but from a group of the same name and source, so perhaps of the same person. ``chosen``: the picture, or another
    of the same group, chose its epoch, calibration or thresholds.
    """

    learned: Mask
    namesakes: Mask
    chosen: Mask


@dataclass(frozen=True)
class _Part:
    """Sorted hashes under one salt: of pictures learned from, of their groups, of pictures that chose."""

    salt: bytes
    learned: Hashes
    groups: Hashes
    chosen: Hashes

    def merged(self, other: _Part) -> _Part:
        """The hashes of both, which have one salt."""
        return _Part(self.salt, *(np.union1d(getattr(self, kind), getattr(other, kind)) for kind in _KINDS))


@dataclass(frozen=True)
class Lineage:
    """All that a detector has learned from. One part, or several where detectors of different origin were joined."""

    parts: tuple[_Part, ...] = ()

    @classmethod
    def new(cls, weights: str) -> Lineage:
        """The lineage of a detector that has learned nothing before; ``weights``: SHA-256 of its weights."""
        none = np.zeros(0, np.uint64)
        return cls((_Part(bytes.fromhex(weights)[:SALT], none, none, none),))

    def with_learned(self, faces: FaceSet, rows: NDArray[np.int64]) -> Lineage:
        """The same, having also learned from these ``rows`` of a face set, counted over all its splits."""
        return self._with(faces, rows, ("learned", "groups"))

    def with_chosen(self, faces: FaceSet, rows: NDArray[np.int64]) -> Lineage:
        """The same, its epoch, calibration or a threshold having been chosen on these ``rows``."""
        return self._with(faces, rows, ("chosen",))

    def joined(self, other: Lineage) -> Lineage:
        """The lineage of a detector made of two. What is learned later is its own, and goes on where this one ends."""
        parts = {part.salt: part for part in self.parts}
        for part in other.parts:
            parts[part.salt] = part.merged(parts.get(part.salt, part))
        return Lineage(tuple(parts.values()))

    def _with(self, faces: FaceSet, rows: NDArray[np.int64], kinds: Iterable[str]) -> Lineage:
        own = self.parts[0]
        table = faces.columns(["sha256", "source", "group"]).take(rows)
        more: Any = {kind: np.union1d(getattr(own, kind), hashed(own.salt, kind, table)) for kind in kinds}
        return Lineage((replace(own, **more), *self.parts[1:]))

    def with_hashes(self, learned: Hashes, groups: Hashes, chosen: Hashes) -> Lineage:
        """The same, having also learned from pictures and groups, and been chosen on pictures, whose hashes are its own."""
        own = self.parts[0]
        more = own.merged(_Part(own.salt, *(np.unique(each) for each in (learned, groups, chosen))))
        return Lineage((more, *self.parts[1:]))

    def seen(self, faces: FaceSet, split: str) -> Seen:
        """Which faces of a split it has learned from or was chosen on."""
        table = faces.columns(["sha256", "source", "group"])
        marks = {kind: np.zeros(len(table), bool) for kind in _KINDS}
        for part in self.parts:
            for kind, mark in marks.items():
                mark |= np.isin(hashed(part.salt, kind, table), getattr(part, kind))
        codes = table["group"].dictionary_encode().combine_chunks().indices.to_numpy()
        learned, chosen = (
            np.bincount(codes, marks[kind], int(codes.max(initial=-1)) + 1)[codes] > 0 for kind in ("learned", "chosen")
        )
        mine = slice(faces.rows(split).start, faces.rows(split).stop)
        return Seen(learned[mine], (marks["groups"] & ~learned)[mine], chosen[mine])

    def unseen(self, faces: FaceSet, split: str) -> tuple[Mask, list[str]]:
        """Return which faces (N,) of a split may be measured on, and what to say of the others.

        Raises ``UsageError`` where half of them or more were learned from.
        """
        found = self.seen(faces, split)
        count, n = int(found.learned.sum()), found.learned.size
        of = f"of {n:,} faces of the split '{split}' of {faces.path.name}"
        if count and 2 * count >= n:
            raise UsageError(
                f"the detector has learned from {count:,} {of}, or from others of their groups: it is too sure of them",
                hint="take faces that it has not learned from: another split, or another face set",
            )
        said = [f"{count:,} {of} are left out: the detector has learned from them or their groups"] if count else []
        namesakes = int(found.namesakes.sum())
        if namesakes:
            said.append(
                f"{namesakes:,} {of} are of groups that are named like some it has learned from: if they are the same "
                "persons or videos, the numbers are too good"
            )
        return ~found.learned, said

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What ``lineage.safetensors`` holds."""
        found: dict[str, NDArray[Any]] = {}
        for number, part in enumerate(self.parts):
            found[f"{number}.salt"] = np.frombuffer(part.salt, np.uint8)
            found |= {f"{number}.{kind}": getattr(part, kind) for kind in _KINDS}
        return found

    @classmethod
    def read(cls, file: Path) -> Lineage:
        """The lineage that a file holds whose hash was checked. Raises ``BundleError`` for a damaged one."""
        try:
            stored = load_file(file)
        except (OSError, SafetensorError, ValueError) as error:
            raise BundleError(f"{file} cannot be read: {error}") from error
        count = len(stored) // (1 + len(_KINDS))
        wanted: dict[str, Any] = {f"{number}.{kind}": np.uint64 for number in range(count) for kind in _KINDS}
        wanted |= {f"{number}.salt": np.uint8 for number in range(count)}
        if not count or {name: (array.dtype, array.ndim) for name, array in stored.items()} != {
            name: (np.dtype(kind), 1) for name, kind in wanted.items()
        }:
            raise BundleError(f"{file} is damaged: it does not hold what a lineage does")
        parts = []
        for number in range(count):
            salt, *hashes = (stored[f"{number}.{kind}"] for kind in ("salt", *_KINDS))
            if len(salt) != SALT or any(bool((each[1:] <= each[:-1]).any()) for each in hashes):
                raise BundleError(f"{file} is damaged: its hashes are not in order")
            parts.append(_Part(salt.tobytes(), *hashes))
        return cls(tuple(parts))


def hashed(salt: bytes, kind: str, table: Any) -> Hashes:
    """Hashes (N,) of the groups of a table's rows (``kind``: ``groups``), or of their pictures."""
    if kind == "groups":
        pairs = zip(table["source"].to_pylist(), table["group"].to_pylist(), strict=True)
        items = [f"{source}\0{group}" for source, group in pairs]
    else:
        items = table["sha256"].to_pylist()
    person = b"group" if kind == "groups" else b"picture"
    digests = (hashlib.blake2b(item.encode(), digest_size=8, salt=salt, person=person).digest() for item in items)
    return np.frombuffer(b"".join(digests), "<u8")


def history_of(description: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The events of a detector's life, the fit first; an adapted one stores them, of a fitted one it is the only one."""
    stored = description.get("lineage", {}).get("history")
    if stored:
        return list(stored)
    data = description["data"]
    return [
        {
            "what": "fit",
            "facetell": description["versions"].get("facetell"),
            "seed": description["seed"],
            "method": description["method"],
            "start": description.get("lineage", {}).get("start"),
            "data": {key: data.get(key) for key in ("name", "fingerprint", "split", "shots", "images", "sources")},
        }
    ]
