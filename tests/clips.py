"""Small videos for the tests, made on the spot; each frame tells its number."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from facetell.errors import MediaError
from facetell.media.container import Deadline, declared, opened, orientation_of
from facetell.media.decoder import Decoder
from facetell.media.limits import Limits

av = pytest.importorskip("av")

WIDTH, HEIGHT, RATE = 64, 48, 10


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Return a grey picture (H, W, 3) that tells its number by brightness, with a white mark at the top left."""
    pixels = np.full((height, width, 3), 20 + 3 * (number % 60), np.uint8)
    pixels[: height // 4, : width // 4] = 255
    return pixels


def number_of(pixels: np.ndarray) -> int:
    """Return the number that `numbered` wrote, read from the lower right."""
    height, width = pixels.shape[:2]
    return round((float(pixels[height // 2 :, width // 2 :].mean()) - 20) / 3)


def clip(
    path: Path,
    stamps: list[int] | None = None,
    *,
    count: int = 40,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    rotation: int | None = None,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
    noise: bool = False,
    black: bool = False,
    sound: bool = False,
) -> Path:
    """Write a clip; ``stamps`` are its frames' times in ms, else there are ``count`` frames at 10 a second.

    ``rotation`` is counter-clockwise; ``aspect`` is the width of a pixel over its height;
    ``options`` are the container's; ``noise`` makes every packet cost bytes.
    """
    base = Fraction(1, 1000) if stamps else Fraction(1, RATE)
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", container_options=options or {}) as out:
        stream = out.add_stream(codec, rate=RATE)
        stream.codec_context.gop_size = 10
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        stream.codec_context.time_base = base
        if aspect is not None:
            stream.sample_aspect_ratio = aspect
        if rotation is not None:
            stream.set_display_rotation(rotation)
        tone = out.add_stream("aac", rate=8000, layout="mono") if sound else None
        for number, stamp in enumerate(stamps or range(count)):
            pixels = numbered(number, *size) * np.uint8(not black)
            if noise:
                pixels[size[1] // 4 : size[1] // 2] = rng.integers(0, 256, (size[1] // 4, size[0], 3))
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = stamp, base
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        if tone is not None:
            seconds = stamps[-1] / 1000 if stamps else count / RATE
            for i in range(int(seconds * 8000) // 1024 + 12):
                out.mux(tone.encode(silence(i)))
            out.mux(tone.encode())
    return path


def silence(number: int = 0) -> av.AudioFrame:
    """Return the frame of that number of a silent sound track at 8 kHz."""
    samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
    samples.sample_rate, samples.pts, samples.time_base = 8000, 1024 * number, Fraction(1, 8000)
    return samples


@dataclass(frozen=True)
class VideoInfo:
    """What headers and first frame say: pixels upright, seconds and frames as declared, turn by its EXIF value."""

    width: int
    height: int
    duration: float | None
    rate: float
    frames: int | None
    orientation: int

    @property
    def rotation(self) -> int:
        """Degrees clockwise, 0, 90, 180 or 270, by which stored frames are turned."""
        return {1: 0, 2: 0, 3: 180, 4: 180, 5: 270, 6: 90, 7: 90, 8: 270}[self.orientation]


def open_video(path: Path, limits: Limits | None = None) -> VideoInfo:
    """Look at headers and first frame alone."""
    limits = limits or Limits()
    with opened(path, limits) as (container, stream):
        head = declared(container, stream)
        for image in Decoder(container, stream, 1, Deadline(limits.decode_seconds)):
            orientation = orientation_of(image)
            width, height = (image.width, image.height) if orientation < 5 else (image.height, image.width)
            seconds = head.seconds or head.file
            duration = float(seconds) if seconds else None
            return VideoInfo(width, height, duration, float(head.rate), head.frames, orientation)
    raise MediaError("no frame can be decoded")
