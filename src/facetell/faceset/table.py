"""A face set: a folder of Parquet shards with one row per face crop, and ``faceset.json`` that says what is in it.

Opens as it is in pandas, DuckDB, Hugging Face ``datasets`` and Ray Data. Reading streams by row group (about 64
pictures) with plain reads, so that memory stays the same however large the set.
"""

from __future__ import annotations

import hashlib
import html
import importlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from facetell.errors import DataError, MissingExtraError, UsageError, near_miss
from facetell.faceset.cache import hold
from facetell.faceset.on_hub import INFO_FILE, SKIPPED_FILE, located_faceset
from facetell.faceset.shard import AGAIN, Shard
from facetell.faceset.splits import SPLITS
from facetell.files import sha256_of
from facetell.labels import LABELS

__all__ = [
    "FINGERPRINTED",
    "FORMAT",
    "INFO_FILE",
    "SCHEMA",
    "SKIPPED_FILE",
    "VERSION",
    "FaceSet",
    "FaceSetLike",
    "fingerprint",
    "source_path",
]

FORMAT = "facetell.faceset"
VERSION = 2

SCHEMA = pa.schema(
    [
        pa.field("image", pa.binary(), nullable=False),  # the original file's bytes
        pa.field("format", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),  # as shown, EXIF orientation applied
        pa.field("height", pa.int32(), nullable=False),
        pa.field("label", pa.int8(), nullable=False),  # 0 = real, 1 = fake
        pa.field("group", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("frame", pa.int32()),  # the rest is null for pictures that came as crops
        pa.field("time", pa.float64()),
        pa.field("box", pa.list_(pa.float32())),
        pa.field("landmarks", pa.list_(pa.float32())),
        pa.field("face_score", pa.float32()),
        pa.field("quality", pa.float32()),
        pa.field("scene", pa.int32()),
        pa.field("sha256", pa.string(), nullable=False),  # of the image bytes
    ]
)
"""Columns of every shard."""


FINGERPRINTED = ("sha256", "label", "group", "source", "split")
"""What a face set's fingerprint covers, in this order."""


class _Use:
    """Stands for the use of a face set; gone with the last that has it."""


class FaceSet:
    """A face set on disk, opened for reading.

    Rows are numbered 0..len-1 over the shards in their order; the rows of one split are contiguous (`rows`).
    """

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path = path
        self.info = info
        self.created = False
        """Whether `prepare` has just written it (False: it was there already)."""
        sizes = [int(shard["rows"]) for shard in info["shards"]]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
        self._use: _Use | None = None
        self._row_groups: dict[int, NDArray[np.int64]] = {}

    @classmethod
    def open(cls, path: Path | str) -> FaceSet:
        """Open a face set; checks its version and that every shard is there with its size (`verify` reads the content).

        ``path``: its folder, or ``hf://owner/name[@revision]``, which is fetched and read whole the first time.

        Raises:
            DataError: not a face set, a later version, or shards that are missing, extra or of another size.
            HubError: the hub has none there, or is out of reach.
        """
        path = located_faceset(path)
        held = _Use()
        hold(held, path / INFO_FILE)  # before a look at it: from now on it stays
        info = _read_info(path)
        shards = {str(shard["file"]): int(shard["bytes"]) for shard in info["shards"]}
        present = {file.name: file.stat().st_size for file in path.glob("*.parquet")}
        for what, names in (
            ("is missing", shards.keys() - present.keys()),
            ("does not belong to it", present.keys() - shards.keys()),
            (
                "has another size than when it was written",
                {n for n in shards.keys() & present.keys() if shards[n] != present[n]},
            ),
        ):
            if names:
                more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
                raise DataError(f"face set {path}: shard {min(names)}{more} {what}", hint=AGAIN)
        found = cls(path, info)
        found._use = held
        return found

    @classmethod
    def open_if_whole(cls, path: Path) -> FaceSet | None:
        """Open a face set that can be made again; None where there is none, or a damaged one."""
        if not (path / INFO_FILE).is_file():
            return None
        try:
            return cls.open(path)
        except DataError:
            return None

    schema = SCHEMA
    """Names and types of the columns."""

    def __repr__(self) -> str:
        splits = ", ".join(f"{split} {self.info['splits'][split]:,}" for split in self.splits)
        return f"<FaceSet {self.path.name}: {len(self):,} faces; {splits}>"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{word}</th>" for word in ("split", *LABELS, "sources"))
        rows = ""
        for split in self.splits:
            labels = self.info["counts"][split]
            numbers = "".join(f"<td>{sum(labels.get(label, {}).values()):,}</td>" for label in LABELS)
            sources = html.escape(", ".join(sorted({source for named in labels.values() for source in named})))
            rows += f"<tr><th>{split}</th>{numbers}<td>{sources}</td></tr>"
        about = f"<b>{html.escape(self.path.name)}</b>: {len(self):,} faces, fingerprint {self.fingerprint[:12]}"
        return f"<div>{about}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"

    def to_pandas(self, split: str | None = None, *, images: bool = False) -> Any:
        """The rows of a split, or of all, as a ``pandas.DataFrame`` by row number; ``images``: with the pictures' bytes.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("a table of pandas", "notebook") from None
        names = [name for name in SCHEMA.names if images or name != "image"]
        return self.columns(names, split).to_pandas().set_index(pd.Index(self.rows(split), name="row"))

    def to_datasets(self) -> Any:
        """The splits as a ``datasets.DatasetDict`` of Hugging Face.

        Pictures decode when they are asked for, labels have names. The library keeps a copy in its own cache.

        Raises:
            MissingExtraError: ``datasets`` is not installed.
        """
        try:
            import datasets
        except ImportError:
            raise MissingExtraError("data sets of Hugging Face", "notebook") from None
        types = {
            **datasets.Features.from_arrow_schema(SCHEMA),
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=list(LABELS)),
        }
        files: dict[str, list[str]] = {split: [] for split in self.splits}
        for shard in self.info["shards"]:
            files[shard["split"]].append(str(self.path / shard["file"]))
        return datasets.load_dataset("parquet", data_files=files, features=datasets.Features(types))

    def to_torch(self, split: str, size: int) -> Any:
        """A split as a ``torch.utils.data.Dataset`` of (uint8 (3, size, size) RGB, label); decoded once into the cache.

        Raises:
            DataError: no such split, or a picture that does not decode.
        """
        # By name: learning stands on face sets, not the other way round, and reading a face set needs no torch.
        return importlib.import_module("facetell.training.torch_dataset").FaceDataset(self, split, size)

    @property
    def fingerprint(self) -> str:
        """Sha-256 over all rows' content and metadata: equal for equal data, wherever it lies."""
        return str(self.info["fingerprint"])

    @property
    def splits(self) -> list[str]:
        """Names of the splits that have rows, in the usual order."""
        return [name for name in SPLITS if name in self.info["splits"]]

    def __len__(self) -> int:
        return int(self._starts[-1])

    def rows(self, split: str | None = None) -> range:
        """The numbers of the rows of a split (or of all).

        Raises:
            DataError: the face set has no such split.
        """
        if split is None:
            return range(len(self))
        if split not in self.splits:
            raise DataError(
                f"face set {self.path} has no split '{split}'{near_miss(split, self.splits)}",
                hint=f"it has {', '.join(self.splits)}",
            )
        first = 0
        for name in self.splits:
            size = int(self.info["splits"][name])
            if name == split:
                return range(first, first + size)
            first += size
        raise AssertionError("unreachable")

    def columns(self, names: Sequence[str], split: str | None = None) -> pa.Table:
        """Return some columns of a split (or of all rows) as a table; the image column only if named.

        Raises:
            UsageError: an unknown column.
        """
        for name in names:
            if name not in SCHEMA.names:
                raise UsageError(f"a face set has no column '{name}'{near_miss(name, SCHEMA.names)}")
        wanted = self.rows(split)
        schema = pa.schema([SCHEMA.field(name) for name in names])
        tables = []
        for shard, start, stop in self._overlapping(wanted):
            with self._open_shard(shard) as file:
                table = file.read(list(names))
            tables.append(table.slice(start, stop - start).select(list(names)).cast(schema))
        return pa.concat_tables(tables) if tables else schema.empty_table()

    def labels(self, split: str | None = None) -> NDArray[np.int8]:
        """(N,) labels of a split (or of all rows): 0 = real, 1 = fake."""
        return self.columns(["label"], split)["label"].to_numpy()

    def images(self, split: str | None = None, batch_rows: int = 64) -> Iterator[tuple[NDArray[np.int64], list[bytes]]]:
        """Stream the pictures' bytes in order: (row numbers, bytes) with at most ``batch_rows`` pictures each.

        One row group is in memory at a time.
        """
        wanted = self.rows(split)
        for shard, start, stop in self._overlapping(wanted):
            with self._open_shard(shard) as file:
                bounds = self._bounds(shard, file)
                for index in range(len(bounds) - 1):
                    first, last = max(int(bounds[index]), start), min(int(bounds[index + 1]), stop)
                    if first >= last:
                        continue
                    column = file.read(["image"], index)["image"]
                    for at in range(first, last, batch_rows):
                        size = min(batch_rows, last - at)
                        begin = int(self._starts[shard]) + at
                        part = column.slice(at - int(bounds[index]), size)
                        yield np.arange(begin, begin + size), part.to_pylist()

    def image(self, row: int) -> bytes:
        """Return the bytes of one picture.

        Raises:
            IndexError: no such row.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a face set with {len(self)} rows")
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        inside = row - int(self._starts[shard])
        with self._open_shard(shard) as file:
            bounds = self._bounds(shard, file)
            index = int(np.searchsorted(bounds, inside, side="right")) - 1
            column = file.read(["image"], index)["image"]
        return bytes(column[inside - int(bounds[index])].as_py())

    def pick(self, rows: NDArray[np.int64], batch_rows: int) -> Iterator[tuple[NDArray[np.int64], list[bytes]]]:
        """Stream the bytes of some pictures, ``rows`` ascending: (row numbers, bytes), at most ``batch_rows`` each.

        One row group is in memory at a time, and is read once.
        """
        if not len(rows):
            return
        for shard, _, _ in self._overlapping(range(int(rows[0]), int(rows[-1]) + 1)):
            begin, end = (int(at) for at in self._starts[shard : shard + 2])
            wanted = rows[(rows >= begin) & (rows < end)] - begin
            if not len(wanted):
                continue
            with self._open_shard(shard) as file:
                bounds = self._bounds(shard, file)
                which = np.searchsorted(bounds, wanted, side="right") - 1
                for index in np.unique(which):
                    column = file.read(["image"], int(index))["image"]
                    inside = wanted[which == index]
                    for at in range(0, len(inside), batch_rows):
                        part = inside[at : at + batch_rows]
                        yield part + begin, column.take(part - int(bounds[index])).to_pylist()

    def verify(self) -> None:
        """Read everything and compare with what was written.

        Raises:
            DataError: a shard's hash differs (names it), or the pictures' own hashes or the fingerprint do.
        """
        for shard in self.info["shards"]:
            if sha256_of(self.path / shard["file"]) != shard["sha256"]:
                raise DataError(f"face set {self.path}: shard {shard['file']} was changed", hint=AGAIN)
        if fingerprint(self._by_hash()) != self.fingerprint:
            raise DataError(f"face set {self.path}: its fingerprint does not fit its rows", hint=AGAIN)

    def _by_hash(self) -> Iterator[tuple[Any, ...]]:
        table = self.columns(FINGERPRINTED)
        order = pc.sort_indices(table, sort_keys=[("sha256", "ascending")])
        step = 8192  # so that Python objects of few rows exist at a time
        for start in range(0, len(order), step):
            part = table.take(order.slice(start, step))
            yield from zip(*(column.to_pylist() for column in part.columns), strict=True)

    def _overlapping(self, wanted: range) -> Iterator[tuple[int, int, int]]:
        """(shard, first, last + 1 within it) for every shard that holds wanted rows."""
        shards = np.searchsorted(self._starts, [wanted.start, wanted.stop - 1], side="right") - 1
        for shard in range(int(shards[0]), int(shards[1]) + 1) if wanted else ():
            begin, end = int(self._starts[shard]), int(self._starts[shard + 1])
            first, last = max(begin, wanted.start), min(end, wanted.stop)
            if first < last:
                yield shard, first - begin, last - begin

    def _open_shard(self, shard: int) -> Shard:
        return Shard(self.path, self.info["shards"][shard], SCHEMA.names)

    def _bounds(self, shard: int, file: Shard) -> NDArray[np.int64]:
        """First row of each row group within a shard, and the end."""
        bounds = self._row_groups.get(shard)
        if bounds is None:
            bounds = np.concatenate([[0], np.cumsum(file.sizes, dtype=np.int64)]).astype(np.int64)
            self._row_groups[shard] = bounds
        return bounds


def fingerprint(rows: Iterable[Sequence[Any]]) -> str:
    """Sha-256 (hex) over rows of `FINGERPRINTED`, which must come in the order of their sha256."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(list(row), separators=(",", ":")).encode())
    return digest.hexdigest()


def _read_info(path: Path) -> dict[str, Any]:
    file = path / INFO_FILE
    if not file.is_file():
        what = "does not exist" if not path.exists() else f"is not a face set: it holds no {INFO_FILE}"
        raise DataError(f"{path} {what}", hint="make one with: facetell prepare SOURCE -o FACESET")
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read: {error}") from None
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise DataError(f"{file} does not describe a face set")
    if info.get("version") != VERSION:
        raise DataError(
            f"face set {path} has version {info.get('version')}; this facetell reads version {VERSION}",
            hint="update facetell, or prepare it again",
        )
    try:
        rows = sum(int(shard["rows"]) for shard in info["shards"])
        ok = rows == info["rows"] == sum(int(n) for n in info["splits"].values())
        ok = ok and set(info["splits"]) <= set(SPLITS) and isinstance(info["fingerprint"], str)
        ok = ok and all(
            Path(shard["file"]).name == shard["file"] and int(shard["bytes"]) > 0 for shard in info["shards"]
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        ok = False
    if not ok:
        raise DataError(f"{file} is damaged: its numbers do not fit together", hint="prepare it again")
    return info


FaceSetLike = FaceSet | str | Path
"""A face set that is open, or where one is; where a verb prepares one itself, also a picture folder or index."""


def source_path(faceset: FaceSetLike) -> Path:
    """Where a face set, or what one is made from, lies."""
    return faceset.path if isinstance(faceset, FaceSet) else located_faceset(faceset)
