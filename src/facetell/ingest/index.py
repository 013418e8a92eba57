"""Reads an index: a CSV or Parquet table ``path,label[,group,source,split]`` of pictures anywhere on the disk."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from facetell.errors import DataError, near_miss
from facetell.faceset.rows import RowBuilder, Rows
from facetell.faceset.splits import SPLITS
from facetell.ingest.spellings import LABEL_WORDS, SPLIT_WORDS, label_of, split_of

__all__ = ["COLUMNS", "has_index_header", "read_index"]

COLUMNS = ("path", "label", "group", "source", "split")
"""Columns of an index; the first two are required, the cells of the others may be empty."""

_REQUIRED = 2
_DIGITS = {"0": 0, "1": 1}


def has_index_header(path: Path) -> bool:
    """Whether a CSV file's first line names the columns path and label."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    names = {name.strip().lower() for name in header}
    return {"path", "label"} <= names


def read_index(index: Path) -> Rows:
    """Read an index; paths in it are relative to its folder, or absolute.

    Labels are real/fake, 0/1 (0 = real), or any spelling of `LABEL_WORDS`. A row without group is a group of its own;
    a row without source comes from the index's folder name.

    Raises:
        DataError: a missing or misspelt column, an unknown label or split word, a path that does not exist or is
            there twice; names the line (of a Parquet index: the row, from 1).
    """
    builder = RowBuilder(index.parent)
    default_source = index.resolve().parent.name or "pictures"
    unit = "line" if index.suffix.lower() == ".csv" else "row"
    for number, cells in _read_cells(index):
        where = f"{index}, {unit} {number}"
        path, label_word, group, source, split_word = cells
        if not path:
            raise DataError(f"{where}: the path is empty")
        path = os.path.normpath(path)
        label = _label(label_word, where)
        split = _split(split_word, where)
        full = index.parent / path
        if not full.is_file():
            raise DataError(
                f"{where}: {path} does not exist{_near_file(full)}", hint="paths are relative to the index's folder"
            )
        builder.add(path, label, group or None, source or default_source, split)
    rows = builder.build()
    _refuse_duplicates(rows, index, unit)
    return rows


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
        return near_miss(full.name, [entry.name for entry in os.scandir(full.parent)])
    except OSError:
        return ""


def _refuse_duplicates(rows: Rows, index: Path, unit: str) -> None:
    counts = pc.value_counts(rows.paths)
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if not len(twice):
        return
    first = twice[0]["values"].as_py()
    numbers = [number for number, cells in _read_cells(index) if os.path.normpath(cells[0]) == first]
    raise DataError(
        f"{index}: {first} is listed {len(numbers)} times, in {unit}s {', '.join(map(str, numbers[:5]))}"
        + (f" ({len(twice)} such paths)" if len(twice) > 1 else ""),
        hint="list every picture once",
    )


def _read_cells(index: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line or row number, cells in the order of `COLUMNS`, stripped) for every row, streamed."""
    return _read_csv(index) if index.suffix.lower() == ".csv" else _read_parquet(index)


def _read_csv(index: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    try:
        with index.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            places = _places(header, index)
            for record in reader:
                if not any(record):
                    continue
                if len(record) != len(header):
                    raise DataError(
                        f"{index}, line {reader.line_num}: {len(record)} cells where the header has {len(header)}",
                        hint="put a path that holds a comma in double quotes",
                    )
                yield reader.line_num, tuple(record[place].strip() if place >= 0 else "" for place in places)
    except UnicodeDecodeError as error:
        raise DataError(f"{index} is not UTF-8 text: {error.reason}", hint="save the index as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{index} is not a CSV file: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {index}: {error.strerror}") from None


def _read_parquet(index: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(index) as file:
            header = file.schema_arrow.names
            places = _places(header, index)
            wanted = [header[place] for place in places if place >= 0]
            number = 0
            for batch in file.iter_batches(batch_size=16_384, columns=wanted):
                columns = [batch.column(header[p]).cast(pa.string()).to_pylist() if p >= 0 else None for p in places]
                for i in range(batch.num_rows):
                    number += 1
                    yield number, tuple((column[i] or "").strip() if column else "" for column in columns)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot read {index}: {str(error).splitlines()[0]}") from None


def _places(header: list[str], index: Path) -> list[int]:
    """Where each of `COLUMNS` is in the header, -1 if absent."""
    names = [name.strip().lower() for name in header]
    for name in COLUMNS[:_REQUIRED]:
        if name not in names:
            shown = ", ".join(f"'{column}'" for column in header[:8]) or "nothing"
            semicolons = len(header) == 1 and any(mark in header[0] for mark in ";\t")
            hint = (
                "separate the columns with commas"
                if semicolons
                else "the header must name path,label[,group,source,split]"
            )
            raise DataError(f"{index}, line 1: no column '{name}' in {shown}{_misspelt(name, names)}", hint=hint)
    for name in COLUMNS[_REQUIRED:]:
        if name not in names and (misspelt := _misspelt(name, names)):
            raise DataError(f"{index}, line 1: no column '{name}'{misspelt}", hint="rename or remove the column")
    for name in COLUMNS:
        if names.count(name) > 1:
            raise DataError(f"{index}, line 1: the column '{name}' is there {names.count(name)} times")
    return [names.index(name) if name in names else -1 for name in COLUMNS]


def _misspelt(name: str, names: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, [other for other in names if other not in COLUMNS], n=1, cutoff=0.75)
    return f"; is '{close[0]}' meant to be it?" if close else ""
