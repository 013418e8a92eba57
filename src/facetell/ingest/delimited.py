"""A table in text, as people's programs write it: its encoding and its delimiter are told from how it begins."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["Table", "encoding_of", "open_table"]

DELIMITERS = ",;\t|"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(start: bytes) -> str:
    """The encoding of text that begins with ``start``: by its mark, by the zero bytes of UTF-16, else UTF-8."""
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    if start[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if start[:1] == b"\0" else "utf-8"


class Table:
    """The records of a table after its header, with the number of the line that each ends on, from 1."""

    def __init__(self, file: IO[str], delimiter: str, before: int) -> None:
        self._reader = csv.reader(file, delimiter=delimiter)
        self._before = before
        self.delimiter = delimiter
        self.header: list[str] = next(self._reader, [])

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        for record in self._reader:
            yield self._before + self._reader.line_num, record


@contextmanager
def open_table(path: Path, fits: Callable[[Sequence[str]], bool]) -> Iterator[Table]:
    """Open a table in text.

    The delimiter is the one that a first line ``sep=;`` names, as Excel writes it; else of ``,``, ``;``, tab and ``|`` the
    one with which the header ``fits``, or the comma.

    Raises OSError, UnicodeDecodeError and csv.Error, also while it is read.
    """
    with path.open("rb") as raw:
        encoding = encoding_of(raw.read(4))
    with path.open(newline="", encoding=encoding) as file:
        first = file.readline()
        named = first.strip(' "\r\n')
        if named.lower().startswith("sep=") and len(named) <= len("sep=;"):
            yield Table(file, named[len("sep=") :] or "\t", 1)
            return
        delimiter = next((mark for mark in DELIMITERS if fits(next(csv.reader([first], delimiter=mark), []))), ",")
        file.seek(0)
        yield Table(file, delimiter, 0)
