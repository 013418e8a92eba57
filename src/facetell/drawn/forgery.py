"""Two kinds of forgery of a drawn face, each with the trace of how such pictures are really made.

``upsampled``: a generator builds a picture from a small grid by learned upsampling. Zero-insertion followed by an
imperfect kernel treats the new pixels unevenly and leaves a weak grid (Odena et al., "Deconvolution and checkerboard
artifacts", Distill 2016; Durall et al., "Watch your up-convolution", CVPR 2020, arXiv:2003.01826).

``blended``: a face swap pastes another person's inner face, warped and colour-matched, into the photo and leaves a seam
and two resolutions in one picture (Li et al., "Face X-ray", CVPR 2020, arXiv:1912.13458).

Both keep mean colour, contrast and the energy of the detail, so that colour, sharpness or file size do not tell them
apart from photos.
"""

from __future__ import annotations

import numpy as np

from facetell.pixels.drawing_tools import Array, blur, resize, spread

__all__ = ["blended", "upsampled"]

# Strengths, drawn anew for every picture. Chosen so that a small network learns either kind in about a minute on one
# core, without being perfect. An upsampled face is not seen at a glance; a blended one looks soft in its middle.
_UNEVEN = (0.008, 0.026)  # relative error of the weights of an upsampling kernel
_KEPT = (0.6, 0.85)  # share of the finest detail a generator gets right ...
_INVENTED = (0.2, 0.4)  # ... and how much it invents in its place
_RESOLUTION = (0.25, 0.38)  # of a blended-in face, relative to the picture
_OFF_TONE = 0.035  # relative difference in tone that is left after matching (standard deviation)


def upsampled(face: Array, rng: np.random.Generator) -> Array:
    """Rebuild ``face`` the way a generator would.

    Args:
        face: (S, S, 3) float32, RGB as displayed, 0 to 1; S divisible by 4.
        rng: the kernels of the two upsampling steps and the invented detail.

    Returns:
        (S, S, 3) float32 of the same colours and the same energy of detail.
    """
    planes = face.transpose(2, 0, 1)
    size = face.shape[0]
    half, quarter = resize(planes, size // 2), resize(planes, size // 4)
    # A generator invents the detail of every level on top of what it upsampled from the level below.
    coarse = _transposed_convolution(quarter, rng)
    middle = coarse + (half - resize(quarter, size // 2))
    fine = _transposed_convolution(middle, rng)
    detail = planes - resize(half, size)
    grain = blur(rng.standard_normal((1, size, size), dtype=np.float32), 0.5)
    loud = np.sqrt(blur(detail.mean(axis=0, keepdims=True) ** 2, 2.0))
    invented = grain * loud / grain.std()
    kept, share = np.float32(spread(rng, *_KEPT)), np.float32(spread(rng, *_INVENTED))
    built = fine + kept * detail + share * invented
    return _finish(built, planes)


def _transposed_convolution(planes: Array, rng: np.random.Generator) -> Array:
    """Double ``planes`` (3, H, H) by zero-insertion and a 4 x 4 kernel: bilinear weights, each a little off."""
    weight = np.array([0.25, 0.75, 0.75, 0.25], dtype=np.float32)
    uneven = spread(rng, *_UNEVEN)
    kernel = np.outer(weight, weight) * (1 + uneven * rng.standard_normal((4, 4)))
    kernel = (kernel * (4 / kernel.sum())).astype(np.float32)
    count, height, width = planes.shape
    framed = np.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge")
    out = np.empty((count, height * 2, width * 2), dtype=np.float32)
    for row in (0, 1):
        for column in (0, 1):
            out[:, row::2, column::2] = sum(
                kernel[3 - row - 2 * i, 3 - column - 2 * j]
                * framed[:, row + i : row + i + height, column + j : column + j + width]
                for i in (0, 1)
                for j in (0, 1)
            )
    return out


def blended(face: Array, donor_face: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Paste the inner face of ``donor_face`` into ``face``.

    Args:
        face: (S, S, 3) float32, RGB as displayed, 0 to 1: who the picture seems to show.
        donor_face: the same shape, in about the same pose: whose eyes, nose and mouth are seen.
        rng: mask, shift, and resolution of the donor.

    Returns:
        (S, S, 3) float32 with the colours of ``face``, and how much of each pixel is the donor's: (S, S), 0 to 1.
    """
    size = face.shape[0]
    target, donor = face.transpose(2, 0, 1), donor_face.transpose(2, 0, 1)
    mask = _inner_face(size, rng)
    donor = np.roll(donor, tuple(int(step) for step in rng.integers(-1, 2, 2)), axis=(1, 2))
    small = resize(donor, max(8, round(size * spread(rng, *_RESOLUTION))))
    donor = resize(small, size)
    total = mask.sum()
    tone = rng.normal(0, _OFF_TONE) + rng.normal(0, _OFF_TONE / 2, 3)
    for plane, model, off in zip(donor, target, tone, strict=True):
        mean, model_mean = (mask * plane).sum() / total, (mask * model).sum() / total
        deviation = np.sqrt((mask * (plane - mean) ** 2).sum() / total)
        model_deviation = np.sqrt((mask * (model - model_mean) ** 2).sum() / total)
        plane[:] = (plane - mean) * np.clip(model_deviation / max(deviation, 1e-4), 0.6, 1.6) + model_mean * (1 + off)
    built = target + mask * (donor - target)
    return _finish(built, target), mask


def _inner_face(size: int, rng: np.random.Generator) -> Array:
    """A soft-edged mask of eyes, nose and mouth, (S, S), 0 to 1."""
    line = (np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1
    across = (line[None, :] - float(rng.normal(0, 0.03))) / spread(rng, 0.39, 0.47)
    down = (line[:, None] - 0.12 - float(rng.normal(0, 0.03))) / spread(rng, 0.44, 0.52)
    radius = (np.abs(across) ** 2.4 + np.abs(down) ** 2.4) ** np.float32(1 / 2.4)
    return np.clip((1 - radius) / spread(rng, 0.06, 0.16) + 0.5, 0, 1)


def _finish(built: Array, model: Array) -> Array:
    """Give ``built`` (3, S, S) the energy of detail, mean and contrast of ``model``; return (S, S, 3) within 0 to 1."""
    soft = blur(built, 1.2)
    detail, wanted = built - soft, model - blur(model, 1.2)
    gain = np.clip(np.sqrt(np.vdot(wanted, wanted) / max(float(np.vdot(detail, detail)), 1e-6)), 0.5, 2.0)
    built = soft + np.float32(gain) * detail
    middle, spread_built = built.mean(axis=(1, 2), keepdims=True), built.std(axis=(1, 2), keepdims=True)
    contrast = model.std(axis=(1, 2), keepdims=True) / np.maximum(spread_built, 1e-4)
    built = (built - middle) * contrast + model.mean(axis=(1, 2), keepdims=True)
    return np.ascontiguousarray(np.clip(built, 0, 1).transpose(1, 2, 0), dtype=np.float32)
