"""Where JPEG, PNG and WebP keep what they say of themselves."""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

from facetell.declared.exif import read_exif, starts_tiff
from facetell.declared.found import EXIF_BYTES, PARTS, TEXT_BYTES, XMP_BYTES, Found, number, read_at
from facetell.declared.iptc import read_resources

__all__ = ["exif_block", "read_jpeg", "read_png", "read_webp"]

_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_PNG_XMP = b"XML:com.adobe.xmp"


def exif_block(data: bytes, found: Found) -> None:
    """EXIF with or without its six bytes before the TIFF structure."""
    data = data.removeprefix(_EXIF)
    if starts_tiff(data):
        block = io.BytesIO(data)
        read_exif(lambda at, size: read_at(block, at, size), found)


def read_jpeg(file: BinaryIO, found: Found) -> None:
    """ITU-T T.81 B.1.1; EXIF 2.32 4.7.2; XMP part 3, 1.1.3; C2PA 2.2 appendix A.3.1. Up to the first scan."""
    more: dict[bytes, dict[int, bytes]] = {}
    at, held = 2, 0
    for _ in range(PARTS):
        head = read_at(file, at, 4)
        if len(head) < 4 or head[0] != 0xFF or head[1] == 0xDA:
            break
        if head[1] in (0xFF, 0x01) or 0xD0 <= head[1] <= 0xD8:
            at += 1 if head[1] == 0xFF else 2
            continue
        size = number(head[2:]) - 2
        if head[1] in (0xE1, 0xEB, 0xED):
            data = file.read(max(size, 0))
            if data.startswith(_EXIF):
                exif_block(data, found)
            elif data.startswith(_XMP):
                found.xmp(data.removeprefix(_XMP))
            elif data.startswith(_MORE_XMP) and held <= XMP_BYTES:
                held += len(data)
                more.setdefault(data[35:67], {})[number(data[71:75])] = data[75:]
            elif data.startswith(_PHOTOSHOP):
                read_resources(data.removeprefix(_PHOTOSHOP), found)
            elif data.startswith(b"JP") and b"jumb" in data[:32] and b"c2pa" in data[:128]:
                found.credentials = "image/jpeg"
        at += 4 + size
    else:
        found.too_many()
    if held > XMP_BYTES:
        found.xmp(None)
        return
    for parts in more.values():
        found.xmp(b"".join(parts[place] for place in sorted(parts)))


def read_png(file: BinaryIO, found: Found) -> None:
    """PNG, third edition, 5.3 and 11.3.3; C2PA 2.2 appendix A.3.2. Chunks after the pixels count too."""
    at = 8
    for _ in range(PARTS):
        head = read_at(file, at, 8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        size, kind = number(head[:4]), head[4:]
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            _png_text(kind, file.read(min(size, XMP_BYTES + 200)), found)
        elif kind == b"eXIf":
            exif_block(file.read(min(size, EXIF_BYTES)), found)
        elif kind == b"caBX":
            found.credentials = "image/png"
        at += 12 + size
    found.too_many()


def _png_text(kind: bytes, data: bytes, found: Found) -> None:
    keyword, _, rest = data.partition(b"\0")
    is_xmp = keyword == _PNG_XMP
    packed = kind == b"zTXt"
    if packed:
        rest = rest[1:]
    elif kind == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if packed:
        rest = _inflated(rest, XMP_BYTES + 1 if is_xmp else TEXT_BYTES)
    if is_xmp:
        found.xmp(rest)
    else:
        encoding = "utf-8" if kind == b"iTXt" else "latin-1"
        found.text(f"PNG {keyword.decode('latin-1')}", rest[:TEXT_BYTES].decode(encoding, "replace"))


def _inflated(data: bytes, limit: int) -> bytes:
    """The beginning of what a zlib stream holds, at most ``limit`` bytes: a bomb costs no more; nothing of a damaged one."""
    try:
        return zlib.decompressobj().decompress(data, limit)
    except zlib.error:
        return b""


def read_webp(file: BinaryIO, found: Found) -> None:
    """RIFF chunks: WebP container specification; C2PA 2.2 appendix A.3.6."""
    at = 12
    for _ in range(PARTS):
        head = read_at(file, at, 8)
        if len(head) < 8:
            return
        size, kind = int.from_bytes(head[4:], "little"), head[:4]
        if kind == b"EXIF":
            exif_block(file.read(min(size, EXIF_BYTES)), found)
        elif kind == b"XMP ":
            found.xmp(file.read(size) if size <= XMP_BYTES else None)
        elif kind == b"C2PA":
            found.credentials = "image/webp"
        at += 8 + size + size % 2
    found.too_many()
