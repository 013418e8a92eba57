"""A picture that a small generator drew again, with as much detail of every fineness as the original has.

A generator's picture is softer than its model. Were it left so, sharpness alone would be the label and nobody would
look for what matters: the pattern that its up-sampling leaves. Zhang, Karaman and Chang, "Detecting and Simulating
Artifacts in GAN Fake Images" (WIFS 2019, arXiv:1907.06515), have the idea of such pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from facetell.blending.jitter import GREY, Pixels
from facetell.pixels.drawing_tools import blur

__all__ = ["COARSE", "KEPT", "as_sharp", "regenerated", "rings_matched"]

KEPT = (0.1, 0.5)
"""Share of what the generator lost that is given back, drawn evenly: real generators draw fine detail well."""
COARSE = (0.04, 0.08)
"""Cycles per pixel: below the first all is the model's, beyond the second it is the generator's. Good generators get
the coarse things and the colours right; where their up-sampling shows is at 1/4 and 1/2."""

_RINGS = 24
_GAINS = (0.1, 10.0)
_PAD = 16  # pixels mirrored around the picture, so that its opposite edges do not meet in the transform
_EDGE = (2, 10)  # pixels from the border: up to the first the fake is its model, from the second on it is drawn

Floats = NDArray[np.float32]


def regenerated(target: Pixels, drawn: Floats, rng: np.random.Generator) -> Floats:
    """What a generator drew of ``target``, both (H, W, 3) in grey levels of 255, made as detailed as that.

    Part of the lost detail is given back; then every ring of the spectrum gets the energy that it has in
    ``target``, and what is coarse is that of ``target``. What differs is the phase, and where within a ring the energy
    lies.
    """
    wanted = target.astype(np.float32)
    kept = np.float32(rng.uniform(*KEPT))
    matched = rings_matched(drawn + kept * (wanted - drawn), wanted)
    # A network cannot know what lies beyond the border, and draws it smoother there: a cue that no cut-out face has.
    down, across = (
        np.clip((np.minimum(np.arange(side), np.arange(side)[::-1]) - _EDGE[0]) / (_EDGE[1] - _EDGE[0]), 0, 1)
        for side in wanted.shape[:2]
    )
    inside = np.minimum(down[:, None], across[None, :]).astype(np.float32)[..., None]
    detail = inside * (matched - np.moveaxis(blur(np.moveaxis(matched, -1, 0), 1.0), 0, -1))
    return as_sharp(wanted + inside * (matched - wanted), detail, wanted)


def as_sharp(picture: Floats, detail: Floats, wanted: Floats) -> Floats:
    """``picture`` plus as much of ``detail`` as gives its Laplacian the variance of that of ``wanted``; -0.8 to 2 of it.

    All (H, W, 3). Rings were matched over the whole picture; where it fades into its model towards the border, the two
    partly cancel.
    """
    ours, more, theirs = (_laplacian(one @ GREY) for one in (picture, detail, wanted))
    a, b, c = (float((one * other).mean()) for one, other in ((more, more), (ours, more), (ours, ours)))
    # a t² + 2 b t + c = the wanted variance; of its two solutions the upper one, which is 0 where nothing is amiss.
    root = max(0.0, b * b - a * (c - float((theirs * theirs).mean())))
    share = np.float32(np.clip((math.sqrt(root) - b) / max(a, 1e-6), -0.8, 2.0))
    return picture + share * detail


def _laplacian(grey: Floats) -> Floats:
    """The 4-neighbour Laplacian within the border, less its mean; of a picture that has no inside, one zero."""
    if min(grey.shape) < 3:
        return np.zeros((1, 1), np.float32)
    inner: Floats = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    inner -= inner.mean()
    return inner


def rings_matched(picture: Floats, wanted: Floats) -> Floats:
    """``picture`` (H, W, 3) with the energy of ``wanted`` in each ring of its spectrum; gains stay within 0.1 and 10.

    Coarser than `COARSE` it is ``wanted`` itself.
    """
    height, width = picture.shape[:2]
    pad = min(_PAD, height - 1, width - 1)
    around = ((pad, pad), (pad, pad), (0, 0))
    rings = _rings(height + 2 * pad, width + 2 * pad)
    ours = np.fft.rfft2(np.pad(picture, around, mode="reflect"), axes=(0, 1))
    theirs = np.fft.rfft2(np.pad(wanted, around, mode="reflect"), axes=(0, 1))
    # One gain for all channels, of the grey picture: each channel's own would take their detail apart.
    energies = [
        np.bincount(rings.number.ravel(), (rings.weight * np.abs(one @ GREY) ** 2).ravel(), _RINGS)
        for one in (ours, theirs)
    ]
    gain = np.clip(np.sqrt(energies[1] / np.maximum(energies[0], 1e-9)), *_GAINS).astype(np.float32)
    ours *= (gain[rings.below] * (1 - rings.between) + gain[rings.above] * rings.between)[..., None]
    ours += rings.coarse[..., None] * (theirs - ours)
    back = np.fft.irfft2(ours, s=(height + 2 * pad, width + 2 * pad), axes=(0, 1))
    return back[pad : pad + height, pad : pad + width].astype(np.float32)


@dataclass(frozen=True)
class _Rings:
    """Of each coefficient of a real transform: its ``number``; between the middles of which two rings it lies, and how
    far on the way; ``weight``, how much it counts; ``coarse``, 0 to 1."""

    number: NDArray[np.int64]
    below: NDArray[np.int64]
    above: NDArray[np.int64]
    between: Floats
    weight: Floats
    coarse: Floats


@lru_cache(maxsize=8)
def _rings(height: int, width: int) -> _Rings:
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    frequency = np.hypot(down, across)
    radius = frequency * np.sqrt(2) * _RINGS  # the corner, 0.5 both ways, is the end of the last ring
    number = np.minimum(radius.astype(np.int64), _RINGS - 1)
    place = np.clip(radius - 0.5, 0, _RINGS - 1)
    below = place.astype(np.int64)
    weight = np.full(number.shape, 2, np.float32)
    weight[:, 0] = 1
    if width % 2 == 0:
        weight[:, -1] = 1
    # As a Laplacian sees it, which is how sharpness is measured: what lies along the axes counts less than across.
    weight *= ((4 - 2 * np.cos(2 * np.pi * down) - 2 * np.cos(2 * np.pi * across)) ** 2).astype(np.float32)
    above = np.minimum(below + 1, _RINGS - 1)
    coarse = np.clip((COARSE[1] - frequency) / (COARSE[1] - COARSE[0]), 0, 1).astype(np.float32)
    return _Rings(number, below, above, (place - below).astype(np.float32), weight, coarse)
