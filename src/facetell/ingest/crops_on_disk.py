"""Crops kept on disk until their face set is written: one Arrow file, called a part, for each photo or video.

They lie in a folder beside the face set. Once a part is complete, a line about it is added to the ledger, a JSON Lines
file. An interrupted run reads the ledger, skips what is done, and makes exactly the same face set.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from facetell.files import whole_file

__all__ = ["COLUMNS", "GO_ON", "Report", "Workplace", "new_part", "part_path", "read_images", "read_tables"]

SCHEMA = pa.schema(
    [
        pa.field("image", pa.binary()),
        pa.field("sha256", pa.binary(32)),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("frame", pa.int32()),
        pa.field("time", pa.float64()),
        pa.field("box", pa.list_(pa.float32())),
        pa.field("landmarks", pa.list_(pa.float32())),
        pa.field("face_score", pa.float32()),
        pa.field("quality", pa.float32()),
        pa.field("scene", pa.int32()),
    ]
)
_METADATA = pa.schema([field for field in SCHEMA if field.name != "image"])
COLUMNS = ("frame", "time", "box", "landmarks", "face_score", "quality", "scene")
"""Columns of a part that are copied into the face set."""

GO_ON = "fix this and run it again: it continues where it stopped"

TRANSIENT = ("timeout", "crashed", "no_access", "missing")
"""Reasons that lie with the machine as well as with the file."""

_PARTS = 1024
"""Parts that are joined at once: a table of each takes 13 kB, which a million photos would fill memory with."""

BATCH_BYTES = 8 * 2**20
"""Size in bytes at which a batch of pictures is written; one batch is read at a time."""


@dataclass
class Report:
    """The result for one photo or video: its kind, how many frames were searched, how many faces were kept.

    ``skips``: (reason, detail) for each frame without a face and each face not used; ``error``: (reason, detail) when
    nothing of the file could be used; ``missing``: which part of it could not be read; ``note``: which picture or
    streams of several were looked at, and what is wrong without changing a pixel.
    """

    key: str
    kind: str = ""
    frames: int = 0
    faces: int = 0
    skips: list[tuple[str, str]] = field(default_factory=list)
    error: tuple[str, str] | None = None
    missing: str = ""
    note: str = ""


class _Part:
    """A part while it is written; holds some megabytes in memory. ``rows``: number of crops so far."""

    def __init__(self, path: Path, file: contextlib.ExitStack) -> None:
        self.rows = 0
        self._path, self._file = path, file
        self._waiting: list[dict[str, Any]] = []
        self._bytes = 0
        self._writer: Any = None

    def add(self, row: dict[str, Any]) -> None:
        """Add one crop: a value for each column of `SCHEMA`."""
        self._waiting.append(row)
        self._bytes += len(row["image"])
        self.rows += 1
        if self._bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the crops that are still in memory."""
        if not self._waiting:
            return
        if self._writer is None:
            partial = self._file.enter_context(whole_file(self._path, hint=GO_ON))
            self._writer = self._file.enter_context(pa.ipc.new_file(str(partial), SCHEMA))
        self._writer.write_batch(pa.RecordBatch.from_pylist(self._waiting, schema=SCHEMA))
        self._waiting, self._bytes = [], 0


@contextlib.contextmanager
def new_part(path: Path) -> Iterator[_Part]:
    """A part to add crops to. The complete file is at ``path`` after the block; there is none without crops or after an error.

    Raises:
        DataError: the disk is full, or refuses.
    """
    with contextlib.ExitStack() as file:
        part = _Part(path, file)
        yield part
        part.flush()


class Workplace:
    """The folder of parts, and the ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ledger = folder / "ledger.jsonl"

    def done(self) -> dict[str, Report]:
        """Reports of finished files by key, without incomplete lines and without reports whose part is missing.

        A file whose worker died or took too long is not finished, nor one that the system did not give: it may have been
        the machine.
        """
        reports: dict[str, Report] = {}
        if self._ledger.is_file():
            for line in self._ledger.read_bytes().split(b"\n"):
                try:
                    values = json.loads(line)
                    report = Report(**{**values, "skips": [tuple(skip) for skip in values["skips"]]})
                except (ValueError, TypeError, KeyError):
                    continue
                if report.error and report.error[0] in TRANSIENT:
                    reports.pop(report.key, None)
                elif not report.faces or part_path(self.folder, report.key).is_file():
                    reports[report.key] = report
        return reports

    def note(self, report: Report) -> None:
        """Add a finished file to the ledger."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._ledger.open("ab") as file:
            # The line break comes first, so that an incomplete line before this one does not spoil it.
            file.write(b"\n" + json.dumps(asdict(report)).encode())


def part_path(folder: Path, key: str) -> Path:
    """The path of the part of a photo or video."""
    return folder / "parts" / key[:2] / f"{key}.arrow"


def read_tables(paths: Iterable[Path]) -> pa.Table:
    """Parts in this order as one table, without their pictures."""
    wanted = [SCHEMA.get_field_index(name) for name in _METADATA.names]
    options = pa.ipc.IpcReadOptions(included_fields=wanted)
    left, whole = iter(paths), [_METADATA.empty_table()]
    while some := [_read(path, options) for path in itertools.islice(left, _PARTS)]:
        whole.append(pa.concat_tables(some).combine_chunks())
    return pa.concat_tables(whole)


def _read(path: Path, options: pa.ipc.IpcReadOptions) -> pa.Table:
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file, options=options).read_all()


def read_images(where: Iterable[tuple[Path, int]]) -> Generator[bytes, None, None]:
    """The pictures at some (part, row) pairs; quickest where rows of one part follow each other in rising order."""
    open_path: Path | None = None
    batches: Iterator[pa.RecordBatch] = iter(())
    images: pa.Array = pa.array([], pa.binary())
    start = 0
    for path, row in where:
        if path != open_path or row < start:
            open_path, batches, start, images = path, _batches(path), 0, pa.array([], pa.binary())
        while row >= start + len(images):
            start += len(images)
            images = next(batches)["image"]
        yield images[row - start].as_py()


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(path)) as file:
        reader = pa.ipc.open_file(file)
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)
