"""Photos and clips with faces for the tests: the astronaut of scikit-image's photo on drawn backgrounds."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def needs_media() -> None:
    """Skip the whole module where no photo of a face is installed."""
    pytest.importorskip("skimage.data", reason="needs a photo of a face")


@functools.cache
def _head() -> Image.Image:
    from skimage.data import astronaut

    return Image.fromarray(np.ascontiguousarray(astronaut()[5:245, 102:342]))  # twice the face, which is in its middle


def background(seed: int, width: int = 160, height: int = 120) -> Pixels:
    """Smooth colours without a face, different for each seed."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(40, 200, (5, 6, 3), dtype=np.uint8))
    return np.array(small.resize((width, height), Image.Resampling.BICUBIC))


def with_head(pixels: Pixels, x: int, y: int, side: int = 100, gain: float = 1.0) -> Pixels:
    """The picture with a head in the square at (x, y); its face is half as wide. ``gain`` makes it another picture."""
    head = np.asarray(_head().resize((side, side), Image.Resampling.LANCZOS)).astype(np.float32) * gain
    out = pixels.copy()
    out[y : y + side, x : x + side] = head.clip(0, 255).astype(np.uint8)[: len(out) - y, : out.shape[1] - x]
    return out


def portrait(seed: int, width: int = 160, height: int = 120, side: int = 100) -> Pixels:
    """A photo of one face; every seed gives another one."""
    rng = np.random.default_rng(seed)
    x, y = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    return with_head(background(seed, width, height), x, y, side, 0.8 + 0.01 * (seed % 30))


def walk(seed: int, count: int = 8, width: int = 160, height: int = 120, side: int = 100) -> list[Pixels]:
    """Frames of one face that moves to the right."""
    rng = np.random.default_rng(seed)
    back, gain = background(seed, width, height), 0.8 + 0.01 * (seed % 30)
    y, room = int(rng.integers(0, height - side + 1)), width - side
    return [with_head(back, round(room * i / max(1, count - 1)), y, side, gain) for i in range(count)]


def two_people(seed: int, count: int = 8, width: int = 320, height: int = 120) -> list[Pixels]:
    """Frames of two faces, left and right, that both move a little."""
    back = background(seed, width, height)
    return [with_head(with_head(back, i, 5), width - 104 - i, 10, gain=0.85) for i in range(count)]


def save_photo(path: Path, pixels: Pixels, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def save_clip(
    path: Path,
    pictures: Iterable[Pixels],
    *,
    rate: int = 10,
    times: Sequence[Fraction] | None = None,
    container_format: str | None = None,
    codec: str = "libx264",
    sound: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a clip; ``times`` (s) are the frames' own, for a variable frame rate."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=container_format) as container:
        stream: Any = None
        audio: Any = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for number, pixels in enumerate(pictures):
            if stream is None:
                stream = container.add_stream(codec, rate=rate)
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                stream.options = options if options is not None else {"crf": "20", "preset": "ultrafast"}
                stream.codec_context.thread_count = 1
                if times is not None:
                    stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
            frame = av.VideoFrame.from_ndarray(pixels)
            if times is not None:
                frame.pts, frame.time_base = round(times[number] * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())
        if sound:
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            tone.rate = 8000
            for _ in range(8):
                container.mux(audio.encode(tone))
            container.mux(audio.encode())
    return path
