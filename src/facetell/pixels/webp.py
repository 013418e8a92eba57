"""The outer box of a WebP file, whose stated length is at times wrong; RIFF container specification of WebP."""

from __future__ import annotations

from facetell.errors import ImageError

__all__ = ["canvas", "whole_box"]

_CHUNKS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP ")


def whole_box(data: bytes) -> tuple[bytes, str]:
    """The file with the length that its chunks have, and what was wrong with it, empty if nothing.

    Raises:
        ImageError: ``unreadable``: the last chunk is cut short.
    """
    stated = 8 + int.from_bytes(data[4:8], "little")
    at = 12
    while at < len(data) and at not in (stated, stated + stated % 2):
        if data[at : at + 4] not in _CHUNKS:
            if stated <= len(data):  # a kind that we do not know
                return data, ""
            break
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > len(data):
            raise ImageError("truncated: the end of the picture is missing", reason="unreadable")
        at += 8 + size + size % 2
    if at == 12 or (at in (stated, stated + 1) and at <= len(data)):
        return data, ""
    return b"RIFF" + (at - 8).to_bytes(4, "little") + data[8:at].ljust(at - 8, b"\0"), "its length is stated wrongly"


def canvas(data: bytes) -> tuple[int, int] | None:
    """Width and height of an extended file, else None: decoders take memory for it as they open the file."""
    if data[12:16] != b"VP8X" or len(data) < 30:
        return None
    return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
