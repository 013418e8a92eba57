"""Picture or video? Told by the first bytes, and whether it moves; a file's name says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Literal

from facetell.media.delays import is_animated
from facetell.media.limits import file_size, no_access
from facetell.pixels.opening import AVIF_BRANDS, HEIC_BRANDS
from facetell.pixels.raw import OTHER_RAWS

__all__ = ["HEAD", "VIDEO_FORMATS", "Kind", "is_animation", "kind_of", "kind_of_bytes"]

Kind = Literal["picture", "video"]

VIDEO_FORMATS = ("mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "ogg", "asf", "yuv4mpegpipe")
"""FFmpeg's names of the containers below. It may open no other: playlists among them would open further files."""

HEAD = 1024
"""Bytes; enough for every mark below."""

_PICTURE_STARTS = (
    b"\xff\xd8",  # JPEG; what follows should be the next marker, but decoders skip to it
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",  # TIFF
    b"MM\0*",
    b"II+\0",  # BigTIFF
    b"MM\0+",
    b"\0\0\0\x0cjP  \r\n\x87\n",  # JPEG 2000
    b"\xff\x4f\xff\x51",
    *OTHER_RAWS,
)
_VIDEO_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"OggS",
    b"\0\0\x01\xba",  # MPEG program stream
    b"\0\0\x01\xb3",  # MPEG-1/2 video alone
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"YUV4MPEG2 ",
)
_OTHER_BRANDS = (b"jxl ",)  # JPEG XL shares the box structure, but nobody here reads it
_MOVING = (b"avis", b"msf1", b"hevc", b"hevx")  # sequences of AVIF and HEIC pictures
_QUICKTIME_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"moof", b"sidx")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # sizes of the header's versions


def kind_of(path: Path) -> Kind | None:
    """``picture``, ``video`` or None for neither; an animated picture is a video, and sound alone in a video container
    passes for one until it is opened.

    Raises:
        MediaError: ``missing``, ``empty``, ``no_access``, or ``unsupported`` for what is not a regular file.
    """
    file_size(path)
    try:
        with path.open("rb") as file:
            kind = kind_of_bytes(file.read(HEAD))
            return "video" if kind == "picture" and _animated(file) else kind
    except OSError as error:
        raise no_access(error) from None


def is_animation(path: Path) -> bool:
    """Whether a file is an animated GIF, PNG or WebP.

    Raises:
        MediaError: as `kind_of`.
    """
    file_size(path)
    try:
        with path.open("rb") as file:
            return _animated(file)
    except OSError as error:
        raise no_access(error) from None


def _animated(file: BinaryIO) -> bool:
    file.seek(0)
    return is_animated(file)


def kind_of_bytes(head: bytes) -> Kind | None:
    """As `kind_of`, from the first 1024 bytes of a file (fewer if it has fewer); an animated GIF, PNG or WebP passes for a
    picture."""
    if head[4:8] == b"ftyp":
        brand, all_brands = head[8:12], head[8 : int.from_bytes(head[:4], "big")]
        if brand in _MOVING or any(all_brands[at : at + 4] in _MOVING for at in range(8, len(all_brands), 4)):
            return "video"
        return (
            None if brand in _OTHER_BRANDS else "picture" if brand in (*HEIC_BRANDS, *AVIF_BRANDS, b"crx ") else "video"
        )
    if head[:4] == b"RIFF":
        form = head[8:12]
        return "picture" if form == b"WEBP" else "video" if form == b"AVI " else None
    if head.startswith(_PICTURE_STARTS) or _is_bmp(head) or _is_pnm(head):
        return "picture"
    if head.startswith(_VIDEO_STARTS) or head[4:8] in _QUICKTIME_BOXES or _is_transport_stream(head):
        return "video"
    return None


def _is_bmp(head: bytes) -> bool:
    return head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS


def _is_pnm(head: bytes) -> bool:
    return head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace()


def _is_transport_stream(head: bytes) -> bool:
    """Packets of 188 bytes that each start with 0x47; cameras put four bytes before each (M2TS)."""
    return any(
        len(head) > first + 2 * step and all(head[first + step * i] == 0x47 for i in range(3))
        for first, step in ((0, 188), (4, 192))
    )
