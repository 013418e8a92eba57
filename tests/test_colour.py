"""Colours as a viewer shows them: profiles, PNG's own chunks, EXIF, the numbers in AVIF, HDR and matrices of video."""

from __future__ import annotations

import io
import runpy
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from clips import av
from conftest import picture_bytes
from PIL import Image, ImageCms

from facetell.media.frame_choice import All
from facetell.media.frames import frames
from facetell.pixels.decode import as_pixels, decode, read_picture

BENCHMARK = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "colour.py"))
SPACES, profile, recoded = BENCHMARK["SPACES"], BENCHMARK["profile"], BENCHMARK["recoded"]
CROP = np.asarray(Image.open(io.BytesIO(picture_bytes(3, (62, 44)))).convert("RGB"))


def encode(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(out, kind, **options)
    return out.getvalue()


def off(seen: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(seen.astype(int) - expected).mean())


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 100, "subsampling": 0})],
)
def test_a_profile_gives_the_colours_of_its_srgb_twin(name: str, kind: str, options: dict[str, object]) -> None:
    turned = recoded(CROP, *SPACES[name])
    assert off(turned, CROP) > 2
    seen = decode(encode(turned, kind, icc_profile=profile(*SPACES[name]), **options))
    assert off(seen, CROP) < (3 if kind == "JPEG" else 1)


def test_pictures_in_memory_and_transparent_ones_too() -> None:
    space = SPACES["Display P3"]
    image = Image.open(io.BytesIO(encode(recoded(CROP, *space), icc_profile=profile(*space))))
    assert off(as_pixels(image), CROP) < 1
    image.putalpha(255)
    assert off(decode(encode(image, icc_profile=profile(*space))), CROP) < 1


def test_the_profile_of_srgb_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(decode(encode(CROP, icc_profile=srgb)), CROP)
    np.testing.assert_array_equal(decode(encode(CROP, icc_profile=profile(*BENCHMARK["SRGB"]))), CROP)


def test_a_grey_profile() -> None:
    """Linear light: 55 of 255 is .2157, which sRGB codes as 128."""
    curve = b"curv" + bytes(8)
    head = b"\4\x20\0\0mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    body = struct.pack(">I4sIII", 1, b"kTRC", 144, len(curve), 0)[:16] + curve
    icc = bytes(4) + head.ljust(120, b"\0") + body
    icc = struct.pack(">I", 4 + len(icc)) + icc
    seen = decode(encode(np.array([[0, 55, 255]], np.uint8), icc_profile=icc))
    np.testing.assert_allclose(seen[0, :, 1].astype(int), [0, 128, 255], atol=1)


@pytest.mark.parametrize(
    "icc", [b"junk", bytes(5000), ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()], ids=len
)
def test_a_profile_that_cannot_be_used_costs_a_note(icc: bytes) -> None:
    picture = read_picture(encode(CROP, icc_profile=icc))
    np.testing.assert_array_equal(picture.pixels, CROP)
    assert "profile cannot be used" in picture.note


def with_chunks(pixels: np.ndarray, chunks: dict[bytes, bytes]) -> bytes:
    data = encode(pixels)
    made = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks.items()
    )
    return data[:33] + made + data[33:]


P3 = SPACES["Display P3"]
P3_CHRM = struct.pack(">8I", *(round(value * 100_000) for value in (*P3[0][6:], *P3[0][:6])))
P3_CICP = bytes([12, 13, 0, 1])


@pytest.mark.parametrize(
    "chunks",
    [{b"cHRM": P3_CHRM, b"gAMA": struct.pack(">I", 45455)}, {b"cICP": P3_CICP}, {b"cICP": P3_CICP, b"sRGB": b"\0"}],
    ids=lambda chunks: "+".join(kind.decode() for kind in chunks),
)
def test_chunks_of_png_give_the_colours_of_the_srgb_twin(chunks: dict[bytes, bytes]) -> None:
    assert off(decode(with_chunks(recoded(CROP, *P3), chunks)), CROP) < 1


@pytest.mark.parametrize(
    "chunks",
    [
        {b"gAMA": struct.pack(">I", 45455)},
        {b"sRGB": b"\0", b"gAMA": struct.pack(">I", 100_000), b"cHRM": P3_CHRM},
        {b"cHRM": bytes(32)},
        {b"gAMA": bytes(4)},
        {b"gAMA": b"1"},
        {b"cICP": b"\1\1\0\1"},
    ],
    ids=lambda chunks: "+".join(kind.decode() for kind in chunks),
)
def test_chunks_that_say_srgb_or_nothing_change_nothing(chunks: dict[bytes, bytes]) -> None:
    np.testing.assert_array_equal(decode(with_chunks(CROP, chunks)), CROP)


def test_linear_gamma_of_png() -> None:
    pixels = np.repeat(np.array([0, 55, 255], np.uint8)[None, :, None], 3, axis=2)
    seen = decode(with_chunks(pixels, {b"gAMA": struct.pack(">I", 100_000)}))
    np.testing.assert_array_equal(seen[0, :, 0], [0, 128, 255])


def test_adobe_rgb_as_cameras_note_it() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    turned = recoded(CROP, *SPACES["Adobe RGB"])
    assert off(decode(encode(turned, "JPEG", quality=100, subsampling=0, exif=exif)), CROP) < 1


def test_numbers_in_avif() -> None:
    data = encode(recoded(CROP, *P3), "AVIF", quality=100, subsampling="4:4:4")
    at = data.index(b"colrnclx") + 8
    assert off(decode(data[:at] + struct.pack(">H", 12) + data[at + 2 :]), CROP) < 2


def film(path: Path, planes: tuple[int, int, int], size: int = 16, **tags: int) -> np.ndarray:
    """The middle pixel of a lossless clip of one colour, given as 10-bit Y, Cb, Cr."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv444p10le"
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        frame = av.VideoFrame(size, size, "yuv444p10le")
        for plane, value in zip(frame.planes, planes, strict=True):
            plane.update(np.full(plane.buffer_size // 2, value, "<u2").tobytes())
        for name, value in tags.items():
            if hasattr(frame, name):
                setattr(frame, name, value)
        frame.pts = 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    (shot,) = frames(path, All())
    return shot.pixels[size // 2, size // 2].astype(int)


HDR = {"color_primaries": 9, "colorspace": 9}


def test_hlg_as_bt2100_displays_it(tmp_path: Path) -> None:
    """Half the signal is 1/12 of the scene's light: 1000 · (1/12)^1.2 = 50.7 cd/m², coded for a gamma of 2.4: 192."""
    np.testing.assert_allclose(film(tmp_path / "a.mkv", (502, 512, 512), color_trc=18, **HDR), 192, atol=1)


def test_pq_in_cd_per_square_metre(tmp_path: Path) -> None:
    """SMPTE ST 2084: 100 cd/m² are .5081 of the signal, 10 are .3014; (10 / 100)^(1 / 2.4) = .383."""
    np.testing.assert_allclose(film(tmp_path / "a.mkv", (509, 512, 512), color_trc=16, **HDR), 255, atol=2)
    np.testing.assert_allclose(film(tmp_path / "b.mkv", (328, 512, 512), color_trc=16, **HDR), 98, atol=1)


def test_what_is_brighter_than_sdr_keeps_its_order(tmp_path: Path) -> None:
    from facetell.pixels.light import coding, to_srgb

    hdr = coding(9, 16)
    assert hdr is not None
    ramp = np.repeat(np.linspace(0, 49_000, 200).astype(np.uint16)[None, :, None], 3, axis=2)  # to 980 cd/m²
    seen = to_srgb(ramp, hdr)[0, :, 0].astype(int)
    assert (np.diff(seen) >= 0).all()
    assert seen[-1] == 255
    white = seen[round(0.5807 * 65535 / 49_000 * 199)]
    assert 200 < white < 250, "203 cd/m² are no longer white, but most of it"


@pytest.mark.parametrize("white", [100, 203])
def test_sdr_put_into_hdr_comes_out_again(white: int) -> None:
    """By either of the two usual whites; SMPTE ST 2084 and BT.1886."""
    from facetell.pixels.light import coding, to_srgb

    hdr = coding(9, 16)
    assert hdr is not None
    power = (white * (np.arange(256) / 255) ** 2.4 / 10_000) ** 0.1593017578125
    signal = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    ramp = np.repeat(np.rint(65535 * signal).astype(np.uint16)[None, :, None], 3, axis=2)
    np.testing.assert_allclose(to_srgb(ramp, hdr)[0, :, 0].astype(int), np.arange(256), atol=1)


def test_wide_colours_of_sdr_video(tmp_path: Path) -> None:
    """BT.709's red is (.6274, .0691, .0164) of linear BT.2020 light; BT.2087, table of its matrix."""
    r, g, b = (value ** (1 / 2.4) for value in (0.6274, 0.0691, 0.0164))
    y = 0.2627 * r + 0.6780 * g + 0.0593 * b
    planes = (64 + 876 * y, 512 + 896 * (b - y) / 1.8814, 512 + 896 * (r - y) / 1.4746)
    seen = film(tmp_path / "a.mkv", tuple(round(value) for value in planes), color_trc=14, **HDR)
    assert seen[0] >= 253
    assert seen[1:].max() < 30, "light near 0 is coded steeply"


@pytest.mark.parametrize(("size", "kr", "kb"), [(16, 0.299, 0.114), (1280, 0.2126, 0.0722)])
def test_video_that_names_no_matrix_is_taken_by_its_size(tmp_path: Path, size: int, kr: float, kb: float) -> None:
    """R = Y + 2 (1 - Kr) Cr, B = Y + 2 (1 - Kb) Cb, G from the rest; BT.601 and BT.709."""
    y, cb, cr = 400, 480, 600
    level, blue, red = (y - 64) / 876, (cb - 512) / 896, (cr - 512) / 896
    r, b = level + 2 * (1 - kr) * red, level + 2 * (1 - kb) * blue
    expected = [r, (level - kr * r - kb * b) / (1 - kr - kb), b]
    np.testing.assert_allclose(film(tmp_path / "a.mkv", (y, cb, cr), size), np.array(expected) * 255, atol=2)


def test_full_range_of_video(tmp_path: Path) -> None:
    np.testing.assert_allclose(film(tmp_path / "a.mkv", (512, 512, 512), color_range=2), 128, atol=1)
    np.testing.assert_allclose(film(tmp_path / "b.mkv", (502, 512, 512), color_range=1), 128, atol=1)


def ink_profile() -> bytes:
    """A printer's profile (ICC.1:2001, lut8Type): any ink is black, no ink is the paper's white."""
    corners = [100 if not any(ink) else 0 for ink in np.ndindex(2, 2, 2, 2)]
    colours = b"".join(bytes([round(2.55 * light), 128, 128]) for light in corners)
    unit = struct.pack(">9i", *(65536 * value for value in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + unit + bytes(range(256)) * 4 + colours + bytes(range(256)) * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    start = 128 + 4 + 2 * 12
    table = b"A2B0" + struct.pack(">II", start, len(lut)) + b"wtpt" + struct.pack(">II", start + len(lut), len(white))
    head = bytes(4) + b"\2\x40\0\0prtrCMYKLab " + bytes(12) + b"acsp" + bytes(28) + white[8:]
    whole = head.ljust(124, b"\0") + struct.pack(">I", 2) + table + lut + white
    return struct.pack(">I", 4 + len(whole)) + whole


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_by_their_profile(kind: str) -> None:
    inks = Image.new("CMYK", (64, 16), (0, 0, 0, 0))
    inks.paste((255, 0, 0, 0), (32, 0, 64, 16))
    plain = decode(encode(inks, kind))
    assert plain[8, 56].tolist()[1:] == [255, 255], "without a profile, cyan"
    seen = decode(encode(inks, kind, icc_profile=ink_profile()))
    assert seen[8, 8].min() > 250
    assert seen[8, 56].max() < 5
    assert "cannot be used" in read_picture(encode(CROP, icc_profile=ink_profile())).note
