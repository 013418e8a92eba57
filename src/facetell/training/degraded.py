"""Crops as they are after they were sent on: smaller, compressed, mirrored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facetell.pixels.decode import decode, resize
from facetell.pixels.encode import encode

__all__ = ["degraded"]

SIDES = (0.35, 1.0)
"""Part of its side that a crop is shrunk to before it is compressed."""
QUALITIES = (35, 95)
"""Of JPEG, with colour at half resolution as programs that send pictures write it."""


def degraded(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A crop uint8 (S, S, 3) shrunk, written as JPEG, enlarged again and, every second one, mirrored; all by chance.

    Sources differ in size and compression, and what learns from them may learn to tell those. Here they overlap.
    """
    size = len(crop)
    side, quality, mirror = max(round(size * rng.uniform(*SIDES)), 1), int(rng.integers(*QUALITIES)), rng.random() < 0.5
    small = resize(crop, side)
    sent = decode(encode(np.ascontiguousarray(small[:, ::-1]) if mirror else small, quality, "4:2:0"))
    return resize(sent, size)
