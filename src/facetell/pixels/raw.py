"""The part of a TIFF file or a raw photo that is the picture: never a thumbnail that happens to come first.

Raw photos hold what the sensor saw, which nobody here develops, and JPEG previews of it, as the camera shows them. The
largest preview counts if it is a picture and no thumbnail. TIFF 6.0, TIFF/EP (ISO 12234-2) and DNG 1.7 say which
directory is what; other raw files are searched for JPEG pictures.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from facetell.errors import ImageError

__all__ = ["OTHER_RAWS", "Part", "main_part"]

_TIFF = (b"II*\0", b"MM\0*")
_TIFF_LIKE = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0")  # Olympus, Panasonic
OTHER_RAWS = (*_TIFF_LIKE, b"FUJIFILMCCD-RAW")
"""What raw photos start with that are no TIFF; Canon's CR3 is told by its brand ``crx``."""

_SIZES = {1: 1, 3: 2, 4: 4, 13: 4}  # bytes of the types of numbers: byte, short, long, directory
_SUBFILE, _WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION = 254, 256, 257, 259, 262, 274
_CHILDREN, _DNG = 330, 50706
_WANTED = (_SUBFILE, _WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION, _CHILDREN, _DNG)
_SENSOR = (32803, 34892)  # colour filter array, linear raw
_SHOWN, _PACKED = (1, 2, 6), (1, 5, 8, 32773, 32946)
_MAX_DIRECTORIES, _MAX_NUMBERS, _MAX_SEGMENTS = 100, 10_000, 200_000
_LEAST = 640  # pixels of the longer side: no thumbnail is larger, no preview smaller

_Directory = dict[int, tuple[int, ...]]


@dataclass(frozen=True)
class Part:
    """``data``: a file of the main picture alone; ``turned``: EXIF orientation that it does not hold itself, or 1."""

    data: bytes
    note: str = ""
    turned: int = 1


def main_part(data: bytes) -> Part | None:
    """The main picture of a TIFF file or raw photo; None: the file as it is.

    Raises:
        ImageError: ``unsupported``: a raw photo without a preview that is worth looking at.
    """
    if data.startswith(b"FUJIFILMCCD-RAW") or data[4:12] == b"ftypcrx ":
        at = data.find(b"CMT1", 0, 2**20) + 4 if data[4:12] == b"ftypcrx " else 0
        return _preview(data, [], _directories(data[at : at + 2**16])[:1] if at > 4 else [])
    if not data.startswith((*_TIFF, *_TIFF_LIKE)):
        return None
    found = _directories(data)
    if data.startswith(_TIFF_LIKE) or data[8:10] == b"CR" or any(_is_raw(each) for _, each in found):
        return _preview(data, found, found[:1])
    if found and _is_reduced(found[0][1]):
        for at, directory in found:
            if not _is_reduced(directory) and _area(directory):
                return Part(_starting_at(data, at), "not its first directory, which is a smaller copy")
    return None


def _is_raw(directory: _Directory) -> bool:
    return _DNG in directory or _one(directory, _PHOTOMETRIC) in _SENSOR


def _is_reduced(directory: _Directory) -> bool:
    return bool(_one(directory, _SUBFILE) & 1)


def _one(directory: _Directory, tag: int) -> int:
    return (directory.get(tag) or (0,))[0]


def _area(directory: _Directory) -> int:
    return _one(directory, _WIDTH) * _one(directory, _HEIGHT)


def _starting_at(data: bytes, at: int) -> bytes:
    """The same TIFF file with another first directory."""
    return data[:4] + struct.pack("<I" if data[:1] == b"I" else ">I", at) + data[8:]


def _preview(data: bytes, found: list[tuple[int, _Directory]], first: list[tuple[int, _Directory]]) -> Part:
    sensor = max((each for _, each in found if _one(each, _PHOTOMETRIC) in _SENSOR), key=_area, default={})
    wide, high = _one(sensor, _WIDTH), _one(sensor, _HEIGHT)
    previews = [((width, height), data[start:], 1) for start, width, height in _jpegs(data)]
    for at, each in found:
        if _one(each, _PHOTOMETRIC) in _SHOWN and _PHOTOMETRIC in each and _one(each, _COMPRESSION) in _PACKED:
            own = _one(each, _ORIENTATION)
            previews.append(((_one(each, _WIDTH), _one(each, _HEIGHT)), _starting_at(data, at), own or 1))
    size, part, own = max(previews, key=lambda each: each[0][0] * each[0][1], default=((0, 0), b"", 1))
    if max(size) < _LEAST and (not sensor or size[0] * size[1] < 0.8 * wide * high):
        what = f"only a thumbnail of {size[0]}x{size[1]}" if part else "no preview"
        raise ImageError(f"a raw photo with {what} inside; develop it to JPEG or TIFF first", reason="unsupported")
    of = f" of {wide}x{high}" if sensor else ""
    turned = _one(first[0][1], _ORIENTATION) if first and own == 1 else 1
    return Part(part, f"the preview of {size[0]}x{size[1]} in a raw photo{of}", turned if turned in range(1, 9) else 1)


def _directories(data: bytes) -> list[tuple[int, _Directory]]:
    """(offset, tags) of all directories of a TIFF file, each before its children and its successor."""
    order = "<" if data[:1] == b"I" else ">"
    found: list[tuple[int, _Directory]] = []
    seen: set[int] = set()
    waiting = [int.from_bytes(data[4:8], "little" if order == "<" else "big")]
    while waiting and len(found) < _MAX_DIRECTORIES:
        at = waiting.pop()
        if at in seen or not 8 <= at <= len(data) - 6:
            continue
        seen.add(at)
        count = struct.unpack_from(order + "H", data, at)[0]
        end = at + 2 + 12 * count
        directory: _Directory = {}
        for entry in range(at + 2, min(end, len(data) - 11), 12):
            tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
            if tag in _WANTED and kind in _SIZES and number <= _MAX_NUMBERS:
                size = _SIZES[kind] * number
                start = entry + 8 if size <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
                if start + size <= len(data):
                    directory[tag] = struct.unpack_from(f"{order}{number}{'BHI'[_SIZES[kind] // 2]}", data, start)
        found.append((at, directory))
        if end + 4 <= len(data):
            waiting.append(struct.unpack_from(order + "I", data, end)[0])
        waiting.extend(reversed(directory.get(_CHILDREN, ())))
    return found


def _jpegs(data: bytes) -> list[tuple[int, int, int]]:
    """(offset, width, height) of the JPEG pictures in a file that a viewer would show: 8 bits, with loss."""
    found, at, left = [], -1, _MAX_SEGMENTS
    while left > 0 and (at := data.find(b"\xff\xd8\xff", at + 1)) >= 0:
        size, place, marker = None, at + 2, 0
        while left > 0 and marker not in (0xC3, 0xD9, 0xDA) and data[place : place + 1] == b"\xff":
            left -= 1
            marker, length = data[place + 1] if place + 1 < len(data) else 0, data[place + 2 : place + 4]
            if marker in (0xC0, 0xC1, 0xC2) and data[place + 4 : place + 5] == b"\x08":
                height, width = (int.from_bytes(data[place + skip : place + skip + 2], "big") for skip in (5, 7))
                size = width, height
            place += 2 + int.from_bytes(length, "big")
        if marker == 0xDA and size:
            found.append((at, *size))
            at = place  # not the thumbnail in its metadata
    return found
