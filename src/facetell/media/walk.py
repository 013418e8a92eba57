"""The files that paths, folders and patterns stand for."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["find_files"]


def find_files(paths: Iterable[str | Path]) -> Iterator[Path]:
    """The files that paths, folders and patterns stand for. What does not exist stays, to get its verdict."""
    for path in map(Path, paths):
        # Not the methods of `Path`, which raise for a name that no file can have.
        if os.path.isdir(path):  # noqa: PTH112
            yield from _below(path, frozenset())
        elif not os.path.exists(path) and any(mark in str(path) for mark in "*?["):  # noqa: PTH110
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
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208  names alone
    except OSError:
        yield folder
        return
    folders = [name for name in names if (folder / name).is_dir()]
    inside = set(folders)
    yield from (folder / name for name in names if name not in inside)
    for name in folders:
        if os.path.realpath(folder / name) not in above:
            yield from _below(folder / name, above)
