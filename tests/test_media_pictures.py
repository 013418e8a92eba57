"""Photos as people have them: HEIC, AVIF, and truncated ones, of which the whole rows are given."""

from __future__ import annotations

import contextlib
import io
import struct
from typing import Any

import numpy as np
import pytest
from conftest import picture_bytes
from numpy.typing import NDArray
from PIL import Image

from facetell.errors import ImageError
from facetell.pixels.decode import decode, probe, read_picture

SIZE = (60, 240)


def photo(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    """Noise, so that every row costs bytes and no row is black or white."""
    noise = np.random.default_rng(5).integers(20, 230, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def test_a_whole_picture_has_nothing_missing() -> None:
    data = picture_bytes()
    picture = read_picture(data)
    np.testing.assert_array_equal(picture.pixels, decode(data))
    assert (picture.note, picture.missing, picture.reason) == ("", 0.0, "")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_is_said(kind: str) -> None:
    images = [Image.new("RGB", (6, 5), colour) for colour in ("red", "green", "blue")]
    picture = read_picture(encode(images[0], kind, save_all=True, append_images=images[1:]))
    assert picture.note == f"first of 3 {'pictures' if kind == 'TIFF' else 'frames'}"


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "PPM", "TIFF"])
def test_truncated_at_every_tenth_gives_the_rows_that_are_whole(kind: str, mode: str) -> None:
    if mode == "CMYK" and kind in ("PNG", "BMP", "PPM"):
        pytest.skip("cannot store CMYK")
    data = encode(photo(mode), kind)
    whole = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    shares = []
    for tenth in range(1, 10):
        try:
            picture = read_picture(data[: len(data) * tenth // 10])
        except ImageError:  # not even one row
            continue
        rows = picture.pixels.shape[0]
        expected = whole[-rows:] if kind == "BMP" else whole[:rows]  # BMP is stored bottom-up
        np.testing.assert_array_equal(picture.pixels, expected, err_msg=f"{tenth}/10")
        assert picture.missing == pytest.approx(1 - rows / SIZE[1])
        assert abs(picture.missing - (1 - tenth / 10)) < 0.25, f"{tenth}/10: {picture.missing}"
        assert picture.reason.startswith("truncated")
        shares.append(picture.missing)
    assert len(shares) >= 7 or kind == "TIFF"
    assert shares == sorted(shares, reverse=True)


def test_a_truncated_gif_gives_its_rows_unless_they_are_interlaced() -> None:
    data = encode(photo("L"), "GIF", interlace=0)
    whole = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    picture = read_picture(data[: len(data) // 2])
    np.testing.assert_array_equal(picture.pixels, whole[: len(picture.pixels)])
    assert 0.3 < picture.missing < 0.7
    with pytest.raises(ImageError, match="truncated"):
        read_picture(encode(photo("L"), "GIF", interlace=1)[:-500])


def test_part_of_a_turned_photo_is_cut_before_it_is_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(photo(), "JPEG", exif=exif)
    picture = read_picture(data[: len(data) // 2])
    height, width = picture.pixels.shape[:2]
    assert height == SIZE[0]
    np.testing.assert_array_equal(picture.pixels, decode(data)[:, -width:])  # stored top is shown at the right
    assert picture.missing == pytest.approx(1 - width / SIZE[1])


def test_palette_rows_are_told_from_background_of_the_same_colour() -> None:
    palette = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90), dtype=np.uint8), "L").convert("P")
    palette.putpalette([0, 0, 0] * 256)
    data = encode(palette, "PNG")
    picture = read_picture(data[: len(data) // 2])
    assert 0.3 < picture.missing < 0.7


@pytest.mark.parametrize("lost", [3, 20, 200])
def test_a_progressive_jpeg_gives_the_rows_that_its_last_scan_reached(lost: int) -> None:
    """It goes over all rows in every scan, and viewers show it whole: with the last bit of most rows, a little is missing."""
    data = encode(photo(), "JPEG", progressive=True, quality=90)
    whole = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    picture = read_picture(data[:-lost])
    rows = len(picture.pixels)
    np.testing.assert_array_equal(picture.pixels, whole[:rows])
    assert picture.missing == pytest.approx(1 - rows / SIZE[1])
    assert (0 if lost < 10 else 1e-9) <= picture.missing < 0.3
    assert not picture.missing or picture.reason.startswith("truncated")


@pytest.mark.parametrize(
    ("kind", "options"), [("WEBP", {}), ("AVIF", {}), ("GIF", {}), ("JPEG", {"progressive": True})]
)
def test_formats_that_cannot_give_part(kind: str, options: dict[str, Any]) -> None:
    data = encode(photo(), kind, **options)
    with pytest.raises(ImageError) as caught:
        read_picture(data[: len(data) // 2])
    assert caught.value.reason == "unreadable"


def test_corrupt_is_not_truncated() -> None:
    data = bytearray(encode(photo(), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageError, match="corrupt"):
        read_picture(bytes(data))


def test_avif() -> None:
    data = encode(photo(size=(64, 48)).resize((32, 24)), "AVIF", quality=95)
    assert probe(data).format == "AVIF"
    assert read_picture(data).pixels.shape == (24, 32, 3)


@pytest.fixture(scope="module")
def heic() -> bytes:
    """Left half red, right half blue, as a phone would store it turned."""
    pillow_heif = pytest.importorskip("pillow_heif")
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, :32, 0] = pixels[:, 32:, 2] = 220
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(out, quality=95, exif=exif.tobytes())
    return out.getvalue()


def test_heic_is_upright(heic: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    picture = read_picture(heic)
    assert "HEIF" not in Image.OPEN, "Pillow's formats are the whole process's"
    assert picture.pixels.shape == (64, 48, 3)
    info = probe(heic)
    assert (info.width, info.height, info.format) == (48, 64, "HEIF")
    top, bottom = picture.pixels[:30].mean(axis=(0, 1)), picture.pixels[34:].mean(axis=(0, 1))
    assert top[0] > 180 > 60 > top[2], "turned clockwise: left comes up"
    assert bottom[2] > 180 > 60 > bottom[0]


def test_heic_truncated_and_flipped(heic: bytes) -> None:
    for tenth in range(1, 10):
        with pytest.raises(ImageError) as caught:
            read_picture(heic[: len(heic) * tenth // 10])
        assert caught.value.reason == "unreadable", f"{tenth}/10"
    rng = np.random.default_rng(1)
    for _ in range(60):
        broken = bytearray(heic)
        broken[int(rng.integers(len(heic)))] ^= 1 << int(rng.integers(8))
        with contextlib.suppress(ImageError):  # anything else fails the test
            assert read_picture(bytes(broken)).pixels.shape[2] == 3


def test_heic_shows_its_main_picture() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = pillow_heif.from_pillow(Image.new("RGB", (64, 64), "red"))
    file.add_from_pillow(Image.new("RGB", (64, 64), "blue"))
    out = io.BytesIO()
    file.save(out, primary_index=1)
    picture = read_picture(out.getvalue())
    assert picture.note == "main of 2 pictures"
    assert picture.pixels[..., 2].mean() > 200


def test_nothing_is_printed(heic: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    jpeg, tiff = encode(photo(), "JPEG"), encode(photo(), "TIFF", compression="tiff_lzw")
    for data in (
        jpeg[: len(jpeg) // 2],
        jpeg[:900],
        tiff[: len(tiff) // 2],
        tiff[: len(tiff) * 9 // 10],
        heic[: len(heic) // 2],
    ):
        with contextlib.suppress(ImageError):
            read_picture(data)
    assert capfd.readouterr() == ("", "")


def tiff(values: NDArray[Any], apart: bool) -> bytes:
    """A TIFF of (H, W, C) samples without compression, by TIFF 6.0: 12 bytes a field, channels together or ``apart``."""
    height, width, channels = values.shape
    float_ = values.dtype.kind == "f"
    data = np.ascontiguousarray(values.transpose(2, 0, 1) if apart else values).tobytes()
    plane = len(data) // channels
    fields = {
        256: [width], 257: [height], 258: [values.dtype.itemsize * 8] * channels, 259: [1], 262: [2 if channels > 2 else 1],
        273: [8 + plane * i for i in range(channels)] if apart else [8], 277: [channels], 278: [height],
        279: [plane] * channels if apart else [len(data)], 284: [2 if apart else 1], 339: [3 if float_ else 1] * channels,
    } | ({338: [2]} if channels == 2 else {})  # fmt: skip
    body, more = b"", b""
    start = 8 + len(data) + 2 + 12 * len(fields) + 4
    for tag, numbers in sorted(fields.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        where = packed if len(numbers) == 1 else struct.pack("<I", start + len(more))
        more += b"" if len(numbers) == 1 else packed
        body += struct.pack("<HHI", tag, 4, len(numbers)) + where
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(fields)) + body + bytes(4) + more


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.float32])
def test_tiff_gives_its_samples_or_says_what_it_cannot_read(kind: type, channels: int, apart: bool) -> None:
    """Never the bytes of a channel as those of another, and no whole file is called damaged."""
    plain = np.random.default_rng(0).integers(0, 256, (6, 8, channels), dtype=np.uint8)
    plain[..., 1] = 255 if channels == 2 else plain[..., 1]
    values = (plain * {np.uint8: 1.0, np.uint16: 257.0, np.uint32: 16_843_009.0, np.float32: 1 / 255}[kind]).astype(
        kind
    )
    data = tiff(values, apart)
    if (kind == np.uint8 and not (apart and channels == 2)) or (kind == np.uint16 and channels == 3 and not apart):
        shown = plain if channels == 3 else plain[..., :1].repeat(3, axis=2)
        np.testing.assert_array_equal(read_picture(data).pixels, shown)
    else:
        with pytest.raises(ImageError, match="next: save it as PNG") as caught:
            read_picture(data)
        assert caught.value.reason == "unsupported"
