"""Writing files and folders whole or not at all, locks between processes, and hashes.

All that is written takes the same way: `whole_file` and `whole_folder` give a place beside the target, ``.NAME.partial``.
When their block ends well, everything is flushed to the disk and renamed to the target; else it is removed. Meanwhile
the target is locked (``.NAME.lock``), so two processes never write the same one at once. A lock is the operating
system's: it ends with its process, however that ends. What a killed process leaves, the next one to lock the same target
clears away.
"""

from __future__ import annotations

import contextlib
import csv
import ctypes
import errno
import functools
import hashlib
import inspect
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from facetell.buckets import is_bucket
from facetell.errors import DataError

__all__ = [
    "FULL",
    "alone",
    "check_space",
    "clear_leftovers",
    "home",
    "locked",
    "sha256_of",
    "whole_file",
    "whole_folder",
    "write_csv",
    "write_error",
    "write_text",
]

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("facetell")

PATIENCE = 1.0
"""Seconds after which a process that waits for another says so."""

FULL = (errno.ENOSPC, errno.EDQUOT)
_RESERVE = 256 * 2**20
_GB = 1e9
_HERE = -100
"""``AT_FDCWD`` of Linux: a path that is not absolute begins in the current folder."""
_SWAP = 2
"""``RENAME_EXCHANGE`` of Linux and ``RENAME_SWAP`` of macOS."""


def home() -> Path:
    """The user's folder; where the system knows none (a container that runs as a number), the root, as container engines say."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(path: Path, *, hint: str | None = None) -> Iterator[None]:
    """Be the only process, and the only thread, that makes or changes the file or folder ``path``; others wait here.

    After a second the wait is logged. A thread may lock a path again that it has locked already.

    Raises:
        DataError: there can be no file beside ``path``; with ``hint``.
    """
    if is_bucket(path):
        raise DataError(
            f"{path} cannot be written: results go to a disk", hint="give a folder here, and copy it there afterwards"
        )
    target = _resolved(path)
    from filelock import Timeout

    with contextlib.ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(_held(target, PATIENCE))
            except Timeout:
                log.warning("waiting for another process that writes %s", path)
                stack.enter_context(_held(target, -1))
        except OSError as error:
            raise write_error(path, error, hint) from None
        yield


@contextlib.contextmanager
def whole_file(path: Path, *, hint: str | None = None) -> Iterator[Path]:
    """Give a path to write to; the file becomes ``path``, in place of the one there, once the block ends well.

    Raises:
        DataError: the disk is full or refuses; with ``hint``.
    """
    with _replacing(path, hint) as (partial, target):
        yield partial
        _flush(partial)
        partial.replace(target)


@contextlib.contextmanager
def whole_folder(path: Path, *, hint: str | None = None) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes ``path``, in place of what is there, once the block ends well.

    Raises:
        DataError: the disk is full or refuses; with ``hint``.
    """
    with _replacing(path, hint) as (partial, target):
        partial.mkdir()
        yield partial
        for inside in partial.rglob("*"):
            _flush(inside)
        _flush(partial)
        _swap(partial, target)


@contextlib.contextmanager
def _replacing(path: Path, hint: str | None) -> Iterator[tuple[Path, Path]]:
    """A place beside ``path`` to write to, and where that belongs; locked meanwhile, and without litter afterwards."""
    with locked(path, hint=hint):
        target = _resolved(path)
        if target.exists() and not (target.is_file() or target.is_dir()):  # /dev/null would become a file
            raise DataError(f"cannot write {path}: it is a device or a pipe", hint=hint or "give the name of a file")
        partial = _beside(target, "partial")
        try:
            yield partial, target
            _flush(target.parent)
        except OSError as error:
            raise write_error(path, error, hint) from error
        finally:
            _remove(partial)


def alone(argument: str, place: Callable[[Any], Path | None] = Path) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have one process at a time call a function for the path that is its ``argument``: it is `locked` meanwhile.

    ``place`` gives the path to lock for the argument, or None for no lock. Of several processes that train together
    (torchrun) the first locks for all.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs).arguments.get(argument)
            together = os.environ.get("RANK", "0") != "0"
            path = None if given is None or together else place(given)
            with contextlib.nullcontext() if path is None else locked(path):
                return function(*args, **kwargs)

        return call

    return decorate


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8, line breaks as they are) whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV table whole or not at all."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def write_error(path: Path, error: Exception, hint: str | None = None) -> DataError:
    """The error to raise where ``path`` could not be written; a full disk is told from a place that refuses."""
    if getattr(error, "errno", None) in FULL or "No space left" in str(error):
        return DataError(f"the disk is full: cannot write {path}", hint=hint or "free some space, or give another disk")
    return DataError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}", hint=hint)


def check_space(folder: Path, need: int, task: str, hint: str) -> None:
    """Refuse, with ``hint``, a ``task`` that would write ``need`` bytes to ``folder`` and fill its disk.

    Raises:
        DataError: fewer bytes are free, or it would leave next to none.
    """
    free = shutil.disk_usage(folder).free
    if need + _RESERVE > free:
        raise DataError(f"{task} needs {need / _GB:.1f} GB in {folder}, {free / _GB:.1f} GB are free", hint=hint)


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes left in ``folder``; what a living one is writing stays."""
    from filelock import Timeout

    for lock in folder.glob(".*.lock"):
        with contextlib.suppress(Timeout, OSError), _held(folder / lock.name[1:-5], 0):
            pass


def _resolved(path: Path) -> Path:
    """The path behind links: a link stays, and whoever comes by another way meets the same lock."""
    return Path(os.path.realpath(path))


def _beside(target: Path, what: str) -> Path:
    return target.with_name(f".{target.name}.{what}")


@contextlib.contextmanager
def _held(target: Path, seconds: float) -> Iterator[None]:
    """Hold the lock of ``target``, which is waited for so long; -1: for ever. Raises ``filelock.Timeout``."""
    from filelock import FileLock

    file = _beside(target, "lock")
    lock = FileLock(file, is_singleton=True)
    outermost = not lock.is_locked
    file.touch()  # where there can be no file, filelock would wait for ever
    lock.acquire(timeout=seconds)
    try:
        if outermost:
            _clear(target)
        yield
    finally:
        if outermost:  # removed while it is held: whoever has opened it meanwhile finds it gone, and opens it anew
            with contextlib.suppress(OSError):
                file.unlink()
        lock.release()


def _clear(target: Path) -> None:
    """Put right what a process left that was killed: before the new folder stood, or after it."""
    _restore(target)
    for left in ("old", "partial"):
        _remove(_beside(target, left))


def _swap(fresh: Path, target: Path) -> None:
    """Put the folder ``fresh`` at ``target``; what was there is removed only once the new one stands.

    Both change places in one step where system and disk can do that. Else a kill may come between two renames: then
    nothing is at ``target`` until the next one to lock it puts the old folder back.
    """
    old = _beside(target, "old")
    try:
        if target.exists():
            if _exchange(fresh, target):
                return
            target.replace(old)
        fresh.replace(target)
    except BaseException:
        _restore(target)
        raise
    _remove(old)


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; False where that cannot be done."""
    if sys.platform not in ("linux", "darwin"):
        return False
    system = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    with contextlib.suppress(AttributeError):  # a C library that has no such function
        if sys.platform == "darwin":
            return bool(system.renamex_np(*names, _SWAP) == 0)
        return bool(system.renameat2(_HERE, names[0], _HERE, names[1], _SWAP) == 0)
    return False


def _restore(target: Path) -> None:
    """Put back what stood at ``target``, if it was moved away and nothing has come in its place."""
    old = _beside(target, "old")
    if old.exists() and not target.exists():
        old.replace(target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have a file, or a folder's list of names, on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems flush no folders
            raise
    finally:
        os.close(opened)
