"""From one stored crop to a pair of files: a real face and a made fake that went through the same camera."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facetell.blending.jitter import Pixels, bearable, draw_colour, draw_view, recoloured, sampled
from facetell.blending.selfblended import self_blended
from facetell.blending.spectrum import regenerated
from facetell.pixels.encode import encode

__all__ = ["QUALITY", "Maker", "Pixels", "Regenerate", "dice", "pair_maker", "shrunk"]

QUALITY = (60, 96)
"""JPEG qualities of the pairs, the last one included, drawn evenly; one for both of a pair."""

_TRIES = 8

Regenerate = Callable[[Pixels, np.random.Generator], NDArray[np.float32]]
"""A generator: uint8 (H, W, 3) to what it draws of it, float32 of the same shape in grey levels."""

Maker = Callable[[Pixels, NDArray[np.float64] | None, np.random.Generator], tuple[bytes, bytes]]
"""Crop, landmarks or None, dice → bytes of the real face and of the fake."""


def dice(seed: int, sha256: str, draw: int) -> np.random.Generator:
    """The dice of one draw of one picture, whoever throws them and in whatever order."""
    words = np.frombuffer(bytes.fromhex(sha256), "<u4")
    return np.random.default_rng([seed, draw, *words.tolist()])


def pair_maker(regenerate: Regenerate | None) -> Maker:
    """What makes a pair: self-blended, or drawn again by ``regenerate``. Colours and JPEG are the same for both."""

    def pair(pixels: Pixels, landmarks: NDArray[np.float64] | None, rng: np.random.Generator) -> tuple[bytes, bytes]:
        if regenerate is None:
            real, fake, _ = self_blended(pixels, landmarks, rng)
        else:
            real = sampled(pixels, draw_view(rng, (pixels.shape[1], pixels.shape[0])))
            fake = regenerated(real, regenerate(real, rng), rng)
        colour = bearable(draw_colour(rng, light=0.3, p=0.3), real)
        quality = int(rng.integers(QUALITY[0], QUALITY[1] + 1))
        subsampling = "4:4:4" if rng.random() < 0.5 else "4:2:0"
        first, second = (encode(recoloured(one, colour), quality, subsampling) for one in (real, fake))
        return first, second

    def make(pixels: Pixels, landmarks: NDArray[np.float64] | None, rng: np.random.Generator) -> tuple[bytes, bytes]:
        for _ in range(_TRIES):  # a blend in a dark picture can vanish under JPEG, and would be a fake with no tell
            real, fake = pair(pixels, landmarks, rng)
            if real != fake:
                break
        return real, fake

    return make


def shrunk(pixels: Pixels, size: int | None) -> Pixels:
    """A crop (H, W, 3) whose longer side is at most ``size``, antialiased; smaller ones as they are."""
    height, width = pixels.shape[:2]
    if size is None or max(height, width) <= size:
        return pixels
    scale = size / max(height, width)
    small = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(pixels).resize(small, Image.Resampling.LANCZOS))
