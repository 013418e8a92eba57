"""Rows of numbers in half precision, kept in files without a name: scratch space that never outlives the process."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from facetell.errors import DataError
from facetell.faceset.decoded import neighbours, read_rows
from facetell.files import check_space

__all__ = ["HalfRows"]


class HalfRows:
    """``files`` files in ``folder``, each of ``rows`` arrays of ``shape`` as float16; made at the first writing.

    ``hint`` is said when the disk is too small.
    """

    def __init__(self, folder: Path, rows: int, shape: tuple[int, ...], files: int, hint: str) -> None:
        self.shape = shape
        self._folder, self._rows, self._count, self._hint = folder, rows, files, hint
        self._bytes = 2 * math.prod(shape)
        self._files: dict[int, IO[bytes]] = {}

    def __del__(self) -> None:
        for file in getattr(self, "_files", {}).values():
            file.close()

    def write(self, number: int, places: NDArray[np.int64], values: NDArray[np.float16]) -> None:
        """Put ``values`` (B, *shape) at ``places`` (B,), rising, of file ``number``.

        Raises:
            DataError: there is not enough space, or the folder cannot be written.
        """
        try:
            if not self._files:
                need = self._rows * self._bytes * self._count
                check_space(self._folder, need, f"keeping {self._count} × {self._rows:,} maps", self._hint)
            if number not in self._files:
                self._files[number] = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - kept open
            flat = memoryview(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
            for start, stop, place in neighbours(places):
                view, done = flat[start * self._bytes : stop * self._bytes], 0
                while done < len(view):
                    done += os.pwrite(self._files[number].fileno(), view[done:], place * self._bytes + done)
        except OSError as error:
            raise DataError(f"cannot write in {self._folder}: {error.strerror}", hint=self._hint) from None

    def read(self, number: int, places: NDArray[np.int64]) -> NDArray[np.float16]:
        """Rows (B, *shape) at ``places`` of file ``number``, in any order; all must have been written."""
        out = np.empty((len(places), *self.shape), np.float16)
        try:
            read_rows(self._files[number].fileno(), places, out)
        except EOFError as error:
            raise IndexError(f"{error} was never written") from None
        return out
