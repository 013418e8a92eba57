"""Some rows of one or several face sets as a new face set."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from facetell.errors import DataError, LeakError
from facetell.faceset.splits import SPLITS
from facetell.faceset.table import SCHEMA, FaceSet
from facetell.faceset.writing import Slices, described, write_faceset
from facetell.labels import LABELS

__all__ = ["Part", "join", "join_whole", "parts_of"]

_COLUMNS = [name for name in SCHEMA.names if name != "image"]


@dataclass(frozen=True)
class Part:
    """Rows of a face set, the split they go to, and what stands before the names of their groups, or of ``some`` of them."""

    faces: FaceSet
    rows: NDArray[np.int64]
    split: str
    prefix: str = ""
    some: frozenset[str] | None = None


def join(out: Path, parts: Sequence[Part], info: dict[str, Any]) -> FaceSet:
    """Write the pictures of ``parts``, as they are, to a face set at ``out``, replacing the face set there.

    Of identical pictures the first is kept. A face set made here may be passed on, within a detector: of the folder of an
    absolute path (or of a group called by one) a hash stays. Metadata, some 300 bytes a row, are in memory; pictures are
    streamed.
    ``info`` goes into ``faceset.json``.

    Raises:
        LeakError: a picture is real in one place and fake in another; names both.
        DataError: the disk is full, or the place cannot be written.
    """
    parts = [part for split in SPLITS for part in parts if part.split == split and len(part.rows)]
    chosen, table, seen = [], [], dict[str, tuple[int, str]]()
    for part in parts:
        rows = np.unique(part.rows)
        columns = part.faces.columns(_COLUMNS).take(pa.array(rows))
        names = zip(*(columns[name].to_pylist() for name in ("sha256", "label", "path")), strict=True)
        fresh = np.array([_fresh(seen, sha, label, path) for sha, label, path in names], dtype=bool)
        chosen.append(Part(part.faces, rows[fresh], part.split))
        columns = columns.filter(pa.array(fresh))
        paths, groups = (_without_place(columns[name].to_pylist()) for name in ("path", "group"))
        if part.some is None:
            groups = pc.binary_join_element_wise(part.prefix, groups, "")
        else:
            marked = [part.prefix if name in part.some else "" for name in columns["group"].to_pylist()]
            groups = pc.binary_join_element_wise(pa.array(marked, pa.string()), groups, "")
        for name, column in (
            ("path", paths),
            ("group", groups),
            ("split", pa.array([part.split] * len(columns), pa.string())),
        ):
            columns = columns.set_column(_COLUMNS.index(name), name, column)
        table.append(columns)
    whole = pa.concat_tables(table).combine_chunks()
    digests = np.frombuffer(bytes.fromhex("".join(whole["sha256"].to_pylist())), np.uint8).reshape(-1, 32)
    full = {
        **described(np.arange(len(whole)), digests, lambda at: whole.take(pa.array(at))),
        "splits_made": {"given": len(whole), "made": 0, "carved_from_train": 0},
        "skipped": {},
        **info,
    }
    slices = Slices(full["splits"], lambda start, stop: whole.slice(start, stop - start))
    images = (image for part in chosen for _, some in part.faces.pick(part.rows, 64) for image in some)
    return write_faceset(out, slices, images, full, [], 4096)


def join_whole(out: Path, facesets: Sequence[FaceSet]) -> FaceSet:
    """Write all rows of several face sets, each in its split, to a face set at ``out``.

    A source of one name is one source, wherever it is. A group is not: names that several of the sets have get the set's
    name in front. Raises ``DataError`` where their faces were not cut alike, and as `join`.
    """
    crops = [faces.info.get("crop") for faces in facesets]
    for faces, crop in zip(facesets, crops, strict=True):
        if _cut(crop) != _cut(crops[0]):
            raise DataError(
                f"the faces of {faces.path.name} were not found and cut as those of {facesets[0].path.name}",
                hint="prepare them with the same options; a detector can know one way alone",
            )
    groups = Counter(group for faces in facesets for group in set(faces.columns(["group"])["group"].to_pylist()))
    shared = frozenset(group for group, sets in groups.items() if sets > 1)
    names = Counter(faces.path.name for faces in facesets)
    parts = []
    for faces in facesets:
        name = faces.path.name if names[faces.path.name] == 1 else f"{faces.path.name}-{faces.fingerprint[:8]}"
        parts += [Part(faces, np.array(faces.rows(split)), split, f"{name}/", shared) for split in faces.splits]
    info = {
        "crop": crops[0],
        "made": next((made for faces in facesets if (made := faces.info.get("made"))), None),
        "joined": parts_of(facesets),
    }
    return join(out, parts, info)


def parts_of(facesets: Sequence[FaceSet]) -> list[dict[str, Any]]:
    """What ``faceset.json`` of a joined face set says of those that it was made of, in their order."""
    return [{"name": faces.path.name, "fingerprint": faces.fingerprint, "rows": len(faces)} for faces in facesets]


def _cut(crop: dict[str, Any] | None) -> dict[str, Any]:
    """What of a record makes a crop look as it does."""
    return {name: crop[name] for name in ("geometry", "rule", "model_fingerprint", "jpeg")} if crop else {}


def _without_place(names: list[str]) -> pa.Array:
    """Names with a hash in place of the folder, where they are absolute paths."""
    found = (os.path.split(name) if name.startswith("/") else ("", name) for name in names)
    hashed = (f"{hashlib.sha256(place.encode()).hexdigest()[:8]}/{name}" if place else name for place, name in found)
    return pa.array(hashed, pa.string())


def _fresh(seen: dict[str, tuple[int, str]], sha: str, label: int, path: str) -> bool:
    if sha not in seen:
        seen[sha] = (label, path)
        return True
    if seen[sha][0] != label:
        raise LeakError(
            f"{path} is given as {LABELS[label]}, and the very same picture as {LABELS[1 - label]} ({seen[sha][1]})",
            hint="one of the two labels is wrong: look at the picture",
        )
    return False
