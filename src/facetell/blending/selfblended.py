"""Self-blended images: a face blended with a slightly changed copy of itself.

After Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images" (CVPR 2022, arXiv:2204.08376), section 3.2;
docs/blend.md says what differs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facetell.blending.jitter import Pixels, bearable, draw_colour, draw_move, draw_view, frequency, recoloured, sampled
from facetell.blending.mask import Floats, default_frame, draw_mask, frame_of

__all__ = ["RATIOS", "self_blended"]

RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
"""How much of the source there is where the mask is 1, drawn evenly."""


def self_blended(
    pixels: Pixels, landmarks: NDArray[np.float64] | None, rng: np.random.Generator
) -> tuple[Pixels, NDArray[np.float32], Floats]:
    """Blend a crop with a changed copy of itself.

    Args:
        pixels: the stored crop, (H, W, 3).
        landmarks: five points (5, 2), x and y in pixels of the crop, or None where they are unknown.
        rng: all dice.

    Returns:
        The target (H, W, 3); the blend, float32 of the same shape in grey levels of 255, not rounded; and the mask
        (H, W) in [0, 1] of how much of each pixel is the source's. Outside the mask the blend is the target.
    """
    size = pixels.shape[1], pixels.shape[0]
    view, move = draw_view(rng, size), draw_move(rng)
    target, source = sampled(pixels, view), sampled(pixels, view, move)
    # Which of the two is changed is a toss-up, and the target is the real face of the pair: else colours and sharpness
    # alone would be the label.
    changed = rng.random() < 0.5
    colour = bearable(draw_colour(rng, light=0.1, p=1.0), target)
    if changed:
        target = frequency(rng, recoloured(target, colour))
    else:
        source = frequency(rng, recoloured(source, colour))
    frame = default_frame(rng, size)
    if landmarks is not None:
        frame = frame_of(move.applied(view.seen(landmarks), size))
    mask = draw_mask(rng, size, frame)
    if not mask.any():  # landmarks of a face outside the picture
        mask = draw_mask(rng, size, default_frame(rng, size))
    mask *= np.float32(rng.choice(RATIOS))
    base = target.astype(np.float32)
    blend = base + mask[..., None] * (source.astype(np.float32) - base)
    return target, blend, mask
