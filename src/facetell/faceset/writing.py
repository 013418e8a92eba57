"""Writes a face set: shards, ``skipped.csv``, ``faceset.json``, all in a folder beside that is renamed at the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from facetell.errors import DataError
from facetell.faceset.rows import Skipped
from facetell.faceset.shard import footer_hash
from facetell.faceset.splits import SPLITS
from facetell.faceset.table import (
    FINGERPRINTED,
    FORMAT,
    INFO_FILE,
    SCHEMA,
    SKIPPED_FILE,
    VERSION,
    FaceSet,
    fingerprint,
)
from facetell.files import sha256_of, whole_folder, write_csv, write_error
from facetell.labels import LABELS

__all__ = [
    "ROW_GROUP_BYTES",
    "ROW_GROUP_ROWS",
    "SHARD_BYTES",
    "Slices",
    "another_faceset",
    "described",
    "existing_faceset",
    "write_faceset",
]

ROW_GROUP_ROWS = 64
"""Most rows in a row group, the unit that is read at once."""

ROW_GROUP_BYTES = 16 * 2**20
"""A row group ends once its pictures have this many bytes."""

SHARD_BYTES = 512 * 2**20
"""A shard ends once its pictures have this many bytes."""

_OWN_FILES = frozenset({INFO_FILE, SKIPPED_FILE, "contact_sheet.png"})


def existing_faceset(out: Path, *, overwrite: bool) -> FaceSet | None:
    """The face set at ``out``; None for nothing, an empty folder, or a damaged face set that may be overwritten.

    Raises:
        DataError: not a face set, or one with other files in it (neither is ever replaced), or a damaged face set.
    """
    if not out.exists() and not out.is_symlink():
        return None
    if not out.is_dir():
        raise DataError(f"{out} exists and is not a folder", hint="give another place for the face set")
    names = sorted(entry.name for entry in out.iterdir())
    if not names:
        return None
    if INFO_FILE not in names:
        raise DataError(f"{out} is a folder that is not a face set (it holds '{names[0]}')", hint="give a new folder")
    if overwrite:
        for name in names:
            if name not in _OWN_FILES and not name.endswith(".parquet"):
                raise DataError(f"{out} also holds '{name}', which is no part of a face set", hint="move it away first")
    try:
        return FaceSet.open(out)
    except DataError:
        if overwrite:
            return None
        raise


def another_faceset(out: Path) -> DataError:
    """Why ``out`` is not replaced: it holds a face set made otherwise."""
    return DataError(f"{out} holds another face set", hint="give another folder, or --overwrite to replace it")


@dataclass(frozen=True)
class Slices:
    """The metadata of a face set in its order, made some rows at a time.

    ``splits``: rows of each split, in the order of `SPLITS`; ``read(start, stop)``: those rows' columns, without the
    pictures; columns of `SCHEMA` that it lacks become null.
    """

    splits: dict[str, int]
    read: Callable[[int, int], pa.Table]


def described(
    rows: NDArray[np.int64], digests: NDArray[np.uint8], read: Callable[[NDArray[np.int64]], pa.Table]
) -> dict[str, Any]:
    """``rows``, ``fingerprint``, ``splits`` and ``counts`` (split → label → source → rows), for ``faceset.json``.

    Args:
        rows: (M,) the rows of the face set.
        digests: (N, 32) sha256 of pictures, by row.
        read: metadata of some rows; asked for some thousand at a time.
    """
    order = rows[np.lexsort(digests[rows].view(">u8").T[::-1])]
    numbers: Counter[tuple[int, int, str]] = Counter()

    def by_hash() -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(order), 4096):
            part = read(order[start : start + 4096]).select(FINGERPRINTED)
            for row in zip(*(column.to_pylist() for column in part.columns), strict=True):
                _, label, _, source, split = row
                numbers[SPLITS.index(split), label, source] += 1
                yield row

    whole = fingerprint(by_hash())
    counts: dict[str, dict[str, dict[str, int]]] = {}
    splits: dict[str, int] = {}
    for (code, label, source), number in sorted(numbers.items()):
        counts.setdefault(SPLITS[code], {}).setdefault(LABELS[label], {})[source] = number
        splits[SPLITS[code]] = splits.get(SPLITS[code], 0) + number
    return {"rows": len(order), "fingerprint": whole, "splits": splits, "counts": counts}


def write_faceset(
    out: Path,
    slices: Slices,
    images: Iterator[bytes],
    info: dict[str, Any] | Callable[[], dict[str, Any]],
    skipped: list[Skipped],
    rows_per_shard: int,
) -> FaceSet:
    """Write a face set to ``out``, replacing the face set there, and open it.

    Args:
        out: `existing_faceset` has looked at it.
        slices: the metadata; rows are asked for once their pictures were taken.
        images: the pictures' bytes in the same order.
        info: goes into ``faceset.json``, completed with format, version and shards; a function is called once all
            pictures were taken, for those who only know then.
        skipped: goes into ``skipped.csv``.
        rows_per_shard: most rows in one Parquet file.

    Raises:
        DataError: the disk is full, or the place cannot be written.
    """
    try:
        with whole_folder(out) as folder:
            shards = list(_write_shards(folder, slices, images, rows_per_shard))
            write_csv(
                folder / SKIPPED_FILE,
                ["path", "reason", "detail"],
                ((skip.path, skip.reason, skip.detail) for skip in skipped),
            )
            full = {"format": FORMAT, "version": VERSION, **(info() if callable(info) else info), "shards": shards}
            (folder / INFO_FILE).write_text(json.dumps(full, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except pa.ArrowException as error:
        raise write_error(out, error) from None
    return FaceSet.open(out)


def _write_shards(
    folder: Path, slices: Slices, images: Iterator[bytes], rows_per_shard: int
) -> Iterator[dict[str, Any]]:
    start = stop = 0
    for split, rows in slices.splits.items():
        stop += rows
        number = 0
        while start < stop:
            path = folder / f"{split}-{number:05d}.parquet"
            written = _write_shard(path, slices, start, min(start + rows_per_shard, stop), images)
            yield {
                "file": path.name,
                "split": split,
                "rows": written,
                "bytes": path.stat().st_size,
                "sha256": sha256_of(path),
                "footer": footer_hash(path),
            }
            start += written
            number += 1


def _write_shard(path: Path, slices: Slices, start: int, stop: int, images: Iterator[bytes]) -> int:
    """Write rows from ``start`` until the shard is full, at most to ``stop``; returns how many."""
    at, total = start, 0
    texts = ["format", "group", "source", "split"]
    compression = {name: "NONE" if name == "image" else "ZSTD" for name in SCHEMA.names}
    compression |= {f"{name}.list.element": "ZSTD" for name in ("box", "landmarks")}
    with pq.ParquetWriter(
        path,
        SCHEMA,
        use_dictionary=texts,
        compression=compression,
        write_statistics=texts,
        write_page_checksum=True,
    ) as writer:
        while at < stop and total < SHARD_BYTES:
            batch: list[bytes] = []
            size = 0
            while len(batch) < min(ROW_GROUP_ROWS, stop - at) and size < ROW_GROUP_BYTES:
                batch.append(next(images))
                size += len(batch[-1])
            writer.write_table(_complete(slices.read(at, at + len(batch)), batch), row_group_size=len(batch))
            at += len(batch)
            total += size
    return at - start


def _complete(metadata: pa.Table, images: list[bytes]) -> pa.Table:
    columns = []
    for field in SCHEMA:
        if field.name == "image":
            columns.append(pa.array(images, pa.binary()))
        elif field.name in metadata.column_names:
            columns.append(metadata[field.name].cast(field.type))
        else:
            columns.append(pa.nulls(len(images), field.type))
    return pa.Table.from_arrays(columns, schema=SCHEMA)
