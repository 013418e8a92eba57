"""Makes a face set of files: first every file is read and checked, then the face set is written.

Only some hundred bytes per picture (hash, size, path, group) stay in memory. The face set is written to a folder beside
its place, which is renamed at the end, so that there is never an incomplete one.
"""

from __future__ import annotations

import csv
import hashlib
import re
import shutil
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from facetell.buckets import look, place
from facetell.errors import DataError, MediaError, UsageError, near_miss
from facetell.faceset.kept import kept
from facetell.faceset.on_hub import located_faceset
from facetell.faceset.rows import Rows
from facetell.faceset.splits import SPLITS
from facetell.faceset.table import INFO_FILE, SKIPPED_FILE, FaceSet, FaceSetLike
from facetell.faceset.writing import another_faceset, existing_faceset
from facetell.files import locked
from facetell.ingest.assemble import Task, assemble
from facetell.ingest.layouts import find_layout, get_layout
from facetell.ingest.ready_crops import look_at_all, readers, warn_of_photos
from facetell.ingest.sources import find_rows
from facetell.media.at_hand import at_hand
from facetell.media.cluster import check_engine
from facetell.media.kind import is_animation, kind_of
from facetell.progress import ShowProgress, callback
from facetell.settings import check_counts
from facetell.threads import ordered

if TYPE_CHECKING:
    from facetell.ingest.extract import Extraction

__all__ = ["lacks_readable", "open_or_prepare", "prepare"]

FACES = ("auto", "find", "crops")


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    subfolders: str = "group",
    split: str | None = None,
    one_label: bool = False,
    faces: str = "auto",
    layout: str | None = None,
    options: Mapping[str, str] | None = None,
    extraction: Extraction | None = None,
    workers: int | None = None,
    engine: str = "local",
    rows_per_shard: int = 4096,
    progress: ShowProgress = None,
    overwrite: bool = False,
) -> FaceSet:
    """Make a face set at ``out`` of ``source``: a folder, an index, or a data set as it is downloaded, on a disk or in a bucket
    (``s3://``, ``gs://``).

    With ``faces="crops"`` every picture is a face crop already and is kept as it is; with ``"find"`` photos and videos
    are searched for faces, which are cut out. ``"auto"`` finds faces if there is a video among the files, and takes
    pictures alone as crops. Files, frames and faces that cannot be used are listed in ``skipped.csv`` with their
    reason; of byte-identical pictures with one label the first is kept. Rows without a split get one
    (`splits.assign`); when the source names a train split and no validation split, validation is taken out of train.

    A run on photos and videos that was interrupted goes on when it is started again; until the face set stands,
    finished files lie in ``OUT.partial``.

    Args:
        seed: decides the made splits.
        subfolders: what a sub-folder of a label folder is, ``group`` or ``source``.
        split: put the rows without a split here instead of making splits (for a set that is only evaluated).
        one_label: pictures of one label alone will do (as one part of a face set that others complete).
        faces: ``auto``, ``find`` or ``crops``.
        layout: name of a data set's layout (`layouts.LAYOUTS`); None recognises it, if it is one.
        options: the layout's options.
        extraction: which frames and faces, and how they are stored; for ``find`` alone.
        workers: processes that look for faces; default one per core. The result is the same.
        engine: ``ray`` has the nodes of a cluster look for faces; ``source`` and ``out`` must lie on a disk they share. The
            result is the same. Ready crops are read here in any case.
        rows_per_shard: most rows in one Parquet file.
        progress: shown or called while files are read and faces written.
        overwrite: replace another face set at ``out``.

    Returns:
        The face set; ``created`` is False if ``out`` was this very face set already, which is then left alone.

    Raises:
        DataError: nothing usable, a label without pictures, ``out`` is something else, the disk is full.
        LeakError: identical pictures under two labels or in two splits, or a group in two splits; names them.
        UsageError: ``out`` and ``source`` lie inside each other, or an unknown split, layout or option.
    """
    check_counts(workers=workers, rows_per_shard=rows_per_shard)
    check_engine(engine)
    source, out = place(source), Path(out)
    if split is not None and split not in SPLITS:
        raise UsageError(f"unknown split '{split}'{near_miss(split, SPLITS)}", hint=f"splits are {', '.join(SPLITS)}")
    if faces not in FACES:
        raise UsageError(f"unknown choice of faces '{faces}'", hint=f"it is one of {', '.join(FACES)}")
    inside, outside = out.resolve(), source.resolve()
    if inside == outside or (source.is_dir() and outside in inside.parents) or inside in outside.parents:
        raise UsageError(f"{out} and {source} lie inside each other", hint="put the face set beside the pictures")
    rows, tell = _rows(source, subfolders, layout, options or {}), callback(progress)
    with locked(out):  # a second process waits here, and then finds the face set
        existing = existing_faceset(out, overwrite=overwrite)
        task = Task(source, out, seed, split, one_label, rows_per_shard, overwrite, existing, tell)
        if faces == "crops" or (faces == "auto" and not _has_video(rows)):
            crops = look_at_all(rows, tell)
            if faces == "auto":
                warn_of_photos(rows, crops)
            return assemble(task, rows, crops, {})
        from facetell.ingest.extract import Extraction, Plan, extract

        plan = Plan(rows, extraction or Extraction())
        key = hashlib.sha256(repr((plan.key, seed, split, rows_per_shard)).encode()).hexdigest()
        parts = out.with_name(out.name + ".partial")
        same = existing is not None and existing.info.get("media", {}).get("key") == key
        if existing is not None and same and not lacks_readable(existing, rows.root):
            shutil.rmtree(parts, ignore_errors=True)  # an earlier run may have been killed before it did this
            return existing
        if existing is not None and not overwrite:
            raise _without_some(out) if same else another_faceset(out)
        crop_rows, crops, account = extract(plan, parts, workers=workers, engine=engine, progress=tell)
        info = {"crop": plan.record, "media": {**account, "key": key}, "notes": list(rows.notes)}
        faceset = assemble(task, crop_rows, crops, info)
        shutil.rmtree(parts, ignore_errors=True)
        return faceset


def _rows(source: Path, subfolders: str, layout: str | None, options: Mapping[str, str]) -> Rows:
    """The files of a source, as its layout says or as `find_rows` finds them."""
    look(source)
    if source.is_file():
        look(source.parent)  # an index
    found = get_layout(layout) if layout else find_layout(source) if source.is_dir() else None
    if found is not None:
        return found.rows(source, **options)
    if options:
        raise UsageError(f"{source} is no data set whose layout has options", hint="see `facetell sources`")
    return find_rows(source, subfolders=subfolders)


def lacks_readable(faceset: FaceSet, root: Path) -> bool:
    """Whether a file below ``root`` that the system did not give when the face set was made can be read now."""
    if "no_access" not in faceset.info["skipped"]:
        return False
    with (faceset.path / SKIPPED_FILE).open(encoding="utf-8", newline="") as file:
        paths = [line["path"] for line in csv.DictReader(file) if line["reason"] == "no_access"]
    for path in paths:
        with suppress(OSError), at_hand(root / path) as here, here.open("rb") as file:
            while file.read(2**20):
                pass
            return True
    return False


def _without_some(out: Path) -> DataError:
    return DataError(
        f"{out} lacks files that could not be read when it was made, and can be now",
        hint="--overwrite makes it anew with them",
    )


def _has_video(rows: Rows) -> bool:
    """Whether one of the files is a video, told by its first bytes; animations are refused among face crops."""

    def is_video(row: int) -> bool:
        with suppress(MediaError):
            path = rows.full_path(row)
            return kind_of(path) == "video" and not is_animation(path)
        return False

    with closing(ordered(is_video, range(len(rows)), readers(rows.root))) as found:
        return any(found)


def open_or_prepare(
    source: FaceSetLike,
    *,
    seed: int = 0,
    subfolders: str = "group",
    split: str | None = None,
    progress: ShowProgress = None,
) -> FaceSet:
    """Open ``source`` if it is a face set that is not open yet, else prepare it in the cache folder, or find it there from
    the last time.

    A prepared source is recognised by the path, size and times of change of each of its files and by the arguments, so
    that finding it again does not read the pictures. Arguments and errors are those of `prepare`.
    """
    if isinstance(source, FaceSet):
        return source
    source = located_faceset(source)
    if (source / INFO_FILE).is_file():
        return FaceSet.open(source)
    key = hashlib.sha256(repr((str(source.resolve()), seed, subfolders, split)).encode())
    rows = _rows(source, subfolders, None, {})
    for row in range(len(rows)):
        status = rows.full_path(row).stat()
        said = (int(rows.labels[row]), rows.group_name(int(rows.groups[row])), rows.source_names[rows.sources[row]])
        times = status.st_mtime_ns, status.st_ctime_ns  # a copy may keep the first, not the second
        stamp = (rows.path(row), status.st_size, times, int(rows.splits[row]))
        key.update(repr((*stamp, *said)).encode())
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", source.resolve().name)[:40]

    def make(out: Path) -> FaceSet:
        return prepare(source, out, seed=seed, subfolders=subfolders, split=split, progress=progress, overwrite=True)

    return kept(f"{name}-{key.hexdigest()[:24]}", make, partial(lacks_readable, root=rows.root))
