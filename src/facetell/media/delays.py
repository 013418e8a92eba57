"""How long each frame of an animated GIF, PNG or WebP stands, read from the file's blocks without decoding any."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from facetell.pixels.png import SIGNATURE

__all__ = ["delays_of", "is_animated"]

_SHORTEST, _INSTEAD = 10, 100  # ms: what browsers do with frames that would hardly be seen

_MAX_BLOCKS = 1_000_000  # the pieces of a GIF of 64 MiB are a quarter of that; what has more was made to take time


def is_animated(file: BinaryIO) -> bool:
    """Whether an open file is an animation of at least two frames."""
    return len(list(islice(delays_of(file), 2))) > 1


def delays_of(file: BinaryIO) -> Iterator[int]:
    """How long each frame stands, in ms; nothing for a file that is no animation."""
    head = file.read(12)
    if head.startswith((b"GIF87a", b"GIF89a")):
        found = _gif(file)
    elif head.startswith(SIGNATURE):
        found = _png(file)
    elif head[:4] == b"RIFF" and head[8:] == b"WEBP":
        found = _webp(file)
    else:
        return
    for delay in found:
        yield delay if delay > _SHORTEST else _INSTEAD


def _gif(file: BinaryIO) -> Iterator[int]:
    """GIF89a specification, sections 18 to 23."""
    file.seek(10)
    flags = file.read(3)[:1]
    file.seek(13 + _table(flags))
    delay, left = 0, _MAX_BLOCKS
    while left > 0:
        kind = file.read(1)
        if kind == b"!":
            left -= 1
            label = file.read(1)
            size = file.read(1)
            block = file.read(size[0]) if size else b""
            if label == b"\xf9" and len(block) >= 3:
                delay = 10 * int.from_bytes(block[1:3], "little")
            if size and size[0]:
                left -= _skip_blocks(file, left)
        elif kind == b",":
            flags = file.read(9)[8:]
            if not flags:
                return
            file.seek(_table(flags) + 1, 1)
            left -= _skip_blocks(file, left)
            yield delay
            delay = 0
        else:  # the end
            return


def _table(flags: bytes) -> int:
    """Bytes of a table of colours."""
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 128 else 0


def _skip_blocks(file: BinaryIO, most: int) -> int:
    """Go to the end of a row of blocks, or past ``most`` of them; how many it were, and one more."""
    count = 1
    while count < most and (size := file.read(1)) and size[0]:
        file.seek(size[0], 1)
        count += 1
    return count


def _png(file: BinaryIO) -> Iterator[int]:
    """PNG specification, third edition, section 11.3.6: fcTL holds the delay as a fraction of a second."""
    file.seek(len(SIGNATURE))
    animated = False
    for _ in range(_MAX_BLOCKS):
        if len(head := file.read(8)) < 8:
            return
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"acTL":
            animated = True
        if kind == b"IEND" or (kind == b"IDAT" and not animated):
            return
        if kind == b"fcTL" and animated:
            body = file.read(length)
            if len(body) < 26:
                return
            above, below = (int.from_bytes(body[at : at + 2], "big") for at in (20, 22))
            yield 1000 * above // (below or 100)
            length = 0
        file.seek(length + 4, 1)


def _webp(file: BinaryIO) -> Iterator[int]:
    """WebP container specification: ANMF holds the duration after place and size."""
    for _ in range(_MAX_BLOCKS):
        if len(head := file.read(8)) < 8:
            return
        size = int.from_bytes(head[4:], "little")
        size += size % 2
        if head[:4] == b"ANMF":
            body = file.read(15)
            if len(body) < 15:
                return
            yield int.from_bytes(body[12:15], "little")
            size -= len(body)
        file.seek(max(0, size), 1)
