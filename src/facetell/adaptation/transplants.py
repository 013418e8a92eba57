"""Real faces that are given one thing of a fake: its border, its colours, its compression, its size in pixels.

None of these is evidence of a forgery. A detector that calls a real face fake once it has the border of a fake has
learned the border. That is a test of what a detector does, where `image_statistics` measures what the pictures are.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facetell.pixels.decode import decode, decode_resized
from facetell.pixels.opening import open_header

__all__ = ["TRANSPLANTS", "transplanted"]

Pixels = NDArray[np.uint8]

_RING = 0.025
"""Width of a border as a part of the side: 6 of 256 pixels."""


def _border(real: Pixels, donor: bytes) -> bytes:
    other = np.asarray(Image.fromarray(decode(donor)).resize(real.shape[1::-1], Image.Resampling.BICUBIC))
    ring = max(1, round(_RING * min(real.shape[:2])))
    changed = other.copy()
    changed[ring:-ring, ring:-ring] = real[ring:-ring, ring:-ring]
    return _png(changed)


def _colour(real: Pixels, donor: bytes) -> bytes:
    other = decode(donor).reshape(-1, 3).astype(np.float64)
    own = real.reshape(-1, 3).astype(np.float64)
    scaled = (own - own.mean(axis=0)) / np.maximum(own.std(axis=0), 1e-6) * other.std(axis=0) + other.mean(axis=0)
    return _png(scaled.round().clip(0, 255).astype(np.uint8).reshape(real.shape))


def _compression(real: Pixels, donor: bytes) -> bytes:
    header = open_header(donor)
    tables = getattr(header, "quantization", None)
    if not tables:
        return _png(real)  # a lossless file leaves nothing in the pixels
    layers = getattr(header, "layer", None) or [(1, 1, 1, 0)]
    subsampling = {(1, 1): 0, (2, 1): 1, (2, 2): 2}.get((layers[0][1], layers[0][2]), 2)
    written = io.BytesIO()
    Image.fromarray(real).save(
        written, "JPEG", qtables=[tables[key] for key in sorted(tables)], subsampling=subsampling
    )
    return written.getvalue()


def _resolution(real: Pixels, donor: bytes) -> bytes:
    width, height = open_header(donor).size
    return _png(np.asarray(Image.fromarray(real).resize((width, height), Image.Resampling.BICUBIC)))


TRANSPLANTS: dict[str, Callable[[Pixels, bytes], bytes]] = {
    "border": _border,
    "mean colour": _colour,
    "compression": _compression,
    "resolution": _resolution,
}
"""What can be moved, by the name of its family in `image_statistics.FAMILIES`; each gives a picture's bytes."""


def transplanted(name: str, real: bytes, donor: bytes, size: int) -> Pixels:
    """The face ``real`` with one thing of ``donor``, as a detector sees it: uint8 (size, size, 3)."""
    return decode_resized(TRANSPLANTS[name](decode(real), donor), size)


def _png(pixels: Pixels) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG", compress_level=1)
    return written.getvalue()
