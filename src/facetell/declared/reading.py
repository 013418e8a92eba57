"""Read what a file says of itself: its metadata alone, within limits, without decoding a pixel."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from facetell.declared.boxes import read_boxes
from facetell.declared.credentials import check, elsewhere
from facetell.declared.declared import Declared
from facetell.declared.exif import read_exif, starts_tiff
from facetell.declared.found import Found, read_at
from facetell.declared.pictures import read_jpeg, read_png, read_webp
from facetell.declared.traces import claims_of_properties, claims_of_texts
from facetell.declared.xmp import properties
from facetell.errors import MediaError
from facetell.media.limits import file_size
from facetell.pixels.opening import AVIF_BRANDS, HEIC_BRANDS
from facetell.pixels.png import SIGNATURE

__all__ = ["declared_by"]

_CLAIMS = 50
_PROVENANCE = ("http://purl.org/dc/terms/", "provenance")


def declared_by(path: Path) -> Declared | None:
    """What a JPEG, PNG, WebP, TIFF, HEIC, AVIF, MP4 or MOV says of itself; None where it says nothing, is another kind of
    file, or cannot be opened."""
    found = Found()
    try:
        file_size(path)
        with path.open("rb") as file:
            _walk(file, found)
        said = []
        for packet in found.packets:
            read, why = properties(packet)
            said += read
            if why:
                found.note(f"an XMP packet was not read to its end: {why}")
        claims = [*claims_of_properties(said), *claims_of_texts(found.texts)]
        credentials = None
        if found.credentials is not None:
            credentials, signed = check(path, found.credentials)
            claims = [*signed, *claims]
        else:
            remote = next((value for space, name, value in said if (space, name) == _PROVENANCE), None)
            credentials = elsewhere(remote) if remote is not None and remote.startswith("http") else None
    except (MediaError, OSError):
        return None
    if len(claims) > _CLAIMS:
        found.note(f"only {_CLAIMS} of its claims are listed")
    note = "; ".join(found.notes) or None
    return Declared(credentials, claims[:_CLAIMS], note) if credentials or claims or note else None


def _walk(file: BinaryIO, found: Found) -> None:
    head = file.read(12)
    if head.startswith(b"\xff\xd8"):
        read_jpeg(file, found)
    elif head.startswith(SIGNATURE):
        read_png(file, found)
    elif head[:4] == b"RIFF" and head[8:] == b"WEBP":
        read_webp(file, found)
    elif starts_tiff(head):
        read_exif(lambda at, size: read_at(file, at, size), found, "image/tiff")
    elif head[4:8] == b"ftyp":
        read_boxes(file, found, _mime(head[8:]))


def _mime(brand: bytes) -> str:
    if brand in AVIF_BRANDS:
        return "image/avif"
    if brand in HEIC_BRANDS:
        return "image/heic"
    return "video/quicktime" if brand == b"qt  " else "video/mp4"
