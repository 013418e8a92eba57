"""The credit line of IPTC-IIM (version 4.2, data set 2:110) and its place in a JPEG, a resource block of Photoshop."""

from __future__ import annotations

from facetell.declared.found import Found, number

__all__ = ["read_iptc", "read_resources"]

_CREDIT = (2, 110)
_IIM = 0x0404
_BLOCKS = 1000


def read_resources(data: bytes, found: Found) -> None:
    """Photoshop File Formats Specification, image resource blocks: ``8BIM``, id, name, length, data, each of even length."""
    at = 0
    for _ in range(_BLOCKS):
        if data[at : at + 4] != b"8BIM":
            return
        kind = number(data[at + 4 : at + 6])
        name = data[at + 6] if at + 6 < len(data) else 0
        at += 6 + name + 1 + (name + 1) % 2
        size = number(data[at : at + 4])
        if kind == _IIM:
            read_iptc(data[at + 4 : at + 4 + size], found)
        at += 4 + size + size % 2


def read_iptc(data: bytes, found: Found) -> None:
    """Data sets one after the other: 0x1C, record, number, length, value."""
    at = 0
    for _ in range(_BLOCKS):
        if data[at : at + 1] != b"\x1c":
            return
        size = number(data[at + 3 : at + 5])
        if tuple(data[at + 1 : at + 3]) == _CREDIT:
            found.text("IPTC Credit", data[at + 5 : at + 5 + size].decode("utf-8", "replace"))
        at += 5 + size
