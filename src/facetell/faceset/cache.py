"""The cache folder: decoded pictures, features, and face sets made of plain folders. All in it can be made again.

What is used least recently goes when there is more than the limit; a face set that a process has open stays.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from facetell.errors import UsageError
from facetell.files import clear_leftovers, home

__all__ = ["ELSEWHERE", "Entry", "cache_dir", "cache_limit", "clear", "entries", "facesets_dir", "hold", "prune"]

DEFAULT_LIMIT_GB = 50.0
"""How much the cache holds before the least recently used goes (``FACETELL_CACHE_GB``)."""

ELSEWHERE = "set FACETELL_CACHE to another folder"
"""What to do where the cache folder cannot be written."""

_GB = 1e9
_KINDS = {"decoded": "decoded pictures", "vectors": "features"}


@dataclass(frozen=True)
class Entry:
    """A file or a folder in the cache: what it holds, its bytes, and when it was last used (s since 1970)."""

    path: Path
    kind: str
    bytes: int
    used: float


def cache_dir() -> Path:
    """Where the cache lies: ``FACETELL_CACHE``, else ``XDG_CACHE_HOME/facetell``, else ``~/.cache/facetell``."""
    chosen = os.environ.get("FACETELL_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else home() / ".cache") / "facetell"


def facesets_dir() -> Path:
    """Where face sets lie in the cache."""
    return cache_dir() / "facesets"


def cache_limit() -> float:
    """Bytes that the cache may hold. Raises ``UsageError`` where ``FACETELL_CACHE_GB`` is not a number."""
    text = os.environ.get("FACETELL_CACHE_GB", "")
    try:
        return float(text) * _GB if text else DEFAULT_LIMIT_GB * _GB
    except ValueError:
        raise UsageError(f"FACETELL_CACHE_GB is '{text}', not a number", hint="give gigabytes, e.g. 50") from None


def entries() -> list[Entry]:
    """All that was put into the cache, the least recently used first; other files there are nobody's business."""
    found = []
    for path in _inside(cache_dir()):
        if named := re.match(r"(decoded|vectors)-.*\.npy$", path.name):
            with contextlib.suppress(FileNotFoundError):  # another process may prune
                found.append(Entry(path, _KINDS[named[1]], path.stat().st_size, path.stat().st_mtime))
    for path in _inside(facesets_dir()):
        if path.is_dir() and not path.name.startswith("."):
            with contextlib.suppress(FileNotFoundError):
                size = sum(file.stat().st_size for file in path.iterdir())
                found.append(Entry(path, "face set", size, path.stat().st_mtime))
    return sorted(found, key=lambda entry: (entry.used, entry.path))


def prune(keep: Path | None = None, coming: int = 0) -> list[Path]:
    """Delete what was used least recently until the cache and ``coming`` bytes fit `cache_limit`; returns what went.

    ``keep`` and face sets that are held stay. A file that another process has open stays readable there until it closes
    it.
    """
    limit, total, removed = cache_limit(), float(coming), []
    for folder in (cache_dir(), facesets_dir()):
        clear_leftovers(folder)
    found = entries()
    total += sum(entry.bytes for entry in found)
    for entry in found:
        if total <= limit:
            break
        if entry.path != keep and _removed(entry.path):
            removed.append(entry.path)
            total -= entry.bytes
    return removed


def clear() -> list[Path]:
    """Delete all of the cache but face sets that are held; returns what went."""
    for folder in (cache_dir(), facesets_dir()):
        clear_leftovers(folder)
    return [entry.path for entry in entries() if _removed(entry.path)]


def hold(owner: object, file: Path) -> None:
    """Note the use of the face set in the cache that ``file`` describes, and keep it as long as ``owner`` is there."""
    if file.parent.parent.resolve() != facesets_dir().resolve():
        return
    with contextlib.suppress(OSError):  # it is gone, or its file system knows no locks
        opened = os.open(file, os.O_RDONLY)
        weakref.finalize(owner, os.close, opened)
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.utime(file.parent)


def _removed(path: Path) -> bool:
    """Whether a file or folder of the cache could be deleted."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return True
    with contextlib.ExitStack() as stack:
        described = [file for file in path.iterdir() if file.suffix == ".json"]
        try:
            for file in described:
                opened = os.open(file, os.O_RDONLY)
                stack.callback(os.close, opened)
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
        shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


def _inside(folder: Path) -> Iterator[Path]:
    yield from folder.iterdir() if folder.is_dir() else ()
