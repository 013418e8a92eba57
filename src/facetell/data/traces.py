"""What a picture tells apart from the face in it: its file, its size, its colours, its edge.

None of it is evidence of a forgery, yet it often differs between real and fake because the two were collected in
different ways. Each row of features is cheap: one header, one histogram, three rings of pixels, one Laplacian.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facetell.data.faceset import FaceSet
from facetell.data.images import decode, open_header
from facetell.data.looks import LOOK_BYTES, look_of
from facetell.data.ordered import ordered
from facetell.errors import DataError, ImageError

__all__ = ["CONTROLS", "FAMILIES", "FEATURES", "Floats", "Survey", "features_of", "sample_features", "survey"]

FAMILIES = {
    "file size": ("bytes", "bytes per pixel"),
    "compression": ("jpeg", "png", "webp", "luma table", "chroma table", "luma slope", "subsampling", "progressive"),
    "resolution": ("width", "height", "aspect"),
    "mean colour": ("red", "green", "blue", "red spread", "green spread", "blue spread"),
    "border": ("edge grey", "edge spread", "top step", "bottom step", "left step", "right step"),
    "inner ring": ("ring grey", "ring spread", "inner top", "inner bottom", "inner left", "inner right"),
    "metadata": ("exif", "icc", "comments"),
    "sharpness": ("laplacian",),
}
"""Families of features, and the features of each in the order of `features_of`.

The inner ring is measured as the border is, 4 pixels further in: what tells there is texture, and no border. Colours are
those within it, so that a border is no colour.
"""

CONTROLS = {"border": "inner ring"}
"""Families that count only where they tell more than another one does."""

FEATURES = tuple(name for names in FAMILIES.values() for name in names)
"""Names of the columns of `features_of`."""

_CHUNK = 16
_INSIDE = 4  # pixels from the edge to the inner ring: beyond any border that a crop or a codec leaves
_BLOCK_OF = 16_384  # rows for each row of a sample's blocks: bounds what a sample of a large face set reads
_T = TypeVar("_T")
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Survey:
    """What was measured of every row of a face set, about 400 bytes each."""

    features: Floats
    """(N, len(FEATURES)), see `features_of`."""
    hashes: NDArray[np.uint64]
    """(N,) perceptual hashes, see `looks.look_of`."""
    looks: NDArray[np.uint8]
    """(N, 256) grey thumbnails."""
    digests: NDArray[np.uint8]
    """(N, 16) hashes of the decoded pixels: equal for the same picture in whatever file."""


def survey(faceset: FaceSet, progress: Callable[[int, int], None] | None = None) -> Survey:
    """Decode every picture of a face set once and measure it; ``progress`` is told (pictures done, in all).

    Raises:
        DataError: a picture that does not decode (names its row).
    """
    count = len(faceset)
    features = np.empty((count, len(FEATURES)), np.float32)
    hashes = np.empty(count, np.uint64)
    looks = np.empty((count, LOOK_BYTES), np.uint8)
    digests = np.empty((count, 16), np.uint8)
    for row, (pixels, look) in enumerate(_each(_whole, faceset, faceset.images(batch_rows=_CHUNK))):
        features[row] = pixels
        hashes[row], looks[row], digests[row] = look
        if progress:
            progress(row + 1, count)
    return Survey(features, hashes, looks, digests)


def sample_features(
    faceset: FaceSet, rows: NDArray[np.int64], most: int, seed: int
) -> tuple[NDArray[np.int64], Floats]:
    """Measure at most ``most`` of ``rows``, drawn by ``seed``; of a large face set in blocks of neighbours.

    Returns:
        The rows drawn (M,), ascending, and their features (M, len(FEATURES)).

    Raises:
        DataError: a picture that does not decode.
    """
    rows = np.sort(rows)
    if len(rows) > most:
        block = min(max(len(rows) // _BLOCK_OF, 1), 16)
        starts = np.random.default_rng(seed).permutation(len(rows) // block)[: most // block] * block
        rows = rows[np.sort((starts[:, None] + np.arange(block)).ravel())]
    return rows, np.array(list(_each(_features, faceset, faceset.pick(rows, _CHUNK))), np.float32)


def features_of(data: bytes, pixels: NDArray[np.uint8]) -> list[float]:
    """Measure one picture.

    Args:
        data: the file's bytes, which `images.decode` read.
        pixels: uint8 (H, W, 3), decoded from it.

    Returns:
        The `FEATURES`: natural logarithms of bytes, pixels, table entries, contrasts and spreads, so that ratios count;
        0 or 1 for formats; grey levels (0–255) for colours.
    """
    height, width = pixels.shape[:2]
    image = Image.fromarray(pixels)
    header = open_header(data)
    grey = np.asarray(image.convert("L"), np.int16)
    inside = (slice(_INSIDE, -_INSIDE),) * 2
    inner = Image.fromarray(np.ascontiguousarray(pixels[inside])) if min(height, width) > 2 * _INSIDE else image
    return [
        math.log(len(data)),
        math.log(len(data) / (width * height)),
        *_compression(header),
        math.log(width),
        math.log(height),
        math.log(width / height),
        *_colour(inner),
        *_border(grey),
        *_border(grey[inside]),
        *_metadata(header),
        _sharpness(grey),
    ]


def _compression(header: Image.Image) -> list[float]:
    kinds = [float(header.format in names) for names in (("JPEG", "MPO"), ("PNG",), ("WEBP",))]
    tables = [
        np.asarray(table, np.float64) for _, table in sorted((getattr(header, "quantization", None) or {}).items())
    ]
    if not tables:
        return [*kinds, 0.0, 0.0, 0.0, 0.0, 0.0]
    luma, chroma = tables[0], tables[-1]
    layers = getattr(header, "layer", None) or [(1, 1, 1, 0)]
    return [
        *kinds,
        math.log(luma.mean()),
        math.log(chroma.mean()),
        math.log(luma[32:].mean() / luma[:32].mean()),  # of high to low frequencies: tells encoders apart
        float(layers[0][1] * layers[0][2]),
        float(bool(header.info.get("progressive"))),
    ]


def _metadata(header: Image.Image) -> list[float]:
    sizes = {key: len(value) for key, value in header.info.items() if isinstance(value, bytes | str)}
    exif, icc = sizes.pop("exif", 0), sizes.pop("icc_profile", 0)
    return [math.log1p(exif), math.log1p(icc), math.log1p(sum(sizes.values()))]


def _colour(image: Image.Image) -> list[float]:
    counts = np.asarray(image.histogram(), np.float64).reshape(3, 256)
    counts /= counts.sum(axis=1, keepdims=True)
    levels = np.arange(256)
    means = counts @ levels
    spreads = np.sqrt(np.maximum(counts @ levels**2 - means**2, 0))
    return [*means.tolist(), *spreads.tolist()]


def _border(grey: NDArray[np.int16]) -> list[float]:
    """Grey and spread of the outermost ring; for each side how its step inwards compares with the next step.

    A ratio of neighbouring steps, and not a step, because a sharper picture has larger steps everywhere.
    """
    if min(grey.shape) < 3:
        return [0.0] * 6
    sides = (grey[:3], grey[:-4:-1], grey.T[:3], grey.T[:-4:-1])
    ring = np.concatenate([side[0] for side in sides])
    steps = [np.abs(np.diff(side, axis=0)).sum(axis=1) / side.shape[1] for side in sides]
    return [
        float(ring.mean()),
        math.log1p(float(ring.std())),
        *(math.log((1 + outer) / (1 + inner)) for outer, inner in steps),
    ]


def _sharpness(grey: NDArray[np.int16]) -> float:
    """Logarithm of the variance of the 4-neighbour Laplacian."""
    if min(grey.shape) < 3:
        return 0.0
    inner = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    return math.log1p(float(inner.var(dtype=np.float64)))


def _features(data: bytes) -> list[float]:
    return features_of(data, decode(data))


def _whole(data: bytes) -> tuple[list[float], tuple[int, NDArray[np.uint8], NDArray[np.uint8]]]:
    pixels = decode(data)
    return features_of(data, pixels), look_of(pixels)


def _each(
    function: Callable[[bytes], _T], faceset: FaceSet, chunks: Iterable[tuple[NDArray[np.int64], list[bytes]]]
) -> Iterator[_T]:
    """Map over pictures with threads, in order."""

    def all_of(chunk: tuple[NDArray[np.int64], Sequence[bytes]]) -> list[_T]:
        found = []
        for row, data in zip(chunk[0].tolist(), chunk[1], strict=True):
            try:
                found.append(function(data))
            except ImageError as error:
                raise DataError(
                    f"face set {faceset.path}, row {row}: {error.message}", hint="prepare the face set again"
                ) from None
        return found

    for found in ordered(all_of, chunks):
        yield from found
