"""The camera every picture goes through in the same way, drawn or forged: white balance, sensor noise, JPEG."""

from __future__ import annotations

import numpy as np

from facetell.pixels.drawing_tools import Array, blur, spread
from facetell.pixels.encode import encode

__all__ = ["camera"]

_QUALITY = (70, 95)


def camera(face: Array, rng: np.random.Generator) -> bytes:
    """Take a picture of ``face``.

    Args:
        face: (S, S, 3) float32, RGB as displayed, 0 to 1.
        rng: white balance, amount and grain of the noise, JPEG quality (70 to 95).

    Returns:
        The bytes of an RGB JPEG of S x S pixels.
    """
    light = face.astype(np.float32) ** 2
    light *= np.exp(rng.normal(0, 0.03, 3)).astype(np.float32)
    # Photon noise grows with the light, read-out noise does not; demosaicing makes neighbours alike.
    photon, read = spread(rng, 0.0002, 0.0012), spread(rng, 0.00001, 0.00006)
    grain = rng.standard_normal((3, *face.shape[:2]), dtype=np.float32)
    grain = blur(grain, spread(rng, 0.3, 0.5)).transpose(1, 2, 0)
    light += np.sqrt(photon * light + read) * grain
    picture = (np.sqrt(np.clip(light, 0, 1)) * 255 + 0.5).astype(np.uint8)
    return encode(picture, int(rng.integers(_QUALITY[0], _QUALITY[1] + 1)), "4:2:0")
