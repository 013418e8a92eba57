"""The few tags of EXIF and TIFF that say where a picture comes from; TIFF 6.0 section 2, EXIF 2.32 section 4.6.

Pillow reads every tag, each of which may claim the whole file: thousands of them are gigabytes. Here only these are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from facetell.declared.found import TEXT_BYTES, XMP_BYTES, Found
from facetell.declared.iptc import read_iptc

__all__ = ["read_exif", "starts_tiff"]

Read = Callable[[int, int], bytes]
"""At most ``size`` bytes from a place on."""

_NAMES = {
    0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model", 0x0131: "Software", 0x013B: "Artist",
    0x9286: "UserComment", 0x9C9C: "XPComment",
}  # fmt: skip
_XMP, _IPTC, _EXIF_IFD, _C2PA = 0x02BC, 0x83BB, 0x8769, 0xCD41
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 129: 1}  # by type; 129 is text in UTF-8
_ENTRIES = 1000


def starts_tiff(head: bytes) -> bool:
    """Whether these are the first four bytes of a TIFF, or of EXIF's own."""
    return head[:4] in (b"II*\0", b"MM\0*")


def read_exif(read: Read, found: Found, mime: str | None = None) -> None:
    """Bring home what a TIFF structure says; ``mime``: of a file that is one, whose Content Credentials are a tag."""
    order: Literal["little", "big"] = "little" if read(0, 2) == b"II" else "big"
    for tag, kind, count, at in _entries(read, int.from_bytes(read(4, 4), order), order):
        size = _BYTES.get(kind, 0) * count
        if tag == _EXIF_IFD:
            for inner, inner_kind, inner_count, inner_at in _entries(read, int.from_bytes(read(at, 4), order), order):
                _keep(read, found, inner, _BYTES.get(inner_kind, 0) * inner_count, inner_at, order)
        elif tag == _C2PA and mime is not None:
            found.credentials = mime
        elif tag == _XMP:
            found.xmp(read(at, size) if size <= XMP_BYTES else None)
        elif tag == _IPTC:
            read_iptc(read(at, min(size, TEXT_BYTES)), found)
        else:
            _keep(read, found, tag, size, at, order)


def _entries(read: Read, at: int, order: Literal["little", "big"]) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, count and where the value stands, of each entry of a directory."""
    entries = min(int.from_bytes(read(at, 2), order), _ENTRIES)
    directory = read(at + 2, 12 * entries)
    for start in range(0, len(directory) - 11, 12):
        entry = directory[start : start + 12]
        tag, kind = (int.from_bytes(entry[i : i + 2], order) for i in (0, 2))
        count = int.from_bytes(entry[4:8], order)
        inside = _BYTES.get(kind, 0) * count <= 4
        yield tag, kind, count, at + 2 + start + 8 if inside else int.from_bytes(entry[8:], order)


def _keep(read: Read, found: Found, tag: int, size: int, at: int, order: Literal["little", "big"]) -> None:
    name = _NAMES.get(tag)
    if name is None:
        return
    data = read(at, min(size, TEXT_BYTES))
    if name == "UserComment":
        found.text("EXIF UserComment", _comment(data, order))
    elif name.startswith("XP"):
        found.text(f"EXIF {name}", data.decode("utf-16-le", "replace"))
    else:
        found.text(f"EXIF {name}", data.decode("utf-8", "replace"))


def _comment(data: bytes, order: Literal["little", "big"]) -> str:
    """EXIF 2.32, 4.6.5: eight bytes name the character code. Of UNICODE, writers disagree on the order of bytes, so the
    zeros of Latin text decide."""
    code, text = data[:8], data[8:]
    if not code.startswith(b"UNICODE"):
        return text.decode("utf-8", "replace")
    high_first, low_first = text[0:200:2].count(0), text[1:200:2].count(0)
    if high_first != low_first:
        order = "big" if high_first > low_first else "little"
    return text.decode("utf-16-be" if order == "big" else "utf-16-le", "replace")
