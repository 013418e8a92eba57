"""Image statistics: what a picture tells apart from the face in it, of its file, size, colours and border.

None of it is evidence of a forgery, yet it often differs between real and fake because the two were collected in
different ways. Those of one picture are cheap: one header, one histogram, three rings of pixels, one Laplacian.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facetell.pixels.opening import Source, open_source

__all__ = ["CONTROLS", "FAMILIES", "STATISTICS", "Floats", "image_statistics"]

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
"""Families of statistics, and the statistics of each in the order of `image_statistics`.

The inner ring is measured as the border is, 4 pixels further in: what tells there is texture, and no border. Colours are
those within it, so that a border is no colour.
"""

CONTROLS = {"border": "inner ring"}
"""Families that count only where they tell more than another one does."""

STATISTICS = tuple(name for names in FAMILIES.values() for name in names)
"""Names of the columns of `image_statistics`."""

_INSIDE = 4  # pixels from the edge to the inner ring: beyond any border that a crop or a codec leaves
Floats = NDArray[np.float32]


def image_statistics(data: bytes, pixels: NDArray[np.uint8]) -> list[float]:
    """Measure one picture.

    Args:
        data: the file's bytes, which `decode` read.
        pixels: uint8 (H, W, 3), decoded from it.

    Returns:
        The `STATISTICS`: natural logarithms of bytes, pixels, table entries, contrasts and spreads, so that ratios count;
        0 or 1 for formats; grey levels (0–255) for colours.
    """
    height, width = pixels.shape[:2]
    image = Image.fromarray(pixels)
    header, source = open_source(data)
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
        *_metadata(header, source),
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


def _metadata(header: Image.Image, source: Source) -> list[float]:
    sizes = {key: len(value) for key, value in header.info.items() if isinstance(value, bytes | str)}
    exif = sizes.pop("exif", 0)
    sizes.pop("icc_profile", None)
    return [math.log1p(exif), math.log1p(len(source.colour.profile)), math.log1p(sum(sizes.values()) + source.text)]


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
