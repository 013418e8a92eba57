"""What a folder or an index says about its pictures: label, group, source, split. No picture is opened here."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facetell.data.splits import SPLITS
from facetell.errors import DataError, UsageError, near_miss

__all__ = [
    "LABEL_WORDS",
    "SPLIT_WORDS",
    "SUBFOLDERS",
    "RowBuilder",
    "Rows",
    "Skipped",
    "find_rows",
    "label_of",
    "names_in",
    "split_of",
    "walk",
]

LABEL_WORDS = {
    **dict.fromkeys(
        (
            "real", "reals", "original", "originals", "originalsequences", "authentic", "genuine", "pristine",
            "bonafide", "natural", "celebreal", "youtubereal",
        ),
        0,
    ),
    **dict.fromkeys(
        (
            "fake", "fakes", "deepfake", "deepfakes", "manipulated", "manipulatedsequences", "synthetic", "synthesis",
            "synthesized", "synthesised", "generated", "aigenerated", "forged", "forgery", "altered", "tampered",
            "spoof", "celebsynthesis",
        ),
        1,
    ),
}  # fmt: skip
"""Spellings of the labels, without case, punctuation, a leading number (``0_real``), ``training_`` or ``_images``."""

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("finetune", "finetuning"), "finetune"),
}
"""Spellings of the splits."""

SUBFOLDERS = ("group", "source")
"""What a sub-folder below a label folder can mean."""

_LITTER = frozenset({"thumbs.db", "desktop.ini", ".ds_store", "__macosx", ".directory", "ehthumbs.db"})
_DECORATION = ("images", "image", "imgs", "pictures", "faces", "face", "frames", "crops")
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


def label_of(folder_name: str) -> int | None:
    """The label that a folder's name says: 0 real, 1 fake, None if it is no spelling we know.

    Only whole names count (``real_vs_fake`` or ``Real-ESRGAN`` say nothing). A bare ``0`` or ``1`` says nothing
    either, as data sets disagree on which is which; an index, whose documentation says 0 = real, may use them.
    """
    words = _words(folder_name)
    return LABEL_WORDS.get("".join(words)) if words else None


def split_of(word: str) -> str | None:
    """The split that a word says, None if it is no spelling we know."""
    return SPLIT_WORDS.get(re.sub(r"[^a-z0-9]", "", word.lower()))


def find_rows(source: Path, *, subfolders: str = "group") -> Rows:
    """Read what ``source`` says about its pictures.

    ``source`` is an index (``.csv`` or ``.parquet`` with ``path,label[,group,source,split]``), a folder that holds an
    ``index.csv`` of that kind (it is used, as it says more than folders can), or a folder
    ``[split/]LABEL[/sub/folders]/picture`` (``LABEL/split/`` is understood as well).

    In a folder, the sub-folder below the label names the **group**: frames in ``real/vid1/`` and ``fake/vid1/`` share
    the group ``vid1`` and never cross a split. With ``subfolders="source"`` the first sub-folder is the source
    instead, and a deeper one the group. A picture straight in the label folder is a group of its own, named by its
    path with split and label and without suffix: ``real/00001.jpg`` and ``fake/00001.jpg`` are *not* tied together,
    since equal numbers mean nothing in most data sets; where they do mean the same person, say so with sub-folders or
    an index with a ``group`` column.

    Raises:
        DataError: nothing there, no label found, unknown spellings, or a wrong index; the message names the place.
        UsageError: ``subfolders`` is neither ``group`` nor ``source``.
    """
    from facetell.data.index import has_index_header, read_index

    if subfolders not in SUBFOLDERS:
        raise UsageError(
            f"subfolders cannot be '{subfolders}'{near_miss(subfolders, SUBFOLDERS)}", hint="use group or source"
        )
    if not source.exists():
        nearby = [entry.name for entry in source.parent.iterdir()] if source.parent.is_dir() else []
        raise DataError(f"{source} does not exist{near_miss(source.name, nearby)}")
    if source.is_file():
        if source.suffix.lower() not in (".csv", ".parquet"):
            raise DataError(
                f"{source} is neither a folder nor an index", hint="give a folder, a .csv or a .parquet index"
            )
        return read_index(source)
    if (source / "faceset.json").is_file():
        raise DataError(f"{source} is a face set already", hint="use it as it is, or give the folder of pictures")
    index = source / "index.csv"
    if index.is_file() and has_index_header(index):
        return read_index(index)
    return _read_folder(source, subfolders)


def _words(name: str) -> list[str]:
    """A folder's name as lower-case words, without leading number, split word and decoration."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word.lower() for word in re.split(r"[^A-Za-z0-9]+", spaced) if word]
    if words and words[0].isdigit():
        words = words[1:]
    if len(words) > 1 and words[0] in SPLIT_WORDS:
        words = words[1:]
    while len(words) > 1 and words[-1] in _DECORATION:
        words = words[:-1]
    return words


def _read_folder(root: Path, subfolders: str) -> Rows:
    builder = RowBuilder(root)
    default_source = root.resolve().name or "pictures"
    label_folders, unknown = _label_folders(root, builder)
    if unknown or not label_folders:
        _refuse_layout(root, unknown)
    for folder, label, split in label_folders:
        prefix = folder.relative_to(root).as_posix()
        for relative in walk(folder, prefix, builder):
            parts = relative.split("/")[:-1]
            row_split = split
            if not split and parts and split_of(parts[0]):
                row_split = split_of(parts.pop(0)) or ""
            row_source = parts[0] if parts and subfolders == "source" else default_source
            own = len(parts) < (2 if subfolders == "source" else 1)
            path = f"{prefix}/{relative}"
            group = None if own else "/".join(parts)
            builder.add(path, label, group, row_source, row_split)
    return builder.build()


def _label_folders(root: Path, builder: RowBuilder) -> tuple[list[tuple[Path, int, str]], list[str]]:
    """All [split/]LABEL folders as (folder, label, split or ""), and the folders whose name says nothing."""
    found: list[tuple[Path, int, str]] = []
    unknown: list[str] = []
    prefixes: list[str] = []
    for name in names_in(root, "", builder):
        label, split = label_of(name), split_of(name)
        if not (root / name).is_dir():
            builder.skipped.append(Skipped(name, "unlabelled", "lies outside every label folder"))
        elif label is not None:
            first = re.split(r"[^A-Za-z]+", name.lower())[0]
            prefixes.append(SPLIT_WORDS.get(first, ""))
            found.append((root / name, label, ""))
        elif split is not None:
            for inner in names_in(root / name, name, builder):
                inner_label = label_of(inner)
                path = f"{name}/{inner}"
                if not (root / path).is_dir():
                    builder.skipped.append(Skipped(path, "unlabelled", "lies outside every label folder"))
                elif inner_label is None:
                    unknown.append(path)
                else:
                    found.append((root / path, inner_label, split))
        else:
            unknown.append(name)
    if len(set(prefixes)) > 1 and all(
        prefixes
    ):  # train_real, test_real: here the prefix is the split; alone it is decoration
        unsplit = iter(prefixes)
        found = [(folder, label, split or next(unsplit)) for folder, label, split in found]
    return found, unknown


def _refuse_layout(root: Path, unknown: list[str]) -> None:
    deeper = next(iter(_deeper_roots(root)), None)
    if deeper is not None:
        raise DataError(f"{root} holds no label folder itself, but {deeper} does", hint=f"give {deeper}")
    names = ", ".join(f"'{name}'" for name in unknown[:8]) + (
        f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
    )
    guess = next((miss for name in unknown if (miss := near_miss(name.lower().split("/")[-1], LABEL_WORDS))), "")
    what = (
        f"cannot tell real from fake by the folder{'s' if len(unknown) > 1 else ''} {names}"
        if unknown
        else "no folders"
    )
    raise DataError(
        f"{root}: {what}{guess}",
        hint="name the folders real/ and fake/ (or train/real/ ...), or write an index.csv with the columns path,label",
    )


def _deeper_roots(root: Path) -> Iterator[Path]:
    """Folders up to two levels down that hold label folders, when each above holds only one (an unpacked archive)."""
    folder = root
    for _ in range(2):
        inner = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
        if len(inner) != 1 or label_of(inner[0].name) is not None or split_of(inner[0].name) is not None:
            return
        folder = inner[0]
        names = [entry.name for entry in folder.iterdir() if entry.is_dir()]
        if any(label_of(name) is not None or split_of(name) is not None for name in names):
            yield folder


def names_in(folder: Path, prefix: str, builder: RowBuilder) -> list[str]:
    """Names in a folder, sorted, without litter; hidden ones and broken names are listed as skipped."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208  names alone: half a million directory entries take 150 MB
    except OSError as error:
        builder.skipped.append(Skipped(prefix or ".", "unreadable", f"folder: {error.strerror}"))
        return []
    kept = []
    for name in names:
        path = f"{prefix}/{name}" if prefix else name
        if name.lower() in _LITTER or name.startswith("._"):
            continue
        if not name.isprintable():  # undecodable bytes and line breaks, which no table of paths can hold safely
            builder.skipped.append(Skipped(ascii(path), "unreadable", "its name is not valid text"))
        elif name.startswith("."):
            builder.skipped.append(Skipped(path, "hidden", "its name starts with a dot"))
        else:
            kept.append(name)
    return kept


def walk(folder: Path, prefix: str, builder: RowBuilder) -> Iterator[str]:
    """Paths of all regular files below a folder, relative to it, in name order; links are followed, loops are not."""
    base = str(folder)
    stack = [("", frozenset({os.path.realpath(base)}))]
    while stack:
        relative, above = stack.pop()
        folders = []
        for name in names_in(folder / relative, f"{prefix}/{relative}".rstrip("/"), builder):
            path = f"{relative}{name}"
            try:
                mode = os.stat(f"{base}/{path}").st_mode  # noqa: PTH116  a Path for each of 500,000 files is slow
            except OSError:
                mode = 0
            if stat.S_ISREG(mode):
                yield path
            elif stat.S_ISDIR(mode):
                real = os.path.realpath(f"{base}/{path}")
                if real in above:
                    builder.skipped.append(Skipped(f"{prefix}/{path}", "unreadable", "a link to a folder above it"))
                else:
                    folders.append((f"{path}/", above | {real}))
            else:
                detail = "not a regular file, or a broken link"
                builder.skipped.append(Skipped(f"{prefix}/{path}", "unreadable", detail))
        stack.extend(reversed(folders))
