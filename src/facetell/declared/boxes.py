"""Where MP4, MOV, HEIC and AVIF keep what they say of themselves: boxes; ISO/IEC 14496-12, QuickTime File Format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from facetell.declared.found import EXIF_BYTES, PARTS, TEXT_BYTES, XMP_BYTES, Found, number, read_at
from facetell.declared.pictures import exif_block

__all__ = ["read_boxes"]

_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # XMP part 3, 1.2.7
_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # C2PA 2.2, A.5.1
_INDEX_BYTES = 2**20  # of the lists of items, of which a HEIC has some 60
_ITEMS = 10_000


class _Box(NamedTuple):
    """``kind``, and where its content is in the file."""

    kind: bytes
    start: int
    end: int


def _boxes(file: BinaryIO, start: int, end: int, found: Found) -> Iterator[_Box]:
    for _ in range(PARTS):
        head = read_at(file, start, 16)
        if start + 8 > end or len(head) < 8:
            return
        size, inside = number(head[:4]), start + 8
        if size == 1:
            size, inside = number(head[8:]), start + 16
        stop = min(start + size if size else end, end)
        if stop < inside:
            return
        yield _Box(head[4:8], inside, stop)
        start = stop
    found.too_many()


def read_boxes(file: BinaryIO, found: Found, mime: str) -> None:
    """Bring home what the file's boxes say; ``mime``: its type."""
    end = file.seek(0, 2)
    for box in _boxes(file, 0, end, found):
        if box.kind == b"uuid":
            kind = read_at(file, box.start, 16)
            if kind == _C2PA:
                found.credentials = mime
            elif kind == _XMP:
                found.xmp(_read(file, box.start + 16, box.end, XMP_BYTES + 1))
        elif box.kind == b"meta":
            _items(file, box, found)
        elif box.kind == b"moov":
            for inner in _boxes(file, box.start, box.end, found):
                if inner.kind == b"udta":
                    _user_data(file, inner, found)
                elif inner.kind == b"meta":
                    _tags(file, inner, found)


def _read(file: BinaryIO, start: int, end: int, limit: int) -> bytes:
    return read_at(file, start, max(0, min(end - start, limit)))


def _user_data(file: BinaryIO, box: _Box, found: Found) -> None:
    """QuickTime File Format, user data atoms: each a size (2 bytes), a language and a text."""
    for inner in _boxes(file, box.start, box.end, found):
        if inner.kind == b"meta":
            _tags(file, inner, found)
        elif inner.kind == b"XMP_":
            found.xmp(_read(file, inner.start, inner.end, XMP_BYTES + 1))
        elif inner.kind[:1] == b"\xa9":
            data = _read(file, inner.start, inner.end, TEXT_BYTES + 4)
            found.text(f"MP4 {_name(inner.kind)}", data[4 : 4 + number(data[:2])].decode("utf-8", "replace"))


def _tags(file: BinaryIO, box: _Box, found: Found) -> None:
    """QuickTime File Format, metadata atoms: names in ``keys``, or four letters of iTunes, and values in ``ilst``."""
    full = read_at(file, box.start + 4, 4) != b"hdlr"  # QuickTime's has no version
    names: list[str] = []
    for inner in _boxes(file, box.start + 4 * full, box.end, found):
        if inner.kind == b"keys":
            names = _keys(_read(file, inner.start, inner.end, TEXT_BYTES))
        elif inner.kind == b"ilst":
            for item in _boxes(file, inner.start, inner.end, found):
                index = number(item.kind)
                name = names[index - 1] if 0 < index <= len(names) else _name(item.kind)
                for value in _boxes(file, item.start, item.end, found):
                    if value.kind == b"data":
                        data = _read(file, value.start, value.end, TEXT_BYTES + 8)
                        if number(data[:4]) == 1:  # UTF-8
                            found.text(f"MP4 {name}", data[8:].decode("utf-8", "replace"))


def _keys(data: bytes) -> list[str]:
    names, at = [], 8
    while at + 8 <= len(data):
        size = number(data[at : at + 4])
        if size < 8:
            break
        names.append(data[at + 8 : at + size].decode("utf-8", "replace"))
        at += size
    return names


def _name(kind: bytes) -> str:
    return kind.decode("latin-1")


def _items(file: BinaryIO, box: _Box, found: Found) -> None:
    """EXIF and XMP of a HEIC or AVIF: ISO/IEC 14496-12, 8.11.3 and 8.11.6; ISO/IEC 23008-12, A.2 and A.3."""
    wanted: dict[int, bytes] = {}
    places: dict[int, tuple[int, int]] = {}
    data_at = 0
    for inner in _boxes(file, box.start + 4, box.end, found):
        if inner.kind == b"iinf":
            wanted = _kinds(file, inner, found)
        elif inner.kind == b"iloc":
            places = _places(_read(file, inner.start, inner.end, _INDEX_BYTES))
        elif inner.kind == b"idat":
            data_at = inner.start
    for item, kind in wanted.items():
        at, size = places.get(item, (0, 0))
        if at < 0:  # in `idat`
            at = data_at - at - 1
        if kind == b"mime":
            found.xmp(read_at(file, at, size) if size <= XMP_BYTES else None)
        else:
            data = read_at(file, at, min(size, EXIF_BYTES))
            exif_block(data[4 + number(data[:4]) :], found)


def _kinds(file: BinaryIO, box: _Box, found: Found) -> dict[int, bytes]:
    """The items that are EXIF or XMP."""
    kinds: dict[int, bytes] = {}
    head = 6 if read_at(file, box.start, 1) == b"\0" else 8
    for entry in _boxes(file, box.start + head, box.end, found):
        data = _read(file, entry.start, entry.end, 200)
        wide = 4 if data[:1] == b"\3" else 2
        kind, rest = data[6 + wide : 10 + wide], data[10 + wide :]
        if kind == b"Exif" or (kind == b"mime" and rest.partition(b"\0")[2].startswith(b"application/rdf+xml")):
            kinds[number(data[4 : 4 + wide])] = kind
    return kinds


def _places(data: bytes) -> dict[int, tuple[int, int]]:
    """Where each item begins and how long it is, if it is in one piece; below 0: -1 - its place in ``idat``."""
    places: dict[int, tuple[int, int]] = {}
    if len(data) < 8:
        return places
    version = data[0]
    offset_size, length_size, base_size, index_size = data[4] >> 4, data[4] & 15, data[5] >> 4, data[5] & 15
    index_size = index_size if version else 0
    wide = 4 if version == 2 else 2
    count, at = number(data[6 : 6 + wide]), 6 + wide
    for _ in range(min(count, _ITEMS)):
        item, at = number(data[at : at + wide]), at + wide
        method = data[at + 1] & 15 if version and at + 1 < len(data) else 0
        at += 4 if version else 2
        base, at = number(data[at : at + base_size]), at + base_size
        extents, at = number(data[at : at + 2]), at + 2
        start = at + index_size
        offset = base + number(data[start : start + offset_size])
        length = number(data[start + offset_size : start + offset_size + length_size])
        if extents == 1 and method in (0, 1):
            places[item] = (-1 - offset if method else offset, length)
        at += extents * (index_size + offset_size + length_size)
        if at > len(data):
            break
    return places
