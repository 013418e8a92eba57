"""Pictures to a face set, in two passes: look at every file, check the whole, then write.

The first pass keeps some hundred bytes a row (hash, size, path, group); pictures themselves are only ever in memory a
few at a time. Everything is written into a folder beside the target that is renamed at the very end: whatever happens,
there is a whole face set or none.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facetell.data import writer
from facetell.data.cache import cache_dir
from facetell.data.duplicates import without_duplicates
from facetell.data.faceset import FINGERPRINTED, INFO_FILE, FaceSet, fingerprint
from facetell.data.images import FORMATS, MAX_BYTES, decode, probe
from facetell.data.sources import Rows, Skipped, find_rows
from facetell.data.splits import FRACTIONS, SPLITS, assign, check_groups
from facetell.errors import DataError, ImageError, UsageError, near_miss

__all__ = ["open_or_prepare", "prepare"]

Progress = Callable[[int, int], None]
_T = TypeVar("_T")
_R = TypeVar("_R")

_LABELS = ("real", "fake")


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
    seen = _look_at_all(rows, (lambda done: progress(done, steps)) if progress else None)
    if not seen.usable.any():
        raise DataError(f"{source}: no usable picture among {len(rows) + len(rows.skipped)} files{_why(seen.skipped)}")
    keep, duplicates = without_duplicates(rows, seen.usable, seen.digests)
    seen.skipped.extend(duplicates)
    _refuse_missing_label(source, rows, keep, seen.skipped)
    splits, how = _splits(rows, keep, seed, split)
    order = keep[np.argsort(splits[keep], kind="stable")]

    def table(some: NDArray[np.int64]) -> pa.Table:
        return _table(rows, seen, splits, some)

    info: dict[str, Any] = {
        "rows": len(order),
        "fingerprint": fingerprint(_by_hash(seen, keep, table)),
        "seed": seed,
        "splits_made": how,
        "skipped": dict(sorted(Counter(skip.reason for skip in seen.skipped).items())),
        **_counts(rows, splits, order),
    }
    if existing is not None and existing.fingerprint == info["fingerprint"]:
        return existing
    if existing is not None and not overwrite:
        raise DataError(f"{out} holds another face set", hint="give another folder, or --overwrite to replace it")

    def read(row: int) -> bytes:
        data = _read(rows.full_path(row))
        if hashlib.sha256(data).digest() != seen.digests[row].tobytes():
            raise DataError(
                f"{rows.full_path(row)} changed while the face set was made", hint="start again when it is at rest"
            )
        return data

    slices = writer.Slices(info["splits"], lambda start, stop: table(order[start:stop]))
    with closing(_ordered(read, map(int, order))) as images:
        counted = _count(images, len(rows), len(order), progress)
        faceset = writer.write_faceset(out, slices, counted, info, seen.skipped, rows_per_shard)
    faceset.created = True
    return faceset


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


@dataclass
class _Seen:
    """What the first pass found out, by row."""

    digests: NDArray[np.uint8]  # (N, 32)
    formats: NDArray[np.int8]
    widths: NDArray[np.int32]
    heights: NDArray[np.int32]
    usable: NDArray[np.bool_]
    skipped: list[Skipped]


def _check_places(source: Path, out: Path) -> None:
    inside, outside = out.resolve(), source.resolve()
    if inside == outside or (source.is_dir() and outside in inside.parents) or inside in outside.parents:
        raise UsageError(f"{out} and {source} lie inside each other", hint="put the face set beside the pictures")


def _read(path: Path) -> bytes:
    """A file's bytes; refuses what is too large without reading it."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise ImageError(f"the file has {size:,} bytes; {MAX_BYTES:,} is the limit", reason="unsupported")
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}", reason="unreadable") from None


def _look_at(path: Path) -> tuple[bytes, int, int, int] | ImageError:
    """(sha256, format code, width, height) of a picture that decodes, or why it does not."""
    try:
        data = _read(path)
        info = probe(data)
        decode(data)
    except ImageError as error:
        return error
    return hashlib.sha256(data).digest(), FORMATS.index(info.format), info.width, info.height


def _look_at_all(rows: Rows, progress: Callable[[int], None] | None) -> _Seen:
    count = len(rows)
    seen = _Seen(
        digests=np.zeros((count, 32), dtype=np.uint8),
        formats=np.zeros(count, dtype=np.int8),
        widths=np.zeros(count, dtype=np.int32),
        heights=np.zeros(count, dtype=np.int32),
        usable=np.zeros(count, dtype=np.bool_),
        skipped=list(rows.skipped),
    )
    paths = (rows.full_path(row) for row in range(count))
    with closing(_ordered(_look_at, paths)) as results:
        for row, result in enumerate(results):
            if isinstance(result, ImageError):
                seen.skipped.append(Skipped(rows.path(row), result.reason, result.message))
            else:
                digest, seen.formats[row], seen.widths[row], seen.heights[row] = result
                seen.digests[row] = np.frombuffer(digest, dtype=np.uint8)
                seen.usable[row] = True
            if progress:
                progress(row + 1)
    return seen


def _ordered(function: Callable[[_T], _R], items: Iterable[_T]) -> Generator[_R, None, None]:
    """Map over a thread pool, results in order, with few items in flight; stops cleanly when the consumer does."""
    workers = min(16, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="facetell-prepare")
    waiting: deque[Future[_R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _count(images: Iterator[bytes], files: int, total: int, progress: Progress | None) -> Iterator[bytes]:
    """Pass pictures on and tell the progress; the second pass counts on where the first ended."""
    for done, image in enumerate(images, start=1):
        if progress:
            progress(2 * files if done == total else files + done, 2 * files)
        yield image


def _refuse_missing_label(source: Path, rows: Rows, keep: NDArray[np.int64], skipped: list[Skipped]) -> None:
    counts = np.bincount(rows.labels[keep], minlength=2)
    if not counts.all():
        missing = _LABELS[int(np.argmin(counts))]
        raise DataError(
            f"{source}: no usable {missing} picture ({counts[0]} real, {counts[1]} fake){_why(skipped)}",
            hint="a face set needs both real and fake pictures",
        )


def _why(skipped: list[Skipped]) -> str:
    if not skipped:
        return ""
    counts = Counter(skip.reason for skip in skipped)
    said = ", ".join(f"{number} {reason}" for reason, number in counts.most_common())
    return f"; left out: {said}, e.g. {skipped[0].path}: {skipped[0].detail}"


def _splits(
    rows: Rows, keep: NDArray[np.int64], seed: int, split: str | None
) -> tuple[NDArray[np.int8], dict[str, object]]:
    """(N,) split codes for the kept rows (-1 elsewhere), and how they came about."""
    known = rows.splits[keep].copy()
    groups = rows.groups[keep]
    check_groups(groups, known, rows.group_name)
    given = int((known >= 0).sum())
    carved = 0
    if split is not None:
        # A group stays together: its rows without a split follow those with one, before the rest goes where told.
        of_group = np.full(int(rows.groups.max()) + 1, -1, dtype=np.int8)
        np.maximum.at(of_group, groups, known)
        known = of_group[groups]
        known[known < 0] = SPLITS.index(split)
    elif given == len(known) and SPLITS.index("train") in known and SPLITS.index("validation") not in known:
        train = np.flatnonzero(known == SPLITS.index("train"))
        known[train] = _carve(rows, keep[train], seed)
        carved = int((known == SPLITS.index("validation")).sum())
    else:
        known = assign(rows.labels[keep], groups, rows.sources[keep], known, seed)
    splits = np.full(len(rows), -1, dtype=np.int8)
    splits[keep] = known
    how: dict[str, object] = {"given": given, "made": len(keep) - given, "carved_from_train": carved}
    if split is not None:
        how["all_in"] = split
    elif given < len(keep) or carved:
        how |= {"fractions": FRACTIONS, "stratified_by": ["label", "source"], "disjoint_by": "group"}
    return splits, how


def _carve(rows: Rows, train: NDArray[np.int64], seed: int) -> NDArray[np.int8]:
    """Split given training rows into train and validation, in the usual proportion.

    A row of an imaginary given test split tells `assign` that only those two are open.
    """
    labels = np.append(rows.labels[train], np.int8(0))
    groups = np.append(rows.groups[train], np.int32(rows.groups.max() + 1))
    sources = np.append(rows.sources[train], np.int32(len(rows.source_names)))
    known = np.full(len(train) + 1, -1, dtype=np.int8)
    known[-1] = SPLITS.index("test")
    return assign(labels, groups, sources, known, seed)[:-1]


def _by_hash(
    seen: _Seen, keep: NDArray[np.int64], table: Callable[[NDArray[np.int64]], pa.Table]
) -> Iterator[tuple[Any, ...]]:
    """The kept rows' fingerprinted columns in the order of their hashes, some thousand at a time."""
    kept = np.zeros(len(seen.usable), dtype=np.bool_)
    kept[keep] = True
    order = np.lexsort(seen.digests.view(">u8").T[::-1])
    order = order[kept[order]]
    step = 4096
    for start in range(0, len(order), step):
        part = table(order[start : start + step]).select(FINGERPRINTED)
        yield from zip(*(column.to_pylist() for column in part.columns), strict=True)


def _counts(rows: Rows, splits: NDArray[np.int8], order: NDArray[np.int64]) -> dict[str, Any]:
    """Rows by split, and by split, label and source."""
    width = len(rows.source_names)
    keys = (splits[order].astype(np.int64) * 2 + rows.labels[order]) * width + rows.sources[order]
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for key, number in zip(*(part.tolist() for part in np.unique(keys, return_counts=True)), strict=True):
        split, label, source = SPLITS[key // width // 2], _LABELS[key // width % 2], rows.source_names[key % width]
        counts.setdefault(split, {}).setdefault(label, {})[source] = number
    by_split = {split: sum(sum(sources.values()) for sources in labels.values()) for split, labels in counts.items()}
    return {"splits": by_split, "counts": counts}


def _table(rows: Rows, seen: _Seen, splits: NDArray[np.int8], some: NDArray[np.int64]) -> pa.Table:
    """The metadata columns of some rows, without the pictures."""
    return pa.table(
        {
            "format": [FORMATS[code] for code in seen.formats[some]],
            "width": seen.widths[some],
            "height": seen.heights[some],
            "label": rows.labels[some],
            "group": [rows.group_name(code) for code in rows.groups[some].tolist()],
            "source": [rows.source_names[code] for code in rows.sources[some]],
            "split": [SPLITS[code] for code in splits[some]],
            "path": rows.paths.take(pa.array(some)),
            "sha256": [digest.tobytes().hex() for digest in seen.digests[some]],
        }
    )
