"""Pictures to a face set, in two passes: look at every file, check the whole, then write.

The first pass keeps some hundred bytes a row (hash, size, path, group); pictures themselves are only ever in memory a
few at a time. Everything is written into a folder beside the target that is renamed at the very end: whatever happens,
there is a whole face set or none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from facetell.data import writer
from facetell.data.assemble import assemble
from facetell.data.cache import cache_dir
from facetell.data.faceset import INFO_FILE, FaceSet
from facetell.data.ready import look_at_all
from facetell.data.sources import find_rows
from facetell.data.splits import SPLITS
from facetell.errors import DataError, UsageError, near_miss

__all__ = ["open_or_prepare", "prepare"]

Progress = Callable[[int, int], None]


def prepare(
    source: Path,
    out: Path,
    *,
    seed: int = 0,
    subfolders: str = "group",
    split: str | None = None,
    rows_per_shard: int = 4096,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> FaceSet:
    """Make a face set at ``out`` of the face crops in ``source`` (a folder or an index, see `find_rows`).

    Every file is read and decoded once. Files that cannot be used are listed in ``skipped.csv`` with their reason; of
    byte-identical pictures with one label the first is kept. Rows without a split get one (`splits.assign`); when the
    source names a train split and no validation split, validation is taken out of train.

    Args:
        seed: decides the made splits.
        subfolders: what a sub-folder of a label folder is, ``group`` or ``source``.
        split: put the rows without a split here instead of making splits (for a set that is only evaluated).
        rows_per_shard: most rows in one Parquet file.
        progress: called with (steps done, steps in all) after each file; every file is two steps, looked at and
            written.
        overwrite: replace another face set at ``out``.

    Returns:
        The face set; ``created`` is False if ``out`` was this very face set already, which is then left alone.

    Raises:
        DataError: nothing usable, a label without pictures, ``out`` is something else, the disk is full.
        LeakError: identical pictures under two labels or in two splits, or a group in two splits; names them.
        UsageError: ``out`` and ``source`` lie inside each other, or an unknown split.
    """
    if split is not None and split not in SPLITS:
        raise UsageError(f"unknown split '{split}'{near_miss(split, SPLITS)}", hint=f"splits are {', '.join(SPLITS)}")
    _check_places(source, out)
    existing = writer.existing_faceset(out, overwrite=overwrite)
    rows = find_rows(source, subfolders=subfolders)
    steps = 2 * len(rows)
    crops = look_at_all(rows, (lambda done: progress(done, steps)) if progress else None)

    def on_written(done: int, total: int) -> None:
        if progress:
            progress(steps if done == total else len(rows) + done, steps)

    return assemble(
        source, out, rows, crops, seed=seed, split=split, rows_per_shard=rows_per_shard, overwrite=overwrite,
        existing=existing, info={}, on_written=on_written,
    )  # fmt: skip


def open_or_prepare(
    source: Path,
    *,
    seed: int = 0,
    subfolders: str = "group",
    split: str | None = None,
    progress: Progress | None = None,
) -> FaceSet:
    """Open ``source`` if it is a face set, else prepare it in the cache folder, or find it there from the last time.

    A prepared source is recognised by the path, size and time of change of each of its files and by the arguments, so
    that finding it again does not read the pictures. Arguments and errors are those of `prepare`.
    """
    if (source / INFO_FILE).is_file():
        return FaceSet.open(source)
    key = hashlib.sha256(repr((str(source.resolve()), seed, subfolders, split)).encode())
    rows = find_rows(source, subfolders=subfolders)
    for row in range(len(rows)):
        status = rows.full_path(row).stat()
        said = (int(rows.labels[row]), rows.group_name(int(rows.groups[row])), rows.source_names[rows.sources[row]])
        stamp = (rows.path(row), status.st_size, status.st_mtime_ns, int(rows.splits[row]))
        key.update(repr((*stamp, *said)).encode())
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", source.resolve().name)[:40]
    out = cache_dir() / "facesets" / f"{name}-{key.hexdigest()[:24]}"
    if (out / INFO_FILE).is_file():
        try:
            return FaceSet.open(out)
        except DataError:  # damaged: make it again
            pass
    return prepare(source, out, seed=seed, subfolders=subfolders, split=split, progress=progress, overwrite=True)


def _check_places(source: Path, out: Path) -> None:
    inside, outside = out.resolve(), source.resolve()
    if inside == outside or (source.is_dir() and outside in inside.parents) or inside in outside.parents:
        raise UsageError(f"{out} and {source} lie inside each other", hint="put the face set beside the pictures")
