"""Pictures that are face crops already: each file is decoded once as a check, and stored unchanged."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from contextlib import closing
from pathlib import Path

import numpy as np

from facetell.buckets import BucketPath
from facetell.errors import DataError, ImageError
from facetell.faces.finding import FaceFinder, Shot
from facetell.faceset.rows import Rows, Skipped
from facetell.ingest.assemble import Crops
from facetell.media.at_hand import at_hand
from facetell.media.delays import is_animated
from facetell.pixels.decode import decode, probe
from facetell.pixels.opening import FORMATS, MAX_BYTES
from facetell.progress import Progress, Step
from facetell.threads import ordered

__all__ = ["look_at_all", "readers", "warn_of_photos"]

log = logging.getLogger("facetell")

SAMPLE = 24
_REQUESTS = 32
"""At a time, to a bucket: each is a wait of tens of milliseconds, and next to no work."""


def readers(root: Path) -> int | None:
    """Threads to read files below ``root`` with; None for the usual number."""
    return _REQUESTS if isinstance(root, BucketPath) else None


def look_at_all(rows: Rows, progress: Progress) -> Crops:
    """Read and decode every file of ``rows``; ``progress`` is told of every file."""
    count = len(rows)
    digests = np.zeros((count, 32), dtype=np.uint8)

    def read(row: int) -> bytes:
        data = _read(rows.full_path(row))
        if hashlib.sha256(data).digest() != digests[row].tobytes():
            raise DataError(
                f"{rows.full_path(row)} changed while the face set was made",
                hint="start again once nothing writes to it",
            )
        return data

    crops = Crops(
        digests=digests,
        formats=np.zeros(count, dtype=np.int8),
        widths=np.zeros(count, dtype=np.int32),
        heights=np.zeros(count, dtype=np.int32),
        usable=np.zeros(count, dtype=np.bool_),
        skipped=list(rows.skipped),
        stream=lambda order: ordered(read, map(int, order), readers(rows.root)),
    )
    paths = (rows.full_path(row) for row in range(count))
    with closing(ordered(_look_at, paths, readers(rows.root))) as results:
        for row, result in enumerate(results):
            if isinstance(result, ImageError):
                crops.skipped.append(Skipped(rows.path(row), result.reason, result.message))
            else:
                digest, crops.formats[row], crops.widths[row], crops.heights[row] = result
                crops.digests[row] = np.frombuffer(digest, dtype=np.uint8)
                crops.usable[row] = True
            progress(Step("reading", row + 1, count, "files"))
    return crops


def warn_of_photos(rows: Rows, crops: Crops) -> None:
    """Look for faces in a sample of the crops, spread over them, and warn where over a quarter of it are no crops of one face."""
    finder = FaceFinder()
    usable = np.flatnonzero(crops.usable)
    sample = usable[np.unique(np.linspace(0, len(usable) - 1, min(SAMPLE, len(usable))).round().astype(int))]
    pictures = [decode(_read(rows.full_path(int(row)))) for row in sample]
    shots = [Shot(0, None, pixels, finder.look(pixels)) for pixels in pictures]
    faceless = sum(not shot.faces for shot in shots)
    others = sum(bool(shot.faces) and not shot.is_crop for shot in shots)
    if 4 * (faceless + others) > len(shots):
        log.warning(
            "pictures were taken as face crops, but of %d looked at, %d show smaller faces or several, and %d show no face; "
            "next: --faces find (of prepare and adapt) cuts the faces out, --faces crops says that all is well",
            len(shots),
            others,
            faceless,
        )


def _read(path: Path) -> bytes:
    """A file's bytes; refuses what is too large without reading it."""
    try:
        with at_hand(path) as here, here.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise ImageError(f"the file has {size:,} bytes; {MAX_BYTES:,} is the limit", reason="unsupported")
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}", reason="no_access") from None


def _look_at(path: Path) -> tuple[bytes, int, int, int] | ImageError:
    """(sha256, format code, width, height) of a picture that decodes, or why it does not."""
    try:
        data = _read(path)
        if is_animated(io.BytesIO(data)):
            raise ImageError(
                "an animation is not one face crop; --faces find looks at its frames", reason="unsupported"
            )
        info = probe(data)
        decode(data)
    except ImageError as error:
        return error
    return hashlib.sha256(data).digest(), FORMATS.index(info.format), info.width, info.height
