"""Writes the face set of pairs, some crops in memory at a time, each made once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facetell.blending.pairs import Maker, dice, shrunk
from facetell.faces.crop import CropGeometry, landmarks_within
from facetell.faces.face import Face, as_landmarks
from facetell.faceset.decoded import map_pictures
from facetell.faceset.splits import SPLITS
from facetell.faceset.table import FaceSet
from facetell.faceset.writing import Slices, described, write_faceset
from facetell.pixels.decode import decode, probe
from facetell.progress import Progress, Step, silent

__all__ = ["Order", "real_rows", "write_pairs"]

ROWS_PER_SHARD = 4096
_CHUNK = 8
_META = (
    "sha256",
    "group",
    "source",
    "split",
    "path",
    "frame",
    "time",
    "box",
    "landmarks",
    "face_score",
    "quality",
    "scene",
)


@dataclass(frozen=True)
class Order:
    """What is made: the ``kinds`` of fakes in turn, ``draws`` of each real face, from ``seed``; crops shrunk to ``size``."""

    kinds: tuple[str, ...]
    draws: int
    seed: int
    size: int | None

    def kind(self, sha256: str, draw: int) -> str:
        """Which kind of fake a draw of a picture is; the kinds come in turn, each picture starting somewhere."""
        return self.kinds[(int(sha256[:8], 16) + draw) % len(self.kinds)]


def real_rows(faces: FaceSet) -> NDArray[np.int64]:
    """The rows that fakes are made from: real faces of every split but *test*."""
    keep = faces.labels() == 0
    if "test" in faces.splits:
        test = faces.rows("test")
        keep[test.start : test.stop] = False
    return np.flatnonzero(keep)


def write_pairs(
    faces: FaceSet,
    rows: NDArray[np.int64],
    out: Path,
    order: Order,
    makers: Mapping[str, Maker],
    made: dict[str, Any],
    progress: Progress = silent,
) -> FaceSet:
    """Write a face set of pairs of real faces and made fakes.

    Args:
        faces: whose real ``rows`` (N,), ascending, are read; no other picture is decoded.
        rows: see `real_rows`.
        out: `existing_faceset` has looked at it.
        order: what is made.
        makers: by kind.
        made: goes into ``faceset.json``.
        progress: told of every picture written.

    Raises:
        DataError: a picture that does not decode (names its row), or the disk is full.
    """
    table = faces.columns(_META).take(pa.array(rows)).combine_chunks()
    work = _Work(faces, rows, table, order, makers)
    found = Counter(table["split"].to_pylist())
    splits = {name: 2 * order.draws * found[name] for name in SPLITS if found[name]}

    def info() -> dict[str, Any]:
        return {
            **described(np.arange(work.total), work.digests, work.table),
            "seed": order.seed,
            "splits_made": {"given": work.total, "made": 0, "carved_from_train": 0},
            "skipped": {},
            "made": made,
            **({"crop": faces.info["crop"]} if "crop" in faces.info else {}),
        }

    slices = Slices(splits, lambda start, stop: work.table(np.arange(start, stop)))
    with closing(work.images(progress)) as images:
        written = write_faceset(out, slices, images, info, [], ROWS_PER_SHARD)
    written.created = True
    return written


class _Work:
    """Makes the pictures and remembers of each its hash and size, 40 bytes.

    Row ``i`` of the result is of the real face ``i // 2 // draws``; even rows are real, odd ones fake.
    """

    def __init__(
        self, faces: FaceSet, rows: NDArray[np.int64], table: pa.Table, order: Order, makers: Mapping[str, Maker]
    ) -> None:
        self.faces, self.rows, self.meta, self.order, self.makers = faces, rows, table, order, makers
        self.total = 2 * order.draws * len(rows)
        self.digests = np.empty((self.total, 32), np.uint8)
        self.sides = np.empty((self.total, 2), np.int32)
        crop = faces.info.get("crop")
        self.geometry = CropGeometry.from_dict(crop["geometry"]) if crop else None

    def images(self, progress: Progress) -> Generator[bytes, None, None]:
        """The bytes of all rows in order."""
        done = 0
        with closing(map_pictures(self._pairs_of, self.faces, self.faces.pick(self.rows, _CHUNK))) as found:
            for files in found:
                for data, digest, size in files:
                    self.digests[done], self.sides[done] = np.frombuffer(digest, np.uint8), size
                    done += 1
                    progress(Step("blending", done, self.total, "pictures"))
                    yield data

    def _pairs_of(self, row: int, data: bytes) -> list[tuple[bytes, bytes, tuple[int, int]]]:
        """All pictures made of one real face: bytes, sha256, width and height of each."""
        at, found = int(np.searchsorted(self.rows, row)), []
        pixels = shrunk(decode(data), self.order.size)
        landmarks = self._landmarks(at, (pixels.shape[1], pixels.shape[0]))
        sha256 = self.meta["sha256"][at].as_py()
        for draw in range(self.order.draws):
            make = self.makers[self.order.kind(sha256, draw)]
            for file in make(pixels, landmarks, dice(self.order.seed, sha256, draw)):
                header = probe(file)
                found.append((file, hashlib.sha256(file).digest(), (header.width, header.height)))
        return found

    def _landmarks(self, at: int, size: tuple[int, int]) -> NDArray[np.float64] | None:
        """(5, 2) in pixels of a crop of ``size``, where they are known."""
        box, points = self.meta["box"][at].as_py(), self.meta["landmarks"][at].as_py()
        if self.geometry is None or box is None or points is None:
            return None
        face = Face((box[0], box[1], box[2], box[3]), as_landmarks(points), 1.0)
        return landmarks_within(face, self.geometry) * size

    def table(self, number: NDArray[np.int64]) -> pa.Table:
        """The metadata of some rows, whose pictures were made."""
        known = self.meta.take(pa.array(number // 2 // self.order.draws))
        label, draws = number % 2, number // 2 % self.order.draws
        sources, paths = [], []
        originals = (known[name].to_pylist() for name in ("sha256", "source", "path"))
        for fake, draw, sha256, source, path in zip(label.tolist(), draws.tolist(), *originals, strict=True):
            kind = self.order.kind(sha256, draw)
            sources.append(kind if fake else source)
            paths.append(f"{path}#{kind if fake else 'real'}-{draw}")
        return pa.table(
            {
                "format": ["JPEG"] * len(number),
                "width": self.sides[number, 0],
                "height": self.sides[number, 1],
                "label": label,
                "source": sources,
                "path": paths,
                "sha256": [digest.tobytes().hex() for digest in self.digests[number]],
                # Not box and landmarks: the picture was cut anew.
                **{name: known[name] for name in ("group", "split", "frame", "time", "face_score", "quality", "scene")},
            }
        )
