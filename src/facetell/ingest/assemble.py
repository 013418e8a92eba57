"""The last steps of `prepare`, for crops of any kind: drop duplicates, make the splits, write the face set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facetell.errors import DataError
from facetell.faceset.duplicates import without_duplicates
from facetell.faceset.rows import Rows, Skipped
from facetell.faceset.splits import FRACTIONS, SPLITS, assign, check_groups
from facetell.faceset.table import FaceSet
from facetell.faceset.writing import Slices, another_faceset, described, write_faceset
from facetell.labels import LABELS
from facetell.pixels.opening import FORMATS
from facetell.progress import Progress, Step

__all__ = ["Crops", "Task", "assemble"]


@dataclass
class Crops:
    """What is known about the crop of each row.

    ``digests``: (N, 32) sha256 of the file; ``formats``: codes into `FORMATS`; ``widths``, ``heights``: pixels;
    ``usable``: whether the crop can be in a face set; ``skipped``: everything left out so far; ``stream(rows)``: the
    files of these rows, in this order; ``columns``: further columns of `faceset.table.SCHEMA`.
    """

    digests: NDArray[np.uint8]
    formats: NDArray[np.int8]
    widths: NDArray[np.int32]
    heights: NDArray[np.int32]
    usable: NDArray[np.bool_]
    skipped: list[Skipped]
    stream: Callable[[NDArray[np.int64]], Generator[bytes, None, None]]
    columns: dict[str, pa.Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """What is to be made: the arguments of `prepare.prepare` of these names.

    ``existing`` is the face set at ``out``, if there is one; ``progress`` is told of every crop written.
    """

    source: Path
    out: Path
    seed: int
    split: str | None
    one_label: bool
    rows_per_shard: int
    overwrite: bool
    existing: FaceSet | None
    progress: Progress


def assemble(task: Task, rows: Rows, crops: Crops, info: dict[str, Any]) -> FaceSet:
    """Make the face set of the usable ``crops``, or give back the existing one if it holds the same.

    ``info`` goes into ``faceset.json``. Errors are those of `prepare.prepare`.
    """
    if not crops.usable.any():
        raise DataError(f"{task.source}: no usable picture{_why(crops.skipped)}")
    keep, duplicates = without_duplicates(rows, crops.usable, crops.digests)
    crops.skipped.extend(duplicates)
    if not task.one_label:
        _refuse_missing_label(task.source, rows, keep, crops.skipped)
    splits, how = _splits(rows, keep, task.seed, task.split)
    order = keep[np.argsort(splits[keep], kind="stable")]

    def table(some: NDArray[np.int64]) -> pa.Table:
        return _table(rows, crops, splits, some)

    full: dict[str, Any] = {
        **described(keep, crops.digests, table),
        "seed": task.seed,
        "splits_made": how,
        "skipped": dict(sorted(Counter(skip.reason for skip in crops.skipped).items())),
        **info,
    }
    if "test" not in full["splits"] and not how["given"] and task.split is None:
        full["notes"] = [*info.get("notes", []), "too few groups for a test split: evaluate on other pictures"]
    if task.existing is not None and _same(task.existing.info, full):
        return task.existing
    if task.existing is not None and not task.overwrite:
        raise another_faceset(task.out)
    slices = Slices(full["splits"], lambda start, stop: table(order[start:stop]))
    with closing(crops.stream(order)) as images:
        counted = _count(images, len(order), task.progress)
        faceset = write_faceset(task.out, slices, counted, full, crops.skipped, task.rows_per_shard)
    faceset.created = True
    return faceset


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two face sets have the same rows and were made with the same settings."""
    return all(one.get(name) == other.get(name) for name in ("fingerprint", "crop", "media"))


def _count(images: Iterator[bytes], total: int, progress: Progress) -> Iterator[bytes]:
    for done, image in enumerate(images, start=1):
        progress(Step("writing", done, total, "faces"))
        yield image


def _refuse_missing_label(source: Path, rows: Rows, keep: NDArray[np.int64], skipped: list[Skipped]) -> None:
    counts = np.bincount(rows.labels[keep], minlength=2)
    if not counts.all():
        missing = LABELS[int(np.argmin(counts))]
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
    """(N,) split codes of the kept rows (-1 for the others), and a record of how many were given and how many made."""
    known = rows.splits[keep].copy()
    groups = rows.groups[keep]
    check_groups(groups, known, rows.group_name)
    given = int((known >= 0).sum())
    carved = 0
    if split is not None:
        # Rows whose group already has a split take that one; all other rows take the split that was asked for.
        of_group = np.full(int(rows.groups.max()) + 1, -1, dtype=np.int8)
        np.maximum.at(of_group, groups, known)
        known = of_group[groups]
        known[known < 0] = SPLITS.index(split)
    elif given == len(known) and SPLITS.index("train") in known and SPLITS.index("validation") not in known:
        train = np.flatnonzero(known == SPLITS.index("train"))
        known[train] = _carve(rows, keep[train], seed)
        carved = int((known == SPLITS.index("validation")).sum())
    else:
        try:
            known = assign(rows.labels[keep], groups, rows.sources[keep], known, seed)
        except DataError as error:
            if given:
                raise
            # With only a few videos there is no test split; `assemble` says so in the notes.
            try:
                known = _carve(rows, keep, seed)
            except DataError:
                raise error from None
    splits = np.full(len(rows), -1, dtype=np.int8)
    splits[keep] = known
    how: dict[str, object] = {"given": given, "made": len(keep) - given, "carved_from_train": carved}
    if split is not None:
        how["all_in"] = split
    elif given < len(keep) or carved:
        how |= {"fractions": FRACTIONS, "stratified_by": ["label", "source"], "disjoint_by": "group"}
    return splits, how


def _carve(rows: Rows, train: NDArray[np.int64], seed: int) -> NDArray[np.int8]:
    """Split some rows into train and validation, in the usual proportion.

    An added row that is already in test makes `assign` give out the other two splits only.
    """
    labels = np.append(rows.labels[train], np.int8(0))
    groups = np.append(rows.groups[train], np.int32(rows.groups.max() + 1))
    sources = np.append(rows.sources[train], np.int32(len(rows.source_names)))
    known = np.full(len(train) + 1, -1, dtype=np.int8)
    known[-1] = SPLITS.index("test")
    return assign(labels, groups, sources, known, seed)[:-1]


def _table(rows: Rows, crops: Crops, splits: NDArray[np.int8], some: NDArray[np.int64]) -> pa.Table:
    """The metadata columns of some rows, without the pictures."""
    extra = {name: column.take(pa.array(some)) for name, column in crops.columns.items()}
    return pa.table(
        {
            "format": [FORMATS[code] for code in crops.formats[some]],
            "width": crops.widths[some],
            "height": crops.heights[some],
            "label": rows.labels[some],
            "group": [rows.group_name(code) for code in rows.groups[some].tolist()],
            "source": [rows.source_names[code] for code in rows.sources[some]],
            "split": [SPLITS[code] for code in splits[some]],
            "path": rows.paths.take(pa.array(some)),
            "sha256": [digest.tobytes().hex() for digest in crops.digests[some]],
            **extra,
        }
    )
