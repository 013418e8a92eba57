"""The files that paths, folders and patterns stand for."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from facetell.buckets import BucketPath, is_file, is_folder, is_there, list_names, look, place
from facetell.names import shown_name

__all__ = ["DRAWN", "find_files"]

log = logging.getLogger("facetell")

DRAWN = "drawn by facetell detect --annotate"
"""What every picture of a verdict carries, near its begin or its end."""

_DRAWN_NAME = re.compile(r"-[0-9a-f]{8}(\.jpg|\.strip\.jpg|\.mp4|\.scores\.png)$")
_DRAWN_WITHIN = 2**16


def find_files(paths: Iterable[str | Path]) -> Iterator[Path]:
    """The files that paths, folders and patterns stand for. What does not exist stays, to get its verdict.

    They may lie in a bucket, where patterns are not looked for. Raises ``DataError`` where that cannot be read, and
    ``UsageError`` for an address of another kind.

    Pictures that ``detect --annotate`` drew are left out, which is logged: they lie among what is judged at times.
    """
    drawn = 0
    for path in _found(paths):
        if _is_drawing(path):
            drawn += 1
        else:
            yield path
    if drawn:
        log.info("left out: %d pictures of verdicts, drawn by detect --annotate", drawn)


def _is_drawing(path: Path) -> bool:
    """Whether a file is a picture of a verdict, by its name and its content."""
    if not _DRAWN_NAME.search(path.name) or not is_file(path):
        return False
    try:
        with path.open("rb") as file:
            begin = file.read(_DRAWN_WITHIN)
            file.seek(max(0, path.stat().st_size - _DRAWN_WITHIN))
            return DRAWN.encode() in begin + file.read()
    except (OSError, ValueError):
        return False


def _found(paths: Iterable[str | Path]) -> Iterator[Path]:
    for path in map(place, paths):
        # Not the methods of `Path`, which raise for a name that no file can have.
        if isinstance(path, BucketPath) and not is_file(path):
            look(path)
        if is_folder(path):
            empty = True
            for file in _below(path, frozenset()):
                empty = False
                yield file
            if empty:
                log.warning("%s holds no file", shown_name(str(path)))
        elif not isinstance(path, BucketPath) and not is_there(path) and any(mark in str(path) for mark in "*?["):
            # A folder may be called clips [HD].
            matches = _matches(str(path)) or _matches(str(path).replace("[", "[[]"))
            for match in map(Path, matches):
                yield from _below(match, frozenset()) if match.is_dir() else (match,)
            if not matches:
                yield path
        else:
            yield path


def _matches(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  absolute patterns too


def _below(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    """All files below a folder but hidden ones, its own before those of its sub-folders; links are followed, loops are
    not. A folder that cannot be read is given itself, to get its verdict."""
    above |= {os.path.realpath(folder)}
    try:
        there = sorted(name for name in list_names(folder) if not name.startswith("."))
    except OSError:
        yield folder
        return
    folders = [name for name in there if (folder / name).is_dir()]
    inside = set(folders)
    yield from (folder / name for name in there if name not in inside)
    for name in folders:
        if os.path.realpath(folder / name) not in above:
            yield from _below(folder / name, above)
