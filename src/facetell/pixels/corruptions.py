"""What happens to pictures between camera and detector: nine corruptions, each in five strengths.

A corruption takes a crop at its own resolution, as it is in the world, and gives another; what feeds the network is
resized afterwards. The idea of fixed corruptions in five strengths is that of Hendrycks and Dietterich, "Benchmarking
Neural Network Robustness to Common Corruptions and Perturbations" (ICLR 2019); the ones here are what happens to faces
that are posted, sent and filmed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from facetell.errors import UsageError, near_miss
from facetell.pixels.decode import decode
from facetell.pixels.encode import encode

__all__ = ["CORRUPTIONS", "STRENGTHS", "Corruption", "check_codec", "choose", "corrupt"]

STRENGTHS = 5

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Corruption:
    """One corruption: its ``name``, a ``title`` for people, what its five ``values`` are, weakest first, and what it
    does: ``apply(pixels (H, W, 3), value, rng)`` gives uint8 (H', W', 3)."""

    name: str
    title: str
    unit: str
    values: tuple[float, ...]
    apply: Callable[[Pixels, float, np.random.Generator], Pixels]


def corrupt(pixels: Pixels, name: str, strength: int, seed: int, row: int) -> Pixels:
    """Corrupt a crop uint8 (H, W, 3) with ``strength`` 0 (as it is) to 5; ``row`` is its number in the split.

    Random numbers come from (seed, row, name): the same for all strengths, whoever computes them and in what order.
    """
    if not strength:
        return pixels
    corruption = CORRUPTIONS[name]
    rng = np.random.default_rng([seed, row, zlib.crc32(name.encode())])
    made = corruption.apply(pixels, corruption.values[strength - 1], rng)
    return np.require(made, requirements=["C", "W"])  # Pillow's pixels are read-only, which torch warns of


def choose(only: Sequence[str] | None) -> list[Corruption]:
    """The corruptions of these names in the usual order, or all.

    Raises:
        UsageError: an unknown name, or none.
    """
    if only is None:
        return list(CORRUPTIONS.values())
    for name in only:
        if name not in CORRUPTIONS:
            known = ", ".join(CORRUPTIONS)
            raise UsageError(f"no corruption '{name}'{near_miss(name, CORRUPTIONS)}", hint=f"there are: {known}")
    if not only:
        raise UsageError("no corruption was chosen", hint=f"there are: {', '.join(CORRUPTIONS)}")
    return [corruption for name, corruption in CORRUPTIONS.items() if name in only]


def check_codec() -> None:
    """Raise ``UsageError`` unless H.264 can be encoded, for ``h264``."""
    import av

    try:
        av.Codec("libx264", "w")
    except ValueError:  # av's own UnknownCodecError
        raise UsageError(
            "PyAV was built without libx264 here, so H.264 cannot be made", hint="pip install --force-reinstall av"
        ) from None


def _resized(pixels: Pixels, height: float, width: float, filtering: Image.Resampling) -> Pixels:
    """Resized to whole pixels, at least one each way; Pillow's filters are antialiased."""
    size = max(1, round(width)), max(1, round(height))
    return np.asarray(Image.fromarray(pixels).resize(size, filtering))


def _jpeg(pixels: Pixels, quality: float, _: np.random.Generator | None = None) -> Pixels:
    """Written as JPEG of libjpeg's ``quality`` with chroma at half resolution (4:2:0), and read."""
    return decode(encode(pixels, int(quality), "4:2:0"))


def _rejpeg(pixels: Pixels, quality: float, _: np.random.Generator) -> Pixels:
    """JPEG twice, the second time with its grid of 8×8 blocks moved by half a block both ways, as after a crop."""
    once = np.pad(_jpeg(pixels, quality), ((4, 0), (4, 0), (0, 0)), mode="edge")
    return _jpeg(once, quality)[4:, 4:]


def _resize(pixels: Pixels, factor: float, _: np.random.Generator) -> Pixels:
    """Shrunk by ``factor`` and enlarged to the old size, both bicubic."""
    height, width = pixels.shape[:2]
    small = _resized(pixels, height / factor, width / factor, Image.Resampling.BICUBIC)
    return _resized(small, height, width, Image.Resampling.BICUBIC)


def _blur(pixels: Pixels, percent: float, _: np.random.Generator) -> Pixels:
    """Blurred with a Gaussian (Pillow's: three box blurs) whose σ is ``percent`` of the longer side."""
    sigma = percent / 100 * max(pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))


def _noise(pixels: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    """Gaussian noise of this standard deviation (grey levels of 255) added to every channel of every pixel, clipped."""
    noise = rng.standard_normal(pixels.shape, dtype=np.float32)
    noise *= deviation
    noise += pixels
    return np.rint(noise, out=noise).clip(0, 255).astype(np.uint8)


def _gamma(pixels: Pixels, exponent: float, rng: np.random.Generator | None = None) -> Pixels:
    """255 · (v / 255) ** γ with γ = exponent (darker), or 1 / exponent (brighter) where a coin of the picture says so."""
    gamma = exponent if rng is None or rng.random() < 0.5 else 1 / exponent
    table = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return table[pixels]


def _h264(pixels: Pixels, crf: float, _: np.random.Generator) -> Pixels:
    """The middle of three equal frames of an H.264 video (x264's defaults, 4:2:0) of this constant rate factor.

    Each crop is its own video, so that no other picture has a say in how it looks; an odd side is repeated to be even.
    """
    import av

    height, width = pixels.shape[:2]
    even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = even.shape[1], even.shape[0], "yuv420p"
    encoder.time_base, encoder.thread_count = Fraction(1, 25), 1
    encoder.options = {"crf": f"{crf:g}"}
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets = []
    for number in range(3):
        frame = av.VideoFrame.from_ndarray(even, format="rgb24")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return frames[1].to_ndarray(format="rgb24")[:height, :width].astype(np.uint8, copy=False)


def _screenshot(pixels: Pixels, scale: float, rng: np.random.Generator) -> Pixels:
    """Shown on a screen ``scale`` times as large (bilinear), a part of the border cut off, tones shifted by the screen.

    Cut: (1 - scale) / 5 of each axis, from where the picture's own dice say. γ = 1 + (1 - scale) / 2. It is saved as
    PNG, which changes nothing.
    """
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    shown = _resized(pixels, height, width, Image.Resampling.BILINEAR)
    rows, columns = (int(side * (1 - scale) / 5) for side in (height, width))
    top, left = (round(float(share) * cut) for share, cut in zip(rng.random(2), (rows, columns), strict=True))
    return _gamma(shown[top : height - rows + top, left : width - columns + left], 1 + (1 - scale) / 2)


_SOCIAL_QUALITY = {0.9: 85, 0.75: 75, 0.6: 70, 0.5: 60, 0.4: 50}


def _social(pixels: Pixels, scale: float, _: np.random.Generator) -> Pixels:
    """Posted and passed on: shrunk to ``scale``, JPEG, shrunk to 0.8 of that, JPEG again. Qualities 85 … 50, 4:2:0."""
    quality = _SOCIAL_QUALITY[scale]
    for factor in (scale, 0.8):
        height, width = pixels.shape[:2]
        pixels = _jpeg(_resized(pixels, height * factor, width * factor, Image.Resampling.BICUBIC), quality)
    return pixels


_ALL = (
    Corruption("jpeg", "JPEG", "quality", (95, 80, 65, 50, 30), _jpeg),
    Corruption("rejpeg", "JPEG twice, grid moved", "quality", (95, 80, 65, 50, 30), _rejpeg),
    Corruption("resize", "shrunk and enlarged", "factor", (1.5, 2, 2.5, 3, 4), _resize),
    Corruption("blur", "blur", "σ in % of the side", (0.4, 0.8, 1.2, 1.6, 2.4), _blur),
    Corruption("noise", "noise", "σ in grey levels", (3, 6, 12, 18, 25), _noise),
    Corruption("gamma", "gamma, up or down", "γ or 1/γ", (1.15, 1.3, 1.5, 1.75, 2), _gamma),
    Corruption("h264", "H.264 video", "CRF", (18, 23, 30, 35, 40), _h264),
    Corruption("screenshot", "screenshot", "scale", (0.9, 0.8, 0.7, 0.6, 0.5), _screenshot),
    Corruption("social", "social media", "scale", tuple(_SOCIAL_QUALITY), _social),
)

CORRUPTIONS = {corruption.name: corruption for corruption in _ALL}
"""By name, in the order in which they are shown."""
