"""Pictures decoded once: one file of uint8 pixels per split and size, read back without ever growing in memory.

Decoding costs more than a small network's forward pass and would else be repeated every epoch. The file is a plain
``.npy`` array; it is read with ``pread`` and not memory-mapped, as mapped pages count as the process's memory.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

from facetell.errors import DataError, ImageError, UsageError
from facetell.faceset.cache import ELSEWHERE, cache_dir, cache_limit, prune
from facetell.faceset.table import FaceSet
from facetell.files import check_space, locked, whole_file
from facetell.pixels.decode import decode_resized
from facetell.progress import Progress, Step, silent
from facetell.threads import ordered

__all__ = [
    "PREPROCESSING",
    "DecodedImages",
    "batches",
    "decoded",
    "map_pictures",
    "neighbours",
    "read_rows",
]

PREPROCESSING = 3
"""Version of `decode_resized`'s pixels, part of a cache file's name: raise it whenever they change."""

_CHUNK = 16
_T = TypeVar("_T")


class DecodedImages:
    """An open file of decoded pictures: uint8 (N, size, size, 3), row i being the i-th row of the split.

    Safe to read from many threads. Closed by `close`, or when nobody holds it any more.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        shape, self._offset = _read_header(path)
        self._count, self.size = shape[0], shape[1]
        self._fd = os.open(path, os.O_RDONLY)
        self._closing = weakref.finalize(
            self, os.close, self._fd
        )  # unlike __del__, before Python's own end takes os away

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        if self._fd >= 0:
            self._closing()
            self._fd = -1

    def gather(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Return the pictures at ``indices`` (any order, repeats allowed) as uint8 (B, size, size, 3).

        Raises:
            IndexError: an index outside 0..len-1.
            DataError: the file was closed or cut short meanwhile.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        if len(wanted) and (int(wanted.min()) < 0 or int(wanted.max()) >= self._count):
            raise IndexError(f"indices must be in 0..{self._count - 1}")
        if self._fd < 0:
            raise DataError(f"{self.path} is closed")
        out = np.empty((len(wanted), self.size, self.size, 3), dtype=np.uint8)
        try:
            read_rows(self._fd, wanted, out, self._offset)
        except EOFError:
            raise DataError(f"{self.path} was cut short", hint="delete it; it is made again when needed") from None
        return out

    def batches(self, indices: ArrayLike, batch_size: int) -> Generator[NDArray[np.uint8], None, None]:
        """The pictures at ``indices`` in order, ``batch_size`` at a time; the next batch is read while one is used."""
        rows = np.asarray(indices, dtype=np.int64)
        starts = range(0, len(rows), batch_size)
        yield from ordered(lambda at: self.gather(rows[at : at + batch_size]), starts, 1, "facetell-batches")


def neighbours(places: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """(start, stop, first place) of each run of neighbours in ``places`` (B,): one access to a file for each."""
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    starts = [0, *breaks.tolist()] if len(places) else []
    for start, stop in zip(starts, [*starts[1:], len(places)], strict=False):
        yield start, stop, int(places[start])


def read_rows(descriptor: int, places: NDArray[np.int64], out: NDArray[Any], offset: int = 0) -> None:
    """Fill ``out`` (B, ...) with the rows at ``places`` (B,) of an open file whose equal rows begin at ``offset``.

    Not memory-mapped, as mapped pages count as the process's memory. Raises ``EOFError`` where the file has ended.
    """
    flat = memoryview(out.reshape(-1).view(np.uint8).data)
    size = out.nbytes // max(len(places), 1)
    for start, stop, place in neighbours(places):
        view, done = flat[start * size : stop * size], 0
        while done < len(view):
            piece = os.pread(descriptor, min(len(view) - done, 2**20), offset + place * size + done)
            if not piece:
                raise EOFError(f"row {place}")
            view[done : done + len(piece)] = piece
            done += len(piece)


def decoded(faceset: FaceSet, split: str, size: int, progress: Progress = silent) -> DecodedImages:
    """Return the decoded pictures of a split at ``size`` pixels, from the cache or decoded now (with bounded memory).

    Args:
        progress: told of the decoding; not called if the cache has the pictures.

    Raises:
        DataError: no such split, a picture that does not decode (names it), or not enough space on the disk.
        UsageError: a size that is not positive.
    """
    if size < 1:
        raise UsageError(f"size must be positive, not {size}")
    count = len(faceset.rows(split))
    folder = cache_dir()
    target = folder / f"decoded-{faceset.fingerprint[:24]}-{split}-{size}-v{PREPROCESSING}.npy"
    found = _open_existing(target, count, size)
    if found is not None:
        return found
    with locked(target, hint=ELSEWHERE):
        return _open_existing(target, count, size) or _decode(faceset, split, size, count, target, progress)


def batches(
    faceset: FaceSet, split: str, size: int, batch_size: int, progress: Progress = silent
) -> Generator[NDArray[np.uint8], None, None]:
    """The decoded pictures of a split in order, uint8 (B, size, size, 3) with ``batch_size`` at a time.

    From the cache, as `decoded`; of a split that is larger than all the cache may hold, each is decoded when its turn comes.
    """
    count = len(faceset.rows(split))
    if count * size * size * 3 <= cache_limit():
        yield from decoded(faceset, split, size, progress).batches(np.arange(count), batch_size)
        return
    chunks = faceset.images(split, batch_rows=_CHUNK)
    with contextlib.closing(map_pictures(lambda _, data: decode_resized(data, size), faceset, chunks)) as pictures:
        while batch := list(itertools.islice(pictures, batch_size)):
            yield np.stack(batch)


def _decode(faceset: FaceSet, split: str, size: int, count: int, target: Path, progress: Progress) -> DecodedImages:
    need = count * size * size * 3
    prune(keep=target, coming=need)
    hint = "free some space, or set FACETELL_CACHE to a folder on a larger disk"
    check_space(target.parent, need, f"decoding {count:,} pictures at {size}x{size}", hint)
    with whole_file(target, hint=ELSEWHERE) as partial, partial.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
        npy.write_array_header_1_0(file, header)
        chunks = faceset.images(split, batch_rows=_CHUNK)
        with contextlib.closing(map_pictures(lambda _, data: decode_resized(data, size), faceset, chunks)) as decoding:
            for done, pixels in enumerate(decoding, start=1):
                file.write(pixels.data)
                progress(Step("decoding", done, count, "faces"))
    return DecodedImages(target)


def _open_existing(path: Path, count: int, size: int) -> DecodedImages | None:
    """Open a cache file if it is whole, and note its use; a damaged one is made again."""
    try:
        shape, offset = _read_header(path)
        if shape != (count, size, size, 3) or path.stat().st_size != offset + count * size * size * 3:
            return None
        os.utime(path)
        return DecodedImages(path)
    except (OSError, DataError):
        return None


def _read_header(path: Path) -> tuple[tuple[int, int, int, int], int]:
    """(shape, offset of the pixels) of a file this module wrote."""
    try:
        with path.open("rb") as file:
            npy.read_magic(file)
            shape, fortran, dtype = npy.read_array_header_1_0(file)
            offset = file.tell()
    except ValueError as error:
        raise DataError(f"{path} is no array file: {error}") from None
    if len(shape) != 4 or shape[3] != 3 or fortran or dtype != np.uint8:
        raise DataError(f"{path} holds no decoded pictures")
    return shape, offset


def map_pictures(
    function: Callable[[int, bytes], _T], faceset: FaceSet, chunks: Iterable[tuple[NDArray[np.int64], list[bytes]]]
) -> Generator[_T, None, None]:
    """Call ``function(row, bytes)`` for pictures of a face set in threads; results in order, few chunks in flight.

    ``chunks`` are those of `FaceSet.images` or `FaceSet.pick`.

    Raises:
        DataError: ``function`` raised ``ImageError``, as the picture does not decode; names its row.
    """

    def all_of(chunk: tuple[NDArray[np.int64], list[bytes]]) -> list[_T]:
        found = []
        for row, data in zip(chunk[0].tolist(), chunk[1], strict=True):
            try:
                found.append(function(row, data))
            except ImageError as error:
                raise DataError(
                    f"face set {faceset.path}, row {row}: {error.message}", hint="prepare the face set again"
                ) from None
        return found

    with contextlib.closing(ordered(all_of, chunks)) as parts:
        for found in parts:
            yield from found
