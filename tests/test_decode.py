"""Hostile and odd pictures: every one gives pixels like a viewer's, or an ImageError with a reason."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from conftest import picture_bytes
from PIL import Image, ImageOps

from facetell.errors import ImageError
from facetell.pixels import hide_metadata_warnings
from facetell.pixels.decode import ImageInfo, decode, decode_resized, probe, resize


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def photo(mode: str = "RGB", size: tuple[int, int] = (31, 22)) -> Image.Image:
    return Image.open(io.BytesIO(picture_bytes(3, size))).convert(mode)


def reason(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.message
    return caught.value.reason


@pytest.mark.slow  # to import torchvision takes as long as all other tests of this file
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_has_torchvisions_pixels(subsampling: int, progressive: bool, mode: str) -> None:
    from torchvision.io import ImageReadMode, decode_jpeg

    data = encode(photo(mode), "JPEG", quality=80, subsampling=subsampling, progressive=progressive)
    expected = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)
    np.testing.assert_array_equal(decode(data), expected.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_lossless_formats_give_the_pixels_back(kind: str, mode: str) -> None:
    image = photo(mode)
    data = encode(image, kind)
    np.testing.assert_array_equal(decode(data), np.asarray(image.convert("RGB")))
    assert probe(data) == ImageInfo(kind, 31, 22, mode, 1, 1)


def test_lossless_webp() -> None:
    np.testing.assert_array_equal(decode(encode(photo(), "WEBP", lossless=True)), np.asarray(photo()))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_as_pillow_turns_it(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photo(), kind, exif=exif)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    pixels = decode(data)
    np.testing.assert_array_equal(pixels, shown)
    info = probe(data)
    assert (info.height, info.width) == pixels.shape[:2]
    assert pixels.shape[:2] == ((31, 22) if orientation > 4 else (22, 31))


def test_orientation_is_not_trusted_blindly() -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    data = encode(photo(), "PNG", exif=exif)
    assert probe(data).orientation == 1
    np.testing.assert_array_equal(decode(data), np.asarray(photo()))


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    values = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    pixels = decode(encode(Image.fromarray(values), "PNG"))
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 0, 1, 128, 255])
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])


def test_sixteen_bit_tiff() -> None:
    values = (np.arange(12, dtype=np.uint16) * 5000).reshape(3, 4)
    np.testing.assert_array_equal(decode(encode(Image.fromarray(values), "TIFF"))[..., 1], values >> 8)


def test_sixteen_bit_rgb_png() -> None:
    values = (np.arange(2 * 3 * 3, dtype=np.uint16) * 3600).reshape(2, 3, 3)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    data = png(3, 2, rows, depth=16)
    np.testing.assert_array_equal(decode(data), values >> 8)


def test_float_pixels_are_refused() -> None:
    assert reason(encode(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF")) == "unsupported"


def test_alpha_lies_on_black() -> None:
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0, :, :3] = 200
    rgba[0, :, 3] = (0, 128, 255)
    pixels = decode(encode(Image.fromarray(rgba), "PNG"))
    np.testing.assert_allclose(pixels[0, :, 0].astype(int), [0, 100, 200], atol=1)
    grey = decode(encode(Image.fromarray(rgba[..., [0, 3]], "LA"), "PNG"))
    np.testing.assert_array_equal(grey, pixels)


def test_palette_with_and_without_alpha() -> None:
    palette = photo().quantize(16)
    np.testing.assert_array_equal(decode(encode(palette, "PNG")), np.asarray(palette.convert("RGB")))
    see_through = encode(palette, "PNG", transparency=bytes([0] + [255] * 15))
    pixels = decode(see_through)
    hole = np.asarray(palette) == 0
    assert hole.any()
    assert (pixels[hole] == 0).all()
    np.testing.assert_array_equal(pixels[~hole], np.asarray(palette.convert("RGB"))[~hole])


@pytest.mark.parametrize("mode", ["1", "CMYK", "YCbCr", "LAB"])
def test_other_colour_modes_become_rgb(mode: str) -> None:
    data = encode(photo(mode), "TIFF")
    np.testing.assert_array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_cmyk_jpeg() -> None:
    pixels = decode(encode(photo("CMYK"), "JPEG", quality=95))
    assert np.abs(pixels.astype(int) - np.asarray(photo("CMYK").convert("RGB"))).mean() < 6


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_gives_the_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (6, 5), colour) for colour in ("red", "green", "blue")]
    data = encode(
        frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    assert probe(data).frames == 3
    np.testing.assert_array_equal(decode(data), np.asarray(frames[0]))


def test_zero_bytes() -> None:
    assert reason(b"") == "empty"


@pytest.mark.parametrize(
    "data",
    [b"hello", b"\0" * 100, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.4", b"%!PS-Adobe-3.0 EPSF-3.0\n"],
    ids=["text", "zeros", "svg", "pdf", "eps"],
)
def test_no_picture(data: bytes) -> None:
    assert reason(data) == "unsupported"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM"])
def test_truncation_at_every_tenth(kind: str) -> None:
    data = encode(photo(), kind)
    for tenth in range(1, 10):
        with pytest.raises(ImageError) as caught:
            decode(data[: len(data) * tenth // 10])
        assert caught.value.reason == "unreadable", f"{tenth}/10"


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {})])
def test_losing_the_last_bytes_gives_every_pixel_or_is_told(kind: str, options: dict[str, object]) -> None:
    data = encode(photo(), kind, **options)
    whole = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    taken = []
    for cut in range(1, 41):
        with contextlib.suppress(ImageError):
            np.testing.assert_array_equal(decode(data[:-cut]), whole)
            taken.append(cut)
    assert {1, 2} <= set(taken), "an end marker has no pixels"
    assert max(taken) <= 24, "and what comes before it and its checksums has"
    with pytest.raises(ImageError, match="truncated"):
        decode(data[:-30])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_flipped_bits_give_pixels_or_a_reason(kind: str) -> None:
    data = encode(photo(), kind)
    rng = np.random.default_rng(1)
    for _ in range(150):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            broken[place] ^= 1 << int(rng.integers(8))
        with contextlib.suppress(ImageError):  # anything else fails the test
            pixels = decode(bytes(broken))
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes, depth: int = 8) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_100, 12_000, 60_000])
def test_bombs_are_refused_by_their_header(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    assert reason(png(side, side, b"")) == "unsupported"


@pytest.mark.parametrize("size", [(8192, 6144), (9248, 6936)])
def test_photos_of_phones_are_within_the_limit(size: tuple[int, int]) -> None:
    """Sensors of 50 and of 64 megapixels."""
    assert (probe(png(*size, b"")).width, probe(png(*size, b"")).height) == size


def test_largest_picture_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facetell.pixels.opening.MAX_PIXELS", 12)
    assert decode(png(4, 3, (b"\0" + b"\7" * 12) * 3)).shape == (3, 4, 3)
    assert reason(png(13, 1, b"\0" + b"\7" * 39)) == "unsupported"


def test_too_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facetell.pixels.opening.MAX_BYTES", 100)
    assert reason(encode(photo(), "PNG")) == "unsupported"


def test_damaged_png_pixels_are_told() -> None:
    data = bytearray(encode(photo(size=(90, 80)), "PNG"))
    place = data.find(b"IDAT") + 200
    data[place : place + 40] = bytes(40)
    assert reason(bytes(data)) == "unreadable"


def test_pixels_are_writable_and_ours() -> None:
    for kind in ("JPEG", "PNG"):
        pixels = decode(encode(photo(), kind))
        assert pixels.flags.c_contiguous
        pixels[:] = 0


def test_resize_is_antialiased_and_exact_at_its_own_size() -> None:
    data = encode(photo(size=(16, 16)), "PNG")
    np.testing.assert_array_equal(decode_resized(data, 16), decode(data))
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = decode_resized(encode(Image.fromarray(stripes), "PNG"), 16)
    assert small.shape == (16, 16, 3)
    assert np.abs(small[:, 2:-2].astype(int) - 127).max() < 12, "aliasing would give 0 or 255"


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (37, 51), (70, 50), (90, 160), (720, 1280)])
@pytest.mark.parametrize("to", [(1, 1), (32, 32), (64, 64), (90, 160), (3, 200)])
def test_resize_matches_torchvisions_antialiased_bilinear(shape: tuple[int, int], to: tuple[int, int]) -> None:
    from torchvision.transforms.v2 import functional

    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].double()
    expected = functional.resize(planes, list(to), antialias=True)[0].permute(1, 2, 0).numpy()
    assert np.abs(resize(pixels, *to) - expected).max() <= 1.01, "rounded to whole grey levels in both directions"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_decoding_to_a_size_is_decoding_and_resizing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photo(size=(40, 24)), "JPEG", exif=exif.tobytes())
    np.testing.assert_array_equal(decode_resized(data, 16), resize(decode(data), 16))


def test_odd_metadata_is_warned_of_but_in_the_command() -> None:
    data = encode(photo(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12")
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        decode(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hide_metadata_warnings()
        assert decode(data).shape == (22, 31, 3)
