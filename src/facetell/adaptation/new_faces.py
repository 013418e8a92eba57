"""New pictures of one label each, as the face set that ``adapt`` learns from."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facetell.api._blend import blend
from facetell.errors import DataError
from facetell.faceset.decoded import cache_dir
from facetell.faceset.join import Part, join
from facetell.faceset.rows import RowBuilder
from facetell.faceset.table import INFO_FILE, FaceSet
from facetell.ingest.prepare import prepare
from facetell.ingest.sources import walk
from facetell.progress import Progress, silent

__all__ = ["new_faces", "of_label", "with_made_fakes"]

SPLIT = "finetune"
REALS = 1000
"""Reals used at most, where there are fewer fakes: they cost little and help much, and more would only take longer."""
_NAMES = ("real", "fake")


def of_label(where: Path, label: int, progress: Progress = silent) -> Part:
    """All faces of one label: a folder of which every picture, photo or video has it, or a face set.

    Of a face set, those of its split *finetune* count, else of *train*: never those that something is measured on. A
    sub-folder is a group.

    Raises DataError for a place that is not there or holds no such face.
    """
    if (where / INFO_FILE).is_file():
        faces = FaceSet.open(where)
        split = next((name for name in (SPLIT, "train") if name in faces.splits), None)
        if split is None:
            raise DataError(
                f"{where} has neither a split finetune nor train", hint="its other splits are for measuring"
            )
        rows = np.flatnonzero(faces.labels(split) == label) + faces.rows(split).start
    else:
        faces = _prepared(where, label, progress)
        rows = np.arange(len(faces))
    if not len(rows):
        raise DataError(f"{where} holds no {_NAMES[label]} face to learn from")
    return Part(faces, rows, SPLIT, prefix=f"{faces.fingerprint[:8]}/")


def with_made_fakes(reals: Part, shots: int | None, seed: int) -> dict[int, Part]:
    """Parts of both labels for ``new_faces`` from real faces alone: the fakes are blended from them, kept in the cache.

    Of ``shots`` reals a fake each.
    """
    drawn = Part(reals.faces, _drawn(reals.rows, 0, shots, seed), SPLIT, reals.prefix)
    alone = new_faces({0: drawn}, None, seed)
    out = cache_dir() / "facesets" / f"blended-{alone.fingerprint[:24]}-{seed}"
    made = blend(alone.path, out, draws=1, seed=seed, overwrite=True)
    labels, prefix = made.labels(SPLIT), f"{alone.fingerprint[:8]}/"
    first = made.rows(SPLIT).start
    return {label: Part(made, np.flatnonzero(labels == label) + first, SPLIT, prefix) for label in (0, 1)}


def new_faces(parts: Mapping[int, Part], shots: int | None, seed: int) -> FaceSet:
    """One face set of the parts by label, kept in the cache folder: at most ``shots`` fakes, and `REALS` or as many reals.

    Drawn by ``seed``.
    """
    rows = {}
    if 1 in parts:
        rows[1] = _drawn(parts[1].rows, 1, shots, seed)
    if 0 in parts:
        rows[0] = _drawn(parts[0].rows, 0, max(REALS, len(rows.get(1, ()))), seed)
    chosen = [Part(part.faces, rows[label], SPLIT, part.prefix) for label, part in parts.items()]
    key = hashlib.sha256()
    for part in chosen:
        key.update(part.faces.fingerprint.encode() + part.rows.tobytes())
    out = cache_dir() / "facesets" / f"adapt-{key.hexdigest()[:24]}"
    kept = FaceSet.open_if_whole(out)
    if kept is not None:
        return kept
    crop = next((part.faces.info.get("crop") for part in chosen), None)
    return join(out, chosen, {"seed": seed, "crop": crop})


def _drawn(rows: NDArray[np.int64], label: int, shots: int | None, seed: int) -> NDArray[np.int64]:
    """Nested: those for 25 shots are among those for 100 of the same seed."""
    drawn = np.random.default_rng([seed, label]).permutation(rows)[:shots]
    return np.sort(drawn)


def _prepared(where: Path, label: int, progress: Progress) -> FaceSet:
    """The pictures of a folder as a face set in the cache folder, found there again while no file has changed."""
    if not where.is_dir():
        what = "is a file" if where.exists() else "does not exist"
        raise DataError(f"{where} {what}", hint="give a folder of pictures, photos or videos, or a face set")
    root = where.resolve()
    builder = RowBuilder(root)
    key = hashlib.sha256()
    lines = []
    for relative in walk(root, "", builder):
        status = (root / relative).stat()
        key.update(repr((str(root), relative, status.st_size, status.st_mtime_ns, label)).encode())
        group = str(Path(relative).parent)
        lines.append([str(root / relative), _NAMES[label], "" if group == "." else group, where.name, SPLIT])
    if not lines:
        raise DataError(f"{where} holds no file", hint="give a folder of pictures, photos or videos")
    out = cache_dir() / "facesets" / f"{_NAMES[label]}-{key.hexdigest()[:24]}"
    kept = FaceSet.open_if_whole(out)
    if kept is not None:
        return kept
    out.parent.mkdir(parents=True, exist_ok=True)
    index = out.with_name(f"{out.name}.csv")
    with index.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "label", "group", "source", "split"], *lines])
    try:
        return prepare(index, out, split=SPLIT, one_label=True, overwrite=True, progress=progress)
    finally:
        index.unlink()
