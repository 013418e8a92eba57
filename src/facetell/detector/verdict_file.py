"""A file of verdicts, JSON Lines: what ``detect -o`` writes and goes on with, one line for each path.

A verdict is added to the end at once, so that a kill loses at most the one in work. One that takes the place of another
stands there beside it until the file is put in order, whole or not at all; meanwhile the later line counts.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from facetell.detector.verdict import FileStamp, Verdict
from facetell.errors import DataError, UsageError
from facetell.files import whole_file

__all__ = ["VerdictFile", "latest_lines"]

ELSEWHERE = "give another file with -o"
_PATH = b'{"path": '
_STATUS = b', "status": '
_FACES = b', "faces": ['
"""What follows the path, and where the long part of a line begins. Not within a string: quotes have a backslash there."""


class VerdictFile:
    """The verdicts at ``path``, to add to; what is no whole line at its end, as a kill leaves it, is cut off.

    Of half a million lines only their places are kept in memory. Raises ``UsageError`` for a file that cannot be written
    or holds a line that is no verdict.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists() and not path.is_file():  # a device may be read for ever
            raise UsageError(f"{path} is not a regular file", hint=f"{ELSEWHERE}; --json prints to standard output")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as opened:
                self._file = opened.enter_context(path.open("a+b"))
                self._places, self._end = _places(self._file, path)
                self._file.truncate(self._end)
                opened.pop_all()
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror or error}", hint=ELSEWHERE) from None
        self._kept = sum(stop - start for start, stop in self._places.values())

    def holds(self, path: str, settings: str, drawn: Path | None = None) -> bool:
        """Whether there is a decision on the file, by the same ``settings`` (see `Verdict`) and no other file has come in its
        place; where a folder of pictures is given, they must be there."""
        place = self._places.get(path)
        if place is None:
            return False
        try:
            said = _head(self._line(place))
            if said["decision"] is None or said["settings"] != settings or said["file"] is None:
                return False
            pictures = [drawn / name for name in said["pictures"]] if drawn else []
            there = drawn is None or bool(pictures)
            return there and all(map(os.path.isfile, pictures)) and not FileStamp(**said["file"]).replaced(path)
        except (ValueError, KeyError, TypeError):
            return False  # as it was written by an earlier version, or by hand: judged again

    def add(self, verdict: Verdict) -> None:
        """Write a verdict, in place of an earlier one on the same path. Raises ``DataError``."""
        line = json.dumps(verdict.as_dict()).encode() + b"\n"
        old = self._places.get(verdict.path)
        if old is not None and self._line(old) == line:
            return
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise DataError(f"cannot write {self.path}: {error.strerror}", hint="run it again to go on") from None
        self._places[verdict.path] = self._end, self._end + len(line)
        self._end += len(line)
        self._kept += len(line) - (old[1] - old[0] if old else 0)

    def close(self) -> None:
        """Put the file in order, if a line was superseded: a path keeps its place. Raises ``DataError``."""
        if self._kept < self._end:
            with whole_file(self.path, hint="run it again to go on") as partial, partial.open("wb") as file:
                for place in self._places.values():
                    file.write(self._line(place))
        self._file.close()

    def _line(self, place: tuple[int, int]) -> bytes:
        self._file.seek(place[0])
        return self._file.read(place[1] - place[0])


def latest_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of a file of verdicts, but for lines that a later one on the same path supersedes: there are
    some where a run was killed. A line that is no verdict is given too. Raises ``OSError`` and ``UnicodeDecodeError``."""
    last: dict[str | int, int] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            last[_path_of(line) or number] = number
    with path.open(encoding="utf-8") as texts:
        kept = set(last.values())
        yield from ((number, text) for number, text in enumerate(texts, start=1) if number in kept)


def _places(file: IO[bytes], path: Path) -> tuple[dict[str, tuple[int, int]], int]:
    """Where the last line of each path lies (start, stop), in the order of their first ones; and where the last whole
    line ends."""
    places: dict[str, tuple[int, int]] = {}
    end = 0
    file.seek(0)
    for number, line in enumerate(file, start=1):
        if not line.endswith(b"\n"):
            break
        named = _path_of(line)
        if named is None:
            raise UsageError(f"{path}, line {number} is no verdict", hint=ELSEWHERE)
        places[named] = end, end + len(line)
        end += len(line)
    return places, end


def _path_of(line: bytes) -> str | None:
    """The path that a line is about; None for one that is no verdict."""
    if line.startswith(_PATH):  # as it is written here: the rest need not be read
        with contextlib.suppress(ValueError):
            return str(json.loads(line[len(_PATH) :].split(_STATUS, 1)[0].decode()))
    try:
        path = json.loads(line)["path"]
    except (ValueError, KeyError, TypeError):
        return None
    return path if isinstance(path, str) else None


def _head(line: bytes) -> dict[str, Any]:
    """What a line says, without its faces and tracks where it was written here."""
    head, faces, _ = line.partition(_FACES)
    return dict(json.loads((head + b"}" if faces else line).decode()))
