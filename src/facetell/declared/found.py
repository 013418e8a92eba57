"""What walks through a file's parts brought home, within limits that no file moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO

__all__ = ["EXIF_BYTES", "PARTS", "TEXT_BYTES", "XMP_BYTES", "Found", "number", "read_at"]

PARTS = 30_000
"""Segments, chunks or boxes looked at: two hours of film in fragments of two seconds have 15,000."""
TEXT_BYTES = 2**16
"""Of one text; the settings of a generator begin with what tells it."""
XMP_BYTES = 2**20
"""Of one XMP packet, which is read whole or not at all."""
EXIF_BYTES = 2**18
"""Of one block of EXIF; in a JPEG it has at most a quarter of it."""
_TEXTS = 64
_PACKETS = 8


@dataclass
class Found:
    """``texts``: (where it stands, what it says); ``packets`` of XMP; ``credentials``: the MIME type of a file that has
    Content Credentials; ``notes`` on what was left."""

    texts: list[tuple[str, str]] = field(default_factory=list)
    packets: list[bytes] = field(default_factory=list)
    credentials: str | None = None
    notes: dict[str, None] = field(default_factory=dict)

    def text(self, where: str, said: str) -> None:
        """Keep a text's beginning."""
        said = said.strip("\0 \t\r\n")
        if not said:
            return
        if len(self.texts) < _TEXTS:
            self.texts.append((where[:80], said[:TEXT_BYTES]))
        else:
            self.note(f"only {_TEXTS} of its texts were read")

    def xmp(self, packet: bytes | None) -> None:
        """Keep a packet; None: it was too long."""
        if packet is None or len(packet) > XMP_BYTES:
            self.note(f"XMP of more than {XMP_BYTES:,} bytes was not read")
        elif len(self.packets) < _PACKETS:
            self.packets.append(packet)
        else:
            self.note(f"only {_PACKETS} of its XMP packets were read")

    def note(self, said: str) -> None:
        """Keep what was left, once."""
        self.notes[said] = None

    def too_many(self) -> None:
        """Say that the file has more parts than are looked at."""
        self.note(f"only {PARTS:,} of its parts were looked at")


def read_at(file: BinaryIO, at: int, size: int) -> bytes:
    """At most ``size`` bytes from ``at`` on."""
    file.seek(at)
    return file.read(size)


def number(data: bytes) -> int:
    """An unsigned number, most significant byte first."""
    return int.from_bytes(data, "big")
