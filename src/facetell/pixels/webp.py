"""The outer box of a WebP file, whose stated length is at times wrong; RIFF container specification of WebP."""

from __future__ import annotations

from facetell.errors import ImageError

__all__ = ["canvas", "whole_box"]

_CHUNKS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP ")


def whole_box(data: bytes) -> tuple[bytes, str, bool]:
    """The file with the length that its chunks have, what was wrong with it, empty if nothing, and whether its end is
    missing: then an animation keeps the frames that are whole.

    Raises:
        ImageError: ``unreadable``: the end is missing, and it is no animation with a whole frame.
    """
    stated = 8 + int.from_bytes(data[4:8], "little")
    at, cut, frames = 12, False, 0
    while at < len(data) and at not in (stated, stated + stated % 2):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind not in _CHUNKS:
            if stated <= len(data):  # a kind that we do not know
                return data, "", False
            break
        cut = at + 8 + size > len(data) or (kind == b"ANMF" and not _fits(data[at + 24 : at + 8 + size]))
        if cut:
            break
        frames += kind == b"ANMF"
        at += 8 + size + size % 2
    if cut and not frames:
        raise ImageError("truncated: the end of the picture is missing", reason="unreadable")
    if at == 12 or (at in (stated, stated + 1) and at <= len(data)):
        return data, "", False
    whole = b"RIFF" + (at - 8).to_bytes(4, "little") + data[8:at].ljust(at - 8, b"\0")
    return whole, "" if cut else "its length is stated wrongly", cut


def _fits(chunks: bytes) -> bool:
    """Whether the chunks of a frame end where it does."""
    at = 0
    while at + 8 <= len(chunks):
        size = int.from_bytes(chunks[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return 0 < at <= len(chunks) + 1


def canvas(data: bytes) -> tuple[int, int] | None:
    """Width and height of an extended file, else None: decoders take memory for it as they open the file."""
    if data[12:16] != b"VP8X" or len(data) < 30:
        return None
    return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
