"""Reads an index: a table ``path,label[,group,source,split]`` in text or Parquet, of pictures anywhere on the disk."""

from __future__ import annotations

import csv
import logging
import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from facetell.buckets import list_names
from facetell.errors import DataError, near_miss
from facetell.faceset.rows import RowBuilder, Rows
from facetell.faceset.splits import SPLITS
from facetell.ingest.delimited import open_table
from facetell.ingest.spellings import LABEL_WORDS, SPLIT_WORDS, column_of, label_of, split_of

__all__ = ["COLUMNS", "SUFFIXES", "names_pictures", "read_index"]

log = logging.getLogger("facetell")

COLUMNS = ("path", "label", "group", "source", "split")
"""Columns of an index; the first two are required, the cells of the others may be empty."""

SUFFIXES = (".csv", ".tsv", ".parquet")

_REQUIRED = 2
_DIGITS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
_TRUTH = {"1": True, "1.0": True, "true": True, "yes": True, "0": False, "0.0": False, "false": False, "no": False}
_INSTEAD = {"label": ("fake", "real"), "group": ("video",)}


def read_index(index: Path) -> Rows:
    """Read an index; paths in it are relative to its folder, or absolute.

    Text is UTF-8, or UTF-16 or -32 that says so; columns are separated by commas, semicolons, tabs or ``|``, and may have any
    spelling of `COLUMN_WORDS`. Labels are real/fake or any spelling of `LABEL_WORDS`; in a column that is called label also
    0/1 (0 = real), which elsewhere mean one thing as often as the other; or yes/no in a column that is called is_fake or
    is_real. A column of videos is the group where none names persons. A row without group is a group of its own; a row
    without source comes from the index's folder name.

    Raises:
        DataError: a missing or misspelt column, an unknown label or split word, a path that does not exist or is
            there twice; names the line (of a Parquet index: the row, from 1).
    """
    builder = RowBuilder(index.parent)
    default_source = index.resolve().parent.name or "pictures"
    unit = "row" if index.suffix.lower() == ".parquet" else "line"
    for number, cells in _read_cells(index):
        where = f"{index}, {unit} {number}"
        path, label_word, group, source, split_word = cells
        if not path:
            raise DataError(f"{where}: the path is empty")
        path = _existing(index.parent, path)
        label = _label(label_word, where)
        split = _split(split_word, where)
        full = index.parent / path
        if not full.is_file():
            address = "://" in cells[0]
            hint = (
                "an index names files: download them first" if address else "paths are relative to the index's folder"
            )
            raise DataError(f"{where}: {cells[0] if address else path} does not exist{_near_file(full)}", hint=hint)
        builder.add(path, label, group or None, source or default_source, split)
    rows = builder.build()
    _refuse_duplicates(rows, index, unit)
    return rows


def _existing(folder: Path, path: str) -> str:
    """The path, with slashes for backslashes of Windows, and accents joined or apart, where only so there is a file."""
    slashed = path.replace("\\", "/")
    spellings = path, slashed, *(unicodedata.normalize(form, slashed) for form in ("NFC", "NFD"))
    return os.path.normpath(next((other for other in spellings if (folder / other).is_file()), path))


def _label(word: str, where: str) -> int:
    label = _DIGITS.get(word, label_of(word))
    if label is None:
        shown = f"unknown label '{word}'{near_miss(word.lower(), LABEL_WORDS)}" if word else "the label is empty"
        raise DataError(f"{where}: {shown}", hint="labels are real and fake, or 0 and 1 (0 = real)")
    return label


def _split(word: str, where: str) -> str:
    split = split_of(word) if word else ""
    if split is None:
        raise DataError(
            f"{where}: unknown split '{word}'{near_miss(word.lower(), SPLIT_WORDS)}",
            hint=f"splits are {', '.join(SPLITS)}",
        )
    return split


def _near_file(full: Path) -> str:
    try:
        return near_miss(full.name, list_names(full.parent))
    except OSError:
        return ""


def _refuse_duplicates(rows: Rows, index: Path, unit: str) -> None:
    counts = pc.value_counts(rows.paths)
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if not len(twice):
        return
    first = twice[0]["values"].as_py()
    numbers = [number for number, cells in _read_cells(index) if _existing(index.parent, cells[0]) == first]
    raise DataError(
        f"{index}: {first} is listed {len(numbers)} times, in {unit}s {', '.join(map(str, numbers[:5]))}"
        + (f" ({len(twice)} such paths)" if len(twice) > 1 else ""),
        hint="list every picture once",
    )


def _read_cells(index: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line or row number, cells in the order of `COLUMNS`, stripped) for every row, streamed."""
    return _read_parquet(index) if index.suffix.lower() == ".parquet" else _read_text(index)


def _read_text(index: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    try:
        with open_table(index, _is_header) as table:
            places = _places(table.header, index)
            for line, record in table:
                if not any(record):
                    continue
                while len(record) > len(table.header) and not record[-1].strip():
                    record.pop()  # spreadsheets end rows with delimiters
                if len(record) != len(table.header):
                    raise DataError(
                        f"{index}, line {line}: {len(record)} cells where the header has {len(table.header)}",
                        hint=f"put a path that holds a '{table.delimiter}' in double quotes",
                    )
                path, label, *rest = (record[place].strip(" \t") if place >= 0 else "" for place in places)
                yield line, (path, _plain(label, table.header[places[1]], f"{index}, line {line}"), *rest)
    except UnicodeError as error:
        reason = getattr(error, "reason", error)
        raise DataError(f"{index} is not UTF-8 text: {reason}", hint="save the index as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{index} is not a CSV file: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {index}: {error.strerror}") from None


def _plain(label: str, column: str, where: str) -> str:
    """A label, as real or fake where its column asks for yes or no.

    Raises DataError for a number or a yes in a column that does not say which is which: data sets disagree about 1.
    """
    asks, truth = column_of(column), _TRUTH.get(label.lower())
    if asks == "label":
        number = label in _DIGITS and column.strip().lower() == "label"
        if truth is None or number:
            return label
        raise DataError(
            f"{where}: '{label}' in the column '{column}' may be real or fake",
            hint="write real and fake, or call the column is_fake; in one called label 0 is real and 1 is fake",
        )
    if truth is None:
        raise DataError(
            f"{where}: '{label}' in the column '{column}' is neither yes nor no", hint="write yes and no, or 1 and 0"
        )
    return "fake" if truth == (asks == "fake") else "real"


def names_pictures(path: Path) -> bool:
    """Whether a file is a table whose header names the columns of an index."""
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            with path.open("rb") as file:
                return _is_header(pq.read_schema(file).names)
        with open_table(path, _is_header) as table:
            return _is_header(table.header)
    except (pa.ArrowException, OSError, UnicodeError, csv.Error):
        return False


def _is_header(cells: Sequence[str]) -> bool:
    columns = {column_of(cell) for cell in cells}
    return "path" in columns and not columns.isdisjoint({"label", *_INSTEAD["label"]})


def _read_parquet(index: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    import pyarrow.parquet as pq

    try:
        with index.open("rb") as opened, pq.ParquetFile(opened) as file:
            header = file.schema_arrow.names
            places = _places(header, index)
            wanted = [header[place] for place in places if place >= 0]
            number = 0
            for batch in file.iter_batches(batch_size=16_384, columns=wanted):
                columns = [batch.column(header[p]).cast(pa.string()).to_pylist() if p >= 0 else None for p in places]
                for i in range(batch.num_rows):
                    number += 1
                    path, label, *rest = ((column[i] or "").strip(" \t") if column else "" for column in columns)
                    yield number, (path, _plain(label, header[places[1]], f"{index}, row {number}"), *rest)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot read {index}: {str(error).splitlines()[0]}") from None


def _places(header: list[str], index: Path) -> list[int]:
    """Where each of `COLUMNS` is in the header, -1 if absent. A column's own name goes before other spellings."""
    names = [name.strip().lower() for name in header]
    places = []
    for name in COLUMNS:
        found = [place for place, other in enumerate(names) if other == name]
        for words in ((name,), _INSTEAD.get(name, ())):
            found = found or [place for place, other in enumerate(names) if column_of(other) in words]
        if len(found) > 1:
            several = " and ".join(f"'{header[place]}'" for place in found)
            raise DataError(
                f"{index}, line 1: {several} are both the column '{name}'", hint="keep one, or rename the other"
            )
        if not found and name in COLUMNS[:_REQUIRED]:
            shown = ", ".join(f"'{column}'" for column in header[:8]) or "nothing"
            raise DataError(
                f"{index}, line 1: no column '{name}' in {shown}{_misspelt(name, names)}",
                hint="the header must name path,label[,group,source,split]; a file that is no index needs another name",
            )
        if not found and (misspelt := _misspelt(name, names)):
            raise DataError(f"{index}, line 1: no column '{name}'{misspelt}", hint="rename or remove the column")
        places.append(found[0] if found else -1)
    _say_unused(header, places, index)
    return places


def _say_unused(header: list[str], places: list[int], index: Path) -> None:
    """Who is in a picture may stand in a column of any name; unread, it lets persons cross splits."""
    unused = [f"'{name}'" for place, name in enumerate(header) if name.strip() and column_of(name) is None]
    if unused and places[COLUMNS.index("group")] < 0:
        log.warning(
            "%s: no column says who is in a picture, so each is a group of its own; unused: %s; call one 'group' if it says so",
            index,
            ", ".join(unused[:8]),
        )


def _misspelt(name: str, names: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, [other for other in names if column_of(other) is None], n=1, cutoff=0.75)
    return f"; is '{close[0]}' meant to be it?" if close else ""
