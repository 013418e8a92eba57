"""A layout: the folder structure of one known data set, how it is recognised, and how its rows are read.

Label, group, source and split of every picture or video come from the names of files and folders and from the lists
that the data set brings along; no picture or video is opened.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facetell.buckets import list_names
from facetell.errors import DataError, UsageError, near_miss
from facetell.faceset.rows import RowBuilder, Rows, Skipped
from facetell.ingest.layouts.tree import differs, show_difference
from facetell.ingest.sources import names_in, walk
from facetell.names import is_text

__all__ = [
    "PICTURES",
    "VIDEOS",
    "Chosen",
    "Layout",
    "Option",
    "known_in",
    "media_in",
    "names_only",
    "printable",
    "read_csv",
    "read_json",
    "read_videos",
    "skip_missing",
    "skip_unknown",
]

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"})

Chosen = Mapping[str, tuple[str, ...]]
"""The chosen words of each option."""


@dataclass(frozen=True)
class Option:
    """Which parts of a data set to take: ``all``, or some of ``choices`` with commas between them."""

    name: str
    choices: tuple[str, ...]
    doc: str

    def choose(self, words: str) -> tuple[str, ...]:
        """The chosen words, in the order of ``choices``. Raises ``UsageError`` with the nearest word."""
        if words == "all":
            return self.choices
        chosen = [word.strip() for word in words.split(",")]
        for word in chosen:
            if word not in self.choices:
                raise UsageError(
                    f"{self.name} cannot be '{word}'{near_miss(word, self.choices)}",
                    hint=f"all, or some of {','.join(self.choices)}",
                )
        return tuple(word for word in self.choices if word in chosen)


@dataclass(frozen=True)
class Layout:
    """One data set's layout.

    ``tree`` is what people are shown and what a folder is checked against, see `facetell.ingest.layouts.tree`.
    ``recognises(root)`` looks for names that only this data set has. ``read(builder, chosen)`` adds the rows.
    ``groups`` says what shares a group; ``licence`` how the data set may be had, as far as its page says.
    """

    name: str
    title: str
    homepage: str
    licence: str
    groups: str
    tree: str
    recognises: Callable[[Path], bool]
    read: Callable[[RowBuilder, Chosen], None]
    options: tuple[Option, ...] = ()

    def rows(self, root: Path, **options: str) -> Rows:
        """All pictures and videos of the data set at ``root``, what was left out, and notes on the whole.

        Raises:
            DataError: not this layout (the message shows what is missing where), or a list that cannot be read.
            UsageError: an unknown option, or a word that it does not take.
        """
        chosen = self._chosen(options)
        if not root.is_dir():
            raise DataError(f"{root} is not a folder", hint=f"give the folder of {self.title}")
        if differs(self.tree, root):
            raise DataError(
                f"{root} is not {self.title} as it is downloaded:\n{show_difference(self.tree, root)}",
                hint="add or rename what is missing, or write an index.csv with the columns path,label",
            )
        builder = RowBuilder(root)
        self.read(builder, chosen)
        rows = builder.build()
        if not len(rows):
            wanted = "".join(f" with {name}={value}" for name, value in options.items())
            first = f"; e.g. {rows.skipped[0].path}: {rows.skipped[0].detail}" if rows.skipped else ""
            raise DataError(f"{root} holds no pictures or videos of {self.title}{wanted}{first}")
        return rows

    def _chosen(self, options: Mapping[str, str]) -> Chosen:
        names = [option.name for option in self.options]
        for name in options:
            if name not in names:
                raise UsageError(
                    f"{self.name} has no option '{name}'{near_miss(name, names)}",
                    hint=f"options: {', '.join(names) or 'none'}",
                )
        return {option.name: option.choose(options.get(option.name, "all")) for option in self.options}


def known_in(builder: RowBuilder, folder: str, known: Iterable[str]) -> list[str]:
    """The names in a folder (relative to the root) that are in ``known``; all others are listed as skipped."""
    wanted, found = set(known), []
    for name in names_in(builder.root / folder, folder, builder):
        if name in wanted:
            found.append(name)
        else:
            skip_unknown(builder, f"{folder}/{name}" if folder else name)
    return found


def media_in(builder: RowBuilder, folder: str, kinds: frozenset[str]) -> Iterator[str]:
    """Paths below a folder, relative to it, of files with one of these suffixes; the others are listed as skipped."""
    for path in walk(builder.root / folder, folder, builder):
        if os.path.splitext(path)[1].lower() in kinds:  # noqa: PTH122  a Path for each of 500,000 files is slow
            yield path
        else:
            skip_unknown(builder, f"{folder}/{path}")


def names_only(folder: Path) -> list[str]:
    """All names in a folder, sorted; empty where there is no such folder. Nothing is listed as skipped."""
    try:
        return sorted(list_names(folder))
    except OSError:
        return []


def skip_unknown(builder: RowBuilder, path: str, why: str = "not part of this data set's layout") -> None:
    """List a file, or a folder as a whole (with a slash at its end), that the layout says nothing about."""
    whole = f"{path}/" if (builder.root / path).is_dir() else path
    builder.skipped.append(Skipped(whole, "unlabelled", why))


def skip_missing(builder: RowBuilder, path: str, listed_in: str) -> None:
    """List a file or folder that one of the data set's own lists names and that is not there."""
    builder.skipped.append(Skipped(printable(path), "missing", f"listed in {listed_in}, but not there"))


def printable(word: str) -> str:
    """A word, with its characters escaped if some cannot be printed."""
    return word if is_text(word) else ascii(word)


def read_json(path: Path) -> Any:
    """A JSON file's content. Raises ``DataError`` that names the file and the place."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}", hint="unpack or download it again") from None


def read_videos(path: Path, labels: Mapping[str, int]) -> dict[str, Any]:
    """A JSON table of videos by name, each with a ``label`` that is one of ``labels``. Raises ``DataError``."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a table of videos", hint="download it again")
    for name, entry in content.items():
        if not (isinstance(entry, dict) and str(entry.get("label")) in labels):
            raise DataError(f"{path}: {name} has no label {' or '.join(labels)}", hint="download it again")
    return content


def read_csv(path: Path, columns: tuple[str, ...] = ()) -> Iterator[tuple[int, dict[str, str | None]]]:
    """(line, cells by column) for every row of a CSV file. Raises ``DataError`` where it cannot be read or lacks ``columns``."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            if not {*columns} <= {*(reader.fieldnames or ())}:
                raise DataError(f"{path}, line 1: no columns {' and '.join(columns)}", hint="download it again")
            for record in reader:
                yield reader.line_num, record
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}") from None
