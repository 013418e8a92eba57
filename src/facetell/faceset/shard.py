"""One shard of a face set, a Parquet file: whatever is wrong with it is said with its name and the next step."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from facetell.errors import DataError

__all__ = ["AGAIN", "Shard", "footer_hash"]

AGAIN = "copy it again, or prepare it again: facetell prepare SOURCE -o FACESET --overwrite"


class Shard:
    """An open shard of the face set at ``folder``, checked to be the one that was written; ``said`` is what
    ``faceset.json`` says of it.

    Its end, which says where all else lies, is compared by its hash, and every page that is read by the page's checksum.

    Raises:
        DataError: it is damaged or another file, or lacks one of ``columns``.
    """

    def __init__(self, folder: Path, said: Mapping[str, Any], columns: Sequence[str]) -> None:
        self._folder, self._name = folder, said["file"]
        path = folder / self._name
        try:
            footer = footer_hash(path)
            if footer != said.get("footer", footer):
                raise self._damaged("it is another file than was written")
            self._file = pq.ParquetFile(path, memory_map=False, pre_buffer=False, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(error) from None
        metadata = self._file.metadata
        self.sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        """Rows of each row group."""
        if sum(self.sizes) != said["rows"] or not set(columns) <= set(self._file.schema_arrow.names):
            self._file.close()
            raise self._damaged("it holds other rows or columns than was written")

    def __enter__(self) -> Shard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, columns: list[str], group: int | None = None) -> pa.Table:
        """Some columns of a row group, or of all. Raises ``DataError``."""
        try:
            if group is None:
                return self._file.read(columns=columns, use_threads=False)
            return self._file.read_row_group(group, columns=columns, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(error) from None

    def _damaged(self, why: object) -> DataError:
        said = (str(why).splitlines() or ["no reason"])[0]
        return DataError(f"face set {self._folder}: shard {self._name} cannot be read: {said}", hint=AGAIN)


def footer_hash(path: Path) -> str:
    """SHA-256 (hex) of the end of a Parquet file, which says where all else in it lies."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 8))
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(0, end - 8 - length))
        return hashlib.sha256(file.read()).hexdigest()
