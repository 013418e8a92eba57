"""The chunks of a PNG file: only what pixels are made of goes to the decoder.

Text is never inflated, so that megabytes of it cost no picture, and a bomb in it no memory. Chunks that a viewer does
without (those with a small first letter) may be damaged; PNG specification, third edition, sections 5.3, 5.4 and 11.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from facetell.errors import ImageError

__all__ = ["NO_END", "SIGNATURE", "Png", "inflate", "read_png"]

NO_END = "the end of the file is missing, but no pixel"
"""What is said of it."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_PIXELS = (b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf")
_LENGTHS = {b"acTL": range(8, 9), b"fcTL": range(26, 27), b"fdAT": range(4, 2**31)}
_TRANSPARENT = {0: range(2, 3), 2: range(6, 7), 3: range(1, 257)}  # lengths of tRNS by colour type
_ANY = range(2**31)
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_PIECE = 2**20


@dataclass
class Png:
    """``pixels``: the file with nothing but what makes pixels, ended properly; ``colour``: payloads of the colour
    chunks (iCCP, cICP, sRGB, gAMA, cHRM); ``text``: bytes of text as stored; ``notes``: what is wrong without changing
    a pixel; ``cut``: the end of the file is missing, and pixels may be."""

    pixels: bytes
    colour: dict[bytes, bytes] = field(default_factory=dict)
    text: int = 0
    notes: list[str] = field(default_factory=list)
    cut: bool = False


def read_png(data: bytes) -> Png:
    """Take a file apart that starts with `SIGNATURE`.

    Raises:
        ImageError: ``unreadable``: a chunk that no viewer can do without has a wrong checksum, and so have the pixels.
    """
    png = Png(b"", cut=True)
    parts: list[bytes | memoryview] = [SIGNATURE]
    doubtful = False
    lengths = {**_LENGTHS, b"tRNS": _TRANSPARENT.get(data[25] if len(data) > 25 else 0, range(0))}
    view, at = memoryview(data), len(SIGNATURE)
    while at + 8 <= len(data):
        kind = data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IEND":
            png.cut = False
            break
        if end > len(data):
            parts.append(data[at:])
            break
        wrong = zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big")
        critical = kind[:1].isupper()
        if wrong and critical and kind != b"IDAT":
            raise ImageError(f"corrupt: wrong checksum of {ascii(kind)[1:]}", reason="unreadable")
        doubtful |= wrong and critical
        if not critical and (wrong or end - at - 12 not in lengths.get(kind, _ANY)):
            png.notes.append(f"{ascii(kind)[1:]} is damaged and was left out")
        elif critical or kind in _PIXELS:
            parts.append(view[at:end])
        elif kind in (b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM"):
            png.colour.setdefault(kind, data[at + 8 : end - 4])
        elif kind in _TEXT:
            png.text += end - at - 12
        at = end
    if png.cut or doubtful:
        whole = _inflates_whole(data)
        if doubtful and not whole:
            raise ImageError("corrupt: wrong checksum of 'IDAT'", reason="unreadable")
        if doubtful:
            png.notes.append("wrong checksum of 'IDAT', though the pixels' own is right")
        if png.cut and whole:
            png.notes.append(NO_END)
            png.cut = False
    if not png.cut:
        parts.append(b"\0\0\0\0IEND\xaeB`\x82")
    png.pixels = b"".join(parts)
    return png


def inflate(data: bytes, limit: int) -> bytes | None:
    """Inflate a zlib stream to at most ``limit`` bytes; None if it is longer or damaged."""
    stream = zlib.decompressobj()
    try:
        out = stream.decompress(data, limit)
    except zlib.error:
        return None
    return out if stream.eof else None


def _inflates_whole(data: bytes) -> bool:
    """Whether the pixels' compressed stream reaches its own checksum, and that is right."""
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    left = 8 * width * height + 16 * (height + 8)  # four channels of 16 bits, and a byte for each row of each pass
    stream, at = zlib.decompressobj(), len(SIGNATURE)
    try:
        while at + 8 <= len(data) and not stream.eof:
            end = at + 8 + int.from_bytes(data[at : at + 4], "big")
            waiting = data[at + 8 : end] if data[at + 4 : at + 8] == b"IDAT" else b""
            while waiting and not stream.eof:
                left -= len(stream.decompress(waiting, _PIECE))
                if left < 0:
                    return False
                waiting = stream.unconsumed_tail
            at = end + 4
    except zlib.error:
        return False
    return stream.eof
