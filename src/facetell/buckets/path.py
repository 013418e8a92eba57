"""A path in a bucket that answers as one on a disk does, and the questions that are asked of both."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

from facetell.buckets.client import ADDRESS, answered, check_address, client, is_bucket
from facetell.buckets.listing import Listing, status_of
from facetell.errors import UsageError

__all__ = ["BucketPath", "is_file", "is_folder", "is_there", "list_names", "look", "place", "status"]

_BUFFER = 2**16
"""Bytes of one request where a file is looked into."""


class _Looked:
    """What `look` found, the last few addresses."""

    most = 8
    listings: dict[str, Listing] = {}  # noqa: RUF012  one for the process


class BucketPath(type(Path())):  # type: ignore[misc]  # whose class depends on the system
    """``s3://bucket/key`` or ``gs://bucket/key``. What `look` has listed is answered from that; else the bucket is asked."""

    __slots__ = ()

    def __str__(self) -> str:
        return ADDRESS.sub(r"\1://", super().__str__(), count=1)

    @property
    def key(self) -> str:
        """The bucket's name and the key, as pyarrow takes them."""
        return "/".join(self.parts[1:])

    def client(self) -> Any:
        """The file system that sees it."""
        if len(self.parts) < 2:
            raise UsageError(f"'{self}//' names no bucket", hint="s3://BUCKET/FOLDER")
        return client(self.parts[0][:-1], self.parts[1])

    def resolve(self, strict: bool = False) -> BucketPath:
        """It is resolved: buckets have no links."""
        return self

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """As of a file on a disk; a folder has no size and no time."""
        listing, name = self._listed()
        found = listing.status(name) if listing else self.asked()
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return found

    def _listed(self) -> tuple[Listing | None, str]:
        """The latest listing that it is part of, and its name there."""
        words = str(self)
        for root, listing in reversed(_Looked.listings.items()):
            if words == root or words.startswith(f"{root}/"):
                return listing, words[len(root) + 1 :]
        return None, ""

    def asked(self) -> os.stat_result | None:
        """What the bucket says of it now; None where there is nothing."""
        with answered(str(self)):
            info = self.client().get_file_info([self.key])[0]
        if info.is_file:
            return status_of(info.size, info.mtime_ns or 0)
        return status_of(0, 0, folder=True) if info.type.name == "Directory" else None

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """See `is_there`."""
        return is_there(self)

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """See `is_folder`."""
        return is_folder(self)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """See `is_file`."""
        return is_file(self)

    def iterdir(self) -> Generator[BucketPath, None, None]:
        """What is in a folder, in the order of names."""
        yield from (self / name for name in list_names(self))

    def open(
        self, mode: str = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:  # fmt: skip
        """Read it where it lies, a piece at a time. Raises ``OSError`` where there is none."""
        with answered(str(self)):
            raw = self.client().open_input_file(self.key)
        file: Any = io.BufferedReader(raw, _BUFFER)
        return file if "b" in mode else io.TextIOWrapper(file, encoding, errors, newline)


def place(path: str | Path) -> Path:
    """The path, as a `BucketPath` where it is an address. Raises ``UsageError`` for an address of another kind."""
    if isinstance(path, BucketPath):
        return path
    if is_bucket(path):
        return BucketPath(path)
    check_address(path)
    return Path(path)


def look(path: Path) -> None:
    """Ask once for all that is below an address, so that nothing more is asked for names, sizes and times; of a path on a disk
    nothing is asked.

    Raises ``DataError`` where the bucket is not there, is out of reach, or does not let us in.
    """
    if not isinstance(path, BucketPath):
        return
    from pyarrow import fs

    found, address = path.client(), str(path)
    try:
        with answered(address):
            infos = found.get_file_info(fs.FileSelector(path.key, recursive=True))
    except FileNotFoundError:
        infos = []
    _Looked.listings.pop(address, None)
    while len(_Looked.listings) >= _Looked.most:
        del _Looked.listings[next(iter(_Looked.listings))]
    if infos:
        _Looked.listings[address] = Listing.of(infos, path.key, address)


def list_names(folder: str | Path) -> list[str]:
    """Names in a folder, in any order, as ``os.listdir`` gives them. Raises ``OSError``."""
    if not is_bucket(folder):
        return os.listdir(folder)  # noqa: PTH208  names alone: half a million directory entries take 150 MB
    path = BucketPath(folder)
    listing, name = path._listed()
    if listing is None:
        look(path)
        listing, name = path._listed()
    if listing is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    return list(listing.in_folder(name))


def status(path: str | Path) -> os.stat_result:
    """As ``os.stat``. Raises ``OSError``, and ``ValueError`` for a name that no file can have."""
    return BucketPath(path).stat() if is_bucket(path) else os.stat(path)  # noqa: PTH116  a Path for each of 500,000 files is slow


def is_there(path: str | Path) -> bool:
    """Whether something is there, as ``os.path.exists`` says, which does not raise for a name that no file can have."""
    return _mode(path) is not None


def is_folder(path: str | Path) -> bool:
    """Whether it is a folder, as ``os.path.isdir`` says."""
    return stat.S_ISDIR(_mode(path) or 0)


def is_file(path: str | Path) -> bool:
    """Whether it is a file, as ``os.path.isfile`` says."""
    return stat.S_ISREG(_mode(path) or 0)


def _mode(path: str | Path) -> int | None:
    try:
        return status(path).st_mode
    except (OSError, ValueError):
        return None
