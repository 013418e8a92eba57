"""Reads label, group, source and split of pictures from the names of folders, or from an index; opens no picture."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from facetell.buckets import is_bucket, list_names, status
from facetell.errors import DataError, UsageError, near_miss
from facetell.faceset.rows import RowBuilder, Rows, Skipped
from facetell.ingest.index import SUFFIXES, names_pictures, read_index
from facetell.ingest.spellings import LABEL_WORDS, SPLIT_WORDS, label_of, split_of
from facetell.names import is_text

__all__ = ["SUBFOLDERS", "find_rows", "names_in", "walk"]

SUBFOLDERS = ("group", "source")
"""What a sub-folder below a label folder can mean."""

_TABLES = (*SUFFIXES, ".json", ".jsonl", ".gz", ".zip", ".xlsx", ".xls", ".ods", ".feather", ".arrow")
"""Ends of names of tables; an index in one that is not read is refused."""

_LITTER = frozenset({"thumbs.db", "desktop.ini", ".ds_store", "__macosx", ".directory", "ehthumbs.db"})


def find_rows(source: Path, *, subfolders: str = "group") -> Rows:
    """List the pictures of ``source`` with their label, group, source and split.

    ``source`` is an index (``.csv``, ``.tsv`` or ``.parquet`` with ``path,label[,group,source,split]``), a folder that holds an
    ``index.csv`` or the like (it is used, as it says more than folders can, or refused, never passed over), or a folder
    ``[split/]LABEL[/sub/folders]/picture`` (``LABEL/split/`` is understood as well).

    In a folder, the sub-folder below the label names the **group**: frames in ``real/vid1/`` and ``fake/vid1/`` share
    the group ``vid1`` and never cross a split. With ``subfolders="source"`` the first sub-folder is the source
    instead, and a deeper one the group. A picture straight in the label folder is a group of its own, named by its
    path with split and label and without suffix: ``real/00001.jpg`` and ``fake/00001.jpg`` are *not* tied together,
    since in most data sets equal numbers do not mean the same person; where they do, use sub-folders or an index with a
    ``group`` column.

    Raises:
        DataError: nothing there, no label found, unknown spellings, or a wrong index; the message names the place.
        UsageError: ``subfolders`` is neither ``group`` nor ``source``.
    """
    if subfolders not in SUBFOLDERS:
        raise UsageError(
            f"subfolders cannot be '{subfolders}'{near_miss(subfolders, SUBFOLDERS)}", hint="use group or source"
        )
    if not source.exists():
        if is_bucket(source):
            raise DataError(f"{source} does not exist", hint="check the folder's name")
        nearby = [entry.name for entry in source.parent.iterdir()] if source.parent.is_dir() else []
        raise DataError(f"{source} does not exist{near_miss(source.name, nearby)}")
    if source.is_file():
        if source.suffix.lower() not in SUFFIXES:
            raise DataError(
                f"{source} is neither a folder nor an index", hint="give a folder, a .csv, .tsv or .parquet index"
            )
        return read_index(source)
    if (source / "faceset.json").is_file():
        raise DataError(f"{source} is a face set already", hint="use it as it is, or give the folder of pictures")
    index = _index_in(source)
    return read_index(index) if index else _read_folder(source, subfolders)


def _index_in(folder: Path) -> Path | None:
    """The index that lies in a folder. Raises DataError for what looks like one and cannot be used, as it would say more
    than the folders."""
    files = sorted(file for file in folder.iterdir() if not file.name.startswith(".") and file.is_file())
    found = [file for file in files if file.name.lower().split(".")[0] == "index" and file.suffix.lower() in _TABLES]
    if len(found) > 1:
        names = " and ".join(file.name for file in found)
        raise DataError(f"{folder} holds {names}", hint="give the one that holds, in place of the folder")
    if found and found[0].suffix.lower() not in SUFFIXES:
        raise DataError(f"{found[0]} is not an index that can be read", hint="save it as .csv, .tsv or .parquet")
    if found:
        return found[0]
    for file in files:
        if file.suffix.lower() in SUFFIXES and names_pictures(file):
            raise DataError(
                f"{folder} holds {file.name}, which names pictures and labels: is it the index?",
                hint=f"give {file}, or move it away if the folders say it all",
            )
    return None


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
    # In train_real beside test_real the prefix is the split; where all have the same one it is decoration.
    if len(set(prefixes)) > 1 and all(prefixes):
        unsplit = iter(prefixes)
        found = [(folder, label, split or next(unsplit)) for folder, label, split in found]
    return found, unknown


def _refuse_layout(root: Path, unknown: list[str]) -> None:
    deeper = next(iter(_deeper_roots(root)), None)
    if deeper is not None:
        raise DataError(f"{root} holds no label folder itself, but {deeper} does", hint=f"give {deeper}")
    more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
    names = ", ".join(f"'{name}'" for name in unknown[:8]) + more
    guess = next((miss for name in unknown if (miss := near_miss(name.lower().split("/")[-1], LABEL_WORDS))), "")
    several = "s" if len(unknown) > 1 else ""
    what = f"cannot tell real from fake by the folder{several} {names}" if unknown else "no folders"
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
        found = sorted(list_names(folder))
    except OSError as error:
        builder.skipped.append(Skipped(prefix or ".", "unreadable", f"folder: {error.strerror}"))
        return []
    kept = []
    for name in found:
        path = f"{prefix}/{name}" if prefix else name
        if name.lower() in _LITTER or name.startswith("._"):
            continue
        if not is_text(name):
            builder.skipped.append(
                Skipped(ascii(path), "unreadable", "its name holds bytes that are no text, or a line break")
            )
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
                mode = status(f"{base}/{path}").st_mode
            except OSError:
                mode = 0
            if stat.S_ISREG(mode):
                yield path
            elif stat.S_ISDIR(mode):
                real = os.path.realpath(f"{base}/{path}")  # in a bucket there are no links
                if real in above:
                    builder.skipped.append(Skipped(f"{prefix}/{path}", "unreadable", "a link to a folder above it"))
                else:
                    folders.append((f"{path}/", above | {real}))
            else:
                detail = "not a regular file, or a broken link"
                builder.skipped.append(Skipped(f"{prefix}/{path}", "unreadable", detail))
        stack.extend(reversed(folders))
