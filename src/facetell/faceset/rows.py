"""Pictures that are to become a face set, in compact columns."""

from __future__ import annotations

import hashlib
import os
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facetell.faceset.splits import SPLITS

__all__ = ["RowBuilder", "Rows", "Skipped"]

_CHUNK = 16_384


@dataclass(frozen=True)
class Skipped:
    """One file that was left out: its path as in the rows, a status word, and what exactly was wrong."""

    path: str
    reason: str
    detail: str


@dataclass
class Rows:
    """Pictures that are to become a face set, in columns; row i of each belongs together.

    ``paths`` are relative to ``root`` with ``/`` (or absolute); ``labels`` 0 = real, 1 = fake; ``groups`` are codes for
    `group_name`; ``sources`` are codes into ``source_names``; ``splits`` are codes into `SPLITS`, -1 where not said.
    ``skipped`` are entries that cannot be pictures of a label; ``notes`` are sentences on the whole that its reader
    should know, such as people whom an official split has on both sides.

    A group that was said is one of ``named_groups``; the codes after those are pictures of their own group, for which
    only the first row is kept (``own_groups``), as their name is their path.
    """

    root: Path
    paths: pa.LargeStringArray
    labels: NDArray[np.int8]
    groups: NDArray[np.int32]
    named_groups: list[str]
    own_groups: NDArray[np.int64]
    sources: NDArray[np.int32]
    source_names: list[str]
    splits: NDArray[np.int8]
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)

    def full_path(self, row: int) -> Path:
        """Where the picture of a row lies."""
        return self.root / self.path(row)

    def path(self, row: int) -> str:
        """The picture's path as the source says it."""
        return str(self.paths[row].as_py())

    def group_name(self, code: int) -> str:
        """The name of a group; a picture of its own group gives it its path without suffix."""
        if code < len(self.named_groups):
            return self.named_groups[code]
        return _stem(self.path(int(self.own_groups[code - len(self.named_groups)])))


class RowBuilder:
    """Collects rows into compact columns: half a million rows take some fifty megabytes, not a gigabyte of dicts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.skipped: list[Skipped] = []
        self.notes: list[str] = []
        self._waiting: list[str] = []
        self._paths: list[pa.Array] = []
        self._labels = array("b")
        self._splits = array("b")
        self._groups = array("i")
        self._named: dict[str, int] = {}
        self._own = array("Q")
        self._sources = array("i")
        self._source_codes: dict[str, int] = {}

    def add(self, path: str, label: int, group: str | None, source: str, split: str) -> None:
        """Add one picture; ``group`` None gives it a group of its own, ``split`` may be empty."""
        self._waiting.append(path)
        self._labels.append(label)
        self._splits.append(SPLITS.index(split) if split else -1)
        self._sources.append(self._source_codes.setdefault(source, len(self._source_codes)))
        if group is None:
            self._groups.append(-1)
            # Files that differ in their suffix alone (a.jpg, a.png) share a group; a hash tells without keeping names.
            self._own.append(int.from_bytes(hashlib.blake2b(_stem(path).encode(), digest_size=8).digest()))
        else:
            self._groups.append(self._named.setdefault(group, len(self._named)))
        if len(self._waiting) >= _CHUNK:
            self._flush()

    def build(self) -> Rows:
        """Return the rows in the order they were added."""
        self._flush()
        groups = np.array(self._groups, dtype=np.int32)
        own_rows = np.flatnonzero(groups < 0)
        _, first, codes = np.unique(np.array(self._own, dtype=np.uint64), return_index=True, return_inverse=True)
        groups[own_rows] = codes + len(self._named)
        return Rows(
            root=self.root,
            paths=pa.concat_arrays(self._paths),
            labels=np.array(self._labels, dtype=np.int8),
            groups=groups,
            named_groups=list(self._named),
            own_groups=own_rows[first],
            sources=np.array(self._sources, dtype=np.int32),
            source_names=list(self._source_codes),
            splits=np.array(self._splits, dtype=np.int8),
            skipped=self.skipped,
            notes=self.notes,
        )

    def _flush(self) -> None:
        self._paths.append(pa.array(self._waiting, pa.large_string()))
        self._waiting.clear()


def _stem(path: str) -> str:
    return os.path.splitext(path)[0]  # noqa: PTH122  a Path for each of half a million rows is slow
