"""Raw photos and TIFF files whose first directory is a thumbnail: the main picture, or none."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from conftest import picture_bytes
from PIL import Image

from facetell.errors import ImageError
from facetell.media.kind import kind_of_bytes
from facetell.pixels.decode import decode, probe, read_picture
from facetell.pixels.encode import encode

LARGE = np.asarray(Image.open(io.BytesIO(picture_bytes(3, (62, 44)))).convert("RGB").resize((660, 480)))
SMALL = np.asarray(Image.fromarray(LARGE).resize((120, 90)))[..., ::-1].copy()
SENSOR = {256: 660, 257: 480, 258: 16, 259: 1, 262: 32803, 277: 1}


def shown(pixels: np.ndarray, **tags: int) -> tuple[dict[int, int], bytes]:
    height, width = pixels.shape[:2]
    return {256: width, 257: height, 258: 8, 259: 1, 262: 2, 277: 3, 278: height}, pixels.tobytes()


def as_jpeg(pixels: np.ndarray) -> tuple[dict[int, int], bytes]:
    return {**shown(pixels)[0], 259: 7, 262: 6}, encode(pixels, 95)


def tiff(*directories: tuple[dict[int, int], bytes], order: str = "<", children: bool = True) -> bytes:
    """A TIFF file of directories with one strip each; those after the first are its children, or follow it."""
    out = bytearray((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8))
    places = []
    at = 8
    for number, (tags, _) in enumerate(directories):
        places.append(at)
        at += 6 + 12 * (len(tags) + 2 + (children and number == 0 and len(directories) > 1))
    for number, (tags, strip) in enumerate(directories):
        entries = {**tags, 273: at, 279: len(strip)}
        if children and number == 0 and len(directories) > 1:
            assert len(directories) == 2, "several need an array"
            entries[330] = places[1]
        out += struct.pack(order + "H", len(entries))
        for tag in sorted(entries):
            value = entries[tag]
            short = tag in (258, 259, 262, 274, 277) and value < 2**16
            body = struct.pack(order + "H", value) + b"\0\0" if short else struct.pack(order + "I", value)
            out += struct.pack(order + "HHI", tag, 3 if short else 4, 1) + body
        after = places[number + 1] if not children and number + 1 < len(places) else 0
        out += struct.pack(order + "I", after)
        at += len(strip)
    return bytes(out) + b"".join(strip for _, strip in directories)


def first(pixels: np.ndarray, **tags: int) -> tuple[dict[int, int], bytes]:
    made, strip = shown(pixels)
    return {**made, 254: 1, **{int(tag[1:]): value for tag, value in tags.items()}}, strip


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_thumbnail_is_not_the_photo(order: str) -> None:
    data = tiff(first(SMALL, _50706=0x401), (SENSOR, bytes(2 * 660 * 480)), order=order)
    assert Image.open(io.BytesIO(data)).size == (120, 90), "what a reader of TIFF gives"
    with pytest.raises(ImageError, match=r"only a thumbnail of 120x90") as caught:
        read_picture(data)
    assert caught.value.reason == "unsupported"
    assert "develop it" in caught.value.message


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_largest_preview_counts(order: str, orientation: int) -> None:
    photo = as_jpeg(LARGE)
    data = tiff(first(SMALL, _50706=0x401, _274=orientation), photo, order=order)
    expected = np.asarray(Image.open(io.BytesIO(photo[1])))
    picture = read_picture(data)
    np.testing.assert_array_equal(picture.pixels, np.rot90(expected, -1) if orientation == 6 else expected)
    assert picture.note.startswith("the preview of 660x480")
    assert (probe(data).height, probe(data).width) == picture.pixels.shape[:2]


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_preview_without_jpeg(orientation: int) -> None:
    data = tiff(first(SMALL, _50706=0x401, _274=orientation), shown(LARGE))
    np.testing.assert_array_equal(decode(data), np.rot90(LARGE, -1) if orientation == 6 else LARGE)


@pytest.mark.parametrize("children", [True, False])
def test_a_tiff_whose_first_directory_is_a_smaller_copy(children: bool) -> None:
    data = tiff(first(SMALL), shown(LARGE), children=children)
    picture = read_picture(data)
    np.testing.assert_array_equal(picture.pixels, LARGE)
    assert "smaller copy" in picture.note


def test_an_ordinary_tiff_of_two_pages_gives_its_first() -> None:
    data = tiff(shown(SMALL), shown(LARGE), children=False)
    np.testing.assert_array_equal(decode(data), SMALL)


@pytest.mark.parametrize(
    "head",
    [b"FUJIFILMCCD-RAW 0201", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", b"IIRO\x08\0\0\0", b"IIU\0\x08\0\0\0"],
    ids=["RAF", "CR3", "ORF", "RW2"],
)
def test_other_raw_files_are_searched_for_their_largest_jpeg(head: bytes) -> None:
    thumbnail, photo = encode(SMALL, 90), encode(LARGE, 95)
    lossless = photo.replace(b"\xff\xc0", b"\xff\xc3", 1)
    data = head + bytes(100) + thumbnail + bytes(50) + photo + lossless + bytes(30)
    assert kind_of_bytes(data[:1024]) == "picture"
    np.testing.assert_array_equal(decode(data), np.asarray(Image.open(io.BytesIO(photo))))
    with pytest.raises(ImageError, match="thumbnail of 120x90"):
        decode(head + bytes(100) + thumbnail + lossless)
    with pytest.raises(ImageError, match="no preview"):
        decode(head + bytes(5000))


def test_a_file_full_of_beginnings_costs_little_time() -> None:
    with pytest.raises(ImageError, match="no preview"):
        decode(b"FUJIFILMCCD-RAW " + b"\xff\xd8\xff\xe0\0\x02" * 1_000_000)
