"""Image statistics and perceptual hashes of the pictures of a face set, measured in threads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facetell.faceset.decoded import map_pictures
from facetell.faceset.table import FaceSet
from facetell.pixels.decode import decode
from facetell.pixels.image_statistics import STATISTICS, Floats, image_statistics
from facetell.pixels.perceptual_hash import THUMBNAIL_BYTES, perceptual_hash
from facetell.progress import Progress, Step, silent

__all__ = ["Survey", "sample_statistics", "survey"]

_CHUNK = 16
_BLOCK_OF = 16_384  # rows for each row of a sample's blocks: bounds what a sample of a large face set reads


@dataclass(frozen=True)
class Survey:
    """What was measured of every row of a face set, about 400 bytes each."""

    statistics: Floats
    """(N, len(STATISTICS)), see `image_statistics`."""
    hashes: NDArray[np.uint64]
    """(N,) perceptual hashes, see `perceptual_hash`."""
    thumbnails: NDArray[np.uint8]
    """(N, 256) grey thumbnails."""
    digests: NDArray[np.uint8]
    """(N, 16) hashes of the decoded pixels: equal for the same picture in whatever file."""


def survey(faceset: FaceSet, progress: Progress = silent) -> Survey:
    """Decode every picture of a face set once and measure it.

    Raises:
        DataError: a picture that does not decode (names its row).
    """
    count = len(faceset)
    statistics = np.empty((count, len(STATISTICS)), np.float32)
    hashes = np.empty(count, np.uint64)
    thumbnails = np.empty((count, THUMBNAIL_BYTES), np.uint8)
    digests = np.empty((count, 16), np.uint8)

    def measure(_: int, data: bytes) -> tuple[list[float], tuple[int, NDArray[np.uint8], NDArray[np.uint8]]]:
        pixels = decode(data)
        return image_statistics(data, pixels), perceptual_hash(pixels)

    for row, measured in enumerate(map_pictures(measure, faceset, faceset.images(batch_rows=_CHUNK))):
        statistics[row], (hashes[row], thumbnails[row], digests[row]) = measured
        progress(Step("measuring", row + 1, count, "faces"))
    return Survey(statistics, hashes, thumbnails, digests)


def sample_statistics(
    faceset: FaceSet, rows: NDArray[np.int64], most: int, seed: int
) -> tuple[NDArray[np.int64], Floats]:
    """Measure at most ``most`` of ``rows``, drawn by ``seed``; of a large face set in blocks of neighbours.

    Returns:
        The rows drawn (M,), ascending, and their statistics (M, len(STATISTICS)).

    Raises:
        DataError: a picture that does not decode.
    """
    rows = np.sort(rows)
    if len(rows) > most:
        block = min(max(len(rows) // _BLOCK_OF, 1), 16)
        starts = np.random.default_rng(seed).permutation(len(rows) // block)[: most // block] * block
        rows = rows[np.sort((starts[:, None] + np.arange(block)).ravel())]
    measured = map_pictures(lambda _, data: image_statistics(data, decode(data)), faceset, faceset.pick(rows, _CHUNK))
    return rows, np.array(list(measured), np.float32)
