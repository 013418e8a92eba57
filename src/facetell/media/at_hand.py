"""A file as one on this machine's disk, for readers that take a path: what lies in a bucket is fetched, and gone afterwards."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from facetell.buckets import BucketPath
from facetell.buckets.client import answered
from facetell.files import check_space
from facetell.media.kind import HEAD, kind_of_bytes
from facetell.media.limits import Limits
from facetell.pixels.opening import MAX_BYTES

__all__ = ["at_hand"]

_PIECE = 16 * 2**20
"""Bytes of one request."""
_OPEN = Path("/proc/self/fd")


@contextlib.contextmanager
def at_hand(path: Path) -> Iterator[Path]:
    """The path itself, or a temporary copy of what is at an address, of its size and with its time of change.

    Of what no reader takes, as it is too large or of no known kind, only the beginning is fetched, and its size kept. Where
    there is no such file, there is none at the path either.

    Raises ``DataError`` where the bucket is out of reach, lets us in no more, or the disk is full.
    """
    if not isinstance(path, BucketPath):
        yield path
        return
    with contextlib.ExitStack() as stack:
        try:
            status = path.asked()
            if status is None:
                raise FileNotFoundError
            source = stack.enter_context(path.open("rb"))
        except FileNotFoundError:
            yield Path(tempfile.gettempdir(), "facetell-no-such-file", path.name)
            return
        # Of a worker that is killed nothing stays on the disk where an open file needs no name.
        nameless = _OPEN.is_dir()
        file = stack.enter_context((tempfile.TemporaryFile if nameless else tempfile.NamedTemporaryFile)())
        with answered(str(path)):
            _copy(source, file, status.st_size)
        here = _OPEN / str(file.fileno()) if nameless else Path(file.name)
        os.utime(here, ns=(status.st_mtime_ns, status.st_mtime_ns))
        yield here


def _copy(source: IO[bytes], file: IO[bytes], size: int) -> None:
    head = source.read(HEAD)
    file.write(head)
    most = {"picture": MAX_BYTES, "video": Limits().max_bytes}.get(kind_of_bytes(head) or "", 0)
    if size > most:
        file.truncate(size)
    else:
        check_space(Path(tempfile.gettempdir()), size, "fetching a file", "set TMPDIR to a larger disk")
        while piece := source.read(_PIECE):
            file.write(piece)
    file.flush()
