"""Pictures whose pixels are all there, and something around them is damaged, missing or too large."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import picture_bytes
from PIL import Image

from facetell.errors import ImageError
from facetell.media.kind import kind_of_bytes
from facetell.pixels.decode import decode, read_picture


def encode(kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(picture_bytes(3, (62, 44)))).save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes, wrong: int = 0) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ wrong)


def pixels_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


PNG, JPEG = encode("PNG"), encode("JPEG")
BEFORE_PIXELS = PNG.index(b"IDAT") - 4
MEGABYTES = zlib.compress(b"prompt, " * 400_000)


@pytest.mark.parametrize(
    ("extra", "note"),
    [
        (chunk(b"zTXt", b"parameters\0\0" + MEGABYTES), ""),
        (chunk(b"iTXt", b"workflow\0\1\0\0\0" + MEGABYTES), ""),
        (chunk(b"tEXt", b"parameters\0" + b"x" * 3_000_000), ""),
        (chunk(b"tEXt", b"parameters\0x", wrong=1), "tEXt"),
        (chunk(b"pHYs", b""), ""),
        (chunk(b"tRNS", b"1"), "tRNS"),
        (chunk(b"acTL", b""), "acTL"),
        (chunk(b"eXIf", b"junk"), ""),
    ],
    ids=["compressed", "international", "long", "checksum", "short", "transparency", "animation", "exif"],
)
def test_a_png_is_judged_by_its_pixels(extra: bytes, note: str) -> None:
    picture = read_picture(PNG[:BEFORE_PIXELS] + extra + PNG[BEFORE_PIXELS:])
    np.testing.assert_array_equal(picture.pixels, pixels_of(PNG))
    assert not picture.missing
    assert note in picture.note
    assert bool(note) == bool(picture.note)


def test_text_is_never_inflated() -> None:
    """64 chunks that inflate to 60 MB each."""
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(60_000_000), 9))
    tracemalloc.start()
    picture = read_picture(PNG[:BEFORE_PIXELS] + 64 * bomb + PNG[BEFORE_PIXELS:])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(picture.pixels, pixels_of(PNG))
    assert peak < 4 * 64 * len(bomb), "of the order of the file"


def test_wrong_checksum_of_pixels_whose_own_is_right() -> None:
    end = len(PNG) - 12
    picture = read_picture(PNG[: end - 4] + b"abcd" + PNG[end:])
    np.testing.assert_array_equal(picture.pixels, pixels_of(PNG))
    assert "checksum" in picture.note
    with pytest.raises(ImageError, match="corrupt"):
        read_picture(PNG[: end - 8] + b"abcdabcd" + PNG[end:])


@pytest.mark.parametrize(
    ("whole", "end", "filled"),
    [
        (JPEG, 2, b""),
        (encode("JPEG", progressive=True), 2, b""),
        (PNG, 12, b""),
        (JPEG, 2, bytes(5000)),
        (encode("JPEG", progressive=True), 2, bytes(5000)),
    ],
    ids=["JPEG", "progressive", "PNG", "JPEG-zeros", "progressive-zeros"],
)
def test_the_end_of_the_file_is_missing_but_no_pixel(whole: bytes, end: int, filled: bytes) -> None:
    data = whole[:-end]
    picture = read_picture(data + filled)
    np.testing.assert_array_equal(picture.pixels, pixels_of(whole))
    assert (picture.missing, picture.note) == (0.0, "the end of the file is missing, but no pixel")
    np.testing.assert_array_equal(decode(data + filled), picture.pixels)


def test_a_jpeg_filled_with_zeros_is_truncated() -> None:
    data = encode("JPEG", quality=98)
    part = data[: len(data) * 3 // 4]
    picture = read_picture(part + bytes(len(JPEG)))
    np.testing.assert_array_equal(picture.pixels, read_picture(part).pixels)
    assert picture.missing > 0.2


def test_bytes_before_the_first_marker_of_a_jpeg() -> None:
    """T.81 has none there; libjpeg skips them."""
    data = JPEG[:2] + bytes(3) + JPEG[2:]
    assert kind_of_bytes(data[:1024]) == "picture"
    np.testing.assert_array_equal(decode(data), pixels_of(JPEG))


def test_damaged_metadata_of_a_jpeg() -> None:
    picture = read_picture(JPEG[:2] + b"\xff\xee\0\x07Adobe" + JPEG[2:])
    np.testing.assert_array_equal(picture.pixels, pixels_of(JPEG))
    assert "metadata" in picture.note


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0MM\0*"}], ids=str)
@pytest.mark.parametrize("off", [1000, -40, None])
def test_a_webp_of_another_length_than_it_says(options: dict[str, object], off: int | None) -> None:
    data = encode("WEBP", **options)
    size = 0 if off is None else len(data) - 8 + off
    picture = read_picture(data[:4] + struct.pack("<I", size) + data[8:])
    np.testing.assert_array_equal(picture.pixels, pixels_of(data))
    assert "length" in picture.note
    with pytest.raises(ImageError, match="truncated"):
        read_picture(data[:-30])


def test_big_tiff_is_a_picture() -> None:
    data = encode("TIFF", big_tiff=True)
    assert kind_of_bytes(data[:1024]) == "picture"
    np.testing.assert_array_equal(decode(data), pixels_of(data))


def test_a_clip_behind_a_photo_is_named(tmp_path: Path) -> None:
    """As phones store moving photos: the MP4 file follows the picture's end."""
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        out.mux(stream.encode())
    picture = read_picture(JPEG + (tmp_path / "a.mp4").read_bytes())
    np.testing.assert_array_equal(picture.pixels, pixels_of(JPEG))
    assert "clip" in picture.note
