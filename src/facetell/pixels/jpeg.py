"""Whether the pixels of a JPEG file without an end marker are all there; ITU-T T.81."""

from __future__ import annotations

import re

__all__ = ["ENDINGS", "all_scans", "up_to_zeros", "without_metadata"]

_ENDS_A_SCAN = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_NEVER_WRITTEN = b"\0" * 16
_FRAMES = (0xC0, 0xC1, 0xC2)

_TAIL = 1024
ENDINGS = (b"\0" * _TAIL + b"\xff\xd9", b"\xaa" * _TAIL + b"\xff\xd9")
"""Two ends that start with another bit. A decoder for which the scan is over skips them, so it gives the same pixels
with both; one that still waits for pixels takes them for such, and the pixels differ from there on."""


def all_scans(data: bytes) -> bytes | None:
    """The file up to the end of its last scan, if it has every scan that its frame needs (the last may be cut short);
    None if not.

    A sequential frame needs one for each component, a progressive one all 64 coefficients of each down to the last bit.
    """
    progressive, waiting = False, set[tuple[int, int]]()
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xD9:
            break
        body = data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
        at += 4 + len(body)
        if marker in _FRAMES and len(body) > 5:
            progressive = marker == 0xC2
            components = body[6 : 6 + 3 * body[5] : 3]
            waiting = {(name, place) for name in components for place in (range(64) if progressive else (0,))}
        elif marker == 0xDA and body and len(body) >= 4 + 2 * body[0]:
            first, last, bits = body[1 + 2 * body[0] :][:3]
            if not progressive or not bits & 15:
                places = range(first, last + 1) if progressive else (0,)
                waiting -= {(name, place) for name in body[1 : 1 + 2 * body[0] : 2] for place in places}
            found = _ENDS_A_SCAN.search(data, at)
            if found is None:  # the last scan; a file that was never written to its end is filled up with zeros
                end = up_to_zeros(data)
                return None if waiting else end + b"\0" if end.endswith(b"\xff") else end
            at = found.start()
    return None if waiting else data[:at] if at > 0 else data


def up_to_zeros(data: bytes) -> bytes:
    """The file without what was reserved for it and never written: a decoder takes zeros for pixels."""
    return data.rstrip(b"\0") if data.endswith(_NEVER_WRITTEN) else data


def without_metadata(data: bytes) -> bytes:
    """The file without its comments and application segments, but for Adobe's, which says what the colours are."""
    parts, at = [data[:2]], 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xDA:
            return b"".join([*parts, data[at:]])
        adobe = data[at + 4 : at + 9] == b"Adobe" and end - at >= 16
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or adobe:
            parts.append(data[at:end])
        at = end
    return data
