"""Opening a picture: what is dangerous is refused by its header, and what is wrong around its pixels is mended first."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from typing import cast

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from facetell.errors import ImageError
from facetell.pixels.colour import Colour, colour_of, colour_of_png
from facetell.pixels.jpeg import up_to_zeros, without_metadata
from facetell.pixels.png import SIGNATURE, read_png
from facetell.pixels.raw import main_part
from facetell.pixels.webp import canvas, whole_box

__all__ = [
    "AVIF_BRANDS",
    "FORMATS",
    "HEIC_BRANDS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "Source",
    "check_size",
    "open_header",
    "open_source",
    "unreadable",
]

MAX_PIXELS = 65_000_000
"""Largest picture decoded, in pixels (195 MB of RGB): phones take 64 million. A header that claims more is refused before
decoding."""

MAX_BYTES = 64 * 2**20
"""Largest file decoded, in bytes."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF", "MPO", "HEIF")
"""Formats that are read. Pillow knows more, some of which start other programs; those stay closed."""

HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2", b"msf1")  # ISO/IEC 23008-12
AVIF_BRANDS = (b"avif", b"avis")

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SAMPLES = "a TIFF of 32 bits, of channels apart in 16, or of 16 with alpha, is not read; next: save it as PNG"
_CLIP = "the clip that is stored behind the photo was not looked at"


@dataclass
class Source:
    """A picture's file as Pillow gets it, ``notes`` on what was left out or mended, bytes of ``text`` left out, whether its
    end is ``cut``, what it says about its ``colour``, and the EXIF orientation ``turned`` that holds where it says none."""

    data: bytes
    notes: list[str] = field(default_factory=list)
    text: int = 0
    cut: bool = False
    colour: Colour = field(default_factory=Colour)
    turned: int = 1


def _source(data: bytes) -> Source:
    if data.startswith(SIGNATURE):
        png = read_png(data)
        return Source(png.pixels, png.notes, png.text, png.cut, colour_of_png(png.colour))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        check_size(*(canvas(data) or (1, 1)))
        mended, wrong, cut = whole_box(data)
        return Source(mended, [wrong] if wrong else [], cut=cut)
    if data.startswith(b"\xff\xd8"):
        return Source(up_to_zeros(data), [_CLIP] if _has_clip(data) else [])
    part = main_part(data)
    return Source(part.data, [part.note], turned=part.turned) if part else Source(data)


def _has_clip(data: bytes) -> bool:
    """Whether phones stored a clip behind a photo: an MP4 file, which begins with its own length and ``ftyp``."""
    if data.endswith(b"\xff\xd9"):
        return False
    at = data.rfind(b"ftyp")
    return at >= 4 and data[at - 4 : at - 1] == b"\0\0\0" and data[at - 1] >= 16 and data[at - 1] % 4 == 0


def open_header(data: bytes) -> Image.Image:
    """Read the header only, and refuse what must not be decoded: empty, too large, of a format we do not read.

    Raises:
        ImageError: as `probe`.
    """
    return open_source(data)[0]


def open_source(data: bytes) -> tuple[Image.Image, Source]:
    """As `open_header`, with what was left out and mended."""
    if not data:
        raise ImageError("the file is empty (0 bytes)", reason="empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"the file has {len(data):,} bytes; {MAX_BYTES:,} is the limit", reason="unsupported")
    Image.init()
    try:
        source = _source(data)
        try:
            image = _opened(source.data)
        except (UnidentifiedImageError, SyntaxError):
            if not data.startswith(b"\xff\xd8"):
                raise
            source = Source(without_metadata(source.data), ["its metadata is damaged and was left out"])
            image = _opened(source.data)
    except ImageError:
        raise
    except (UnidentifiedImageError, SyntaxError):
        if data.startswith(_TIFF):
            _check_samples(data)
        if _starts_like_a_picture(data):
            raise ImageError("truncated or corrupt header", reason="unreadable") from None
        raise ImageError("not a picture in a format we read", reason="unsupported") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(
            f"more than {MAX_PIXELS:,} pixels, the limit; next: make it smaller", reason="unsupported"
        ) from None
    except Exception as error:  # Pillow's readers raise many kinds on hostile bytes, and none may end the process
        raise unreadable(error) from None
    check_size(*image.size)
    if image.format == "TIFF" and _is_misread(image):
        raise ImageError(_SAMPLES, reason="unsupported")
    if image.format != "PNG":
        source.colour = colour_of(image, data)
    return image, source


def _check_samples(data: bytes) -> None:
    """Raise ``ImageError`` for a TIFF that Pillow understands but for the kind of its samples."""
    try:
        TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    except Exception as error:  # see open_source
        if "unknown pixel mode" in str(error):
            raise ImageError(_SAMPLES, reason="unsupported") from None


def _is_misread(image: Image.Image) -> bool:
    """Whether Pillow would take the bytes of a TIFF for others: channels apart, of 16 bits without compression, or two."""
    tags = cast("TiffImagePlugin.TiffImageFile", image).tag_v2
    if tags.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) != 2:
        return False
    deep = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) > 8 and tags.get(TiffImagePlugin.COMPRESSION, 1) == 1
    return deep or tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) == 2


def _opened(data: bytes) -> Image.Image:
    if _is_heif(data) and data[8:12] not in AVIF_BRANDS:
        return _open_heif(data)
    return Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN])


def check_size(width: int, height: int) -> None:
    """Refuse a picture above the limit, or without a pixel. Raises ``ImageError``."""
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{width}x{height} is more than {MAX_PIXELS:,} pixels, the limit; next: make it smaller",
            reason="unsupported",
        )
    if width < 1 or height < 1:
        raise ImageError(f"a picture of {width}x{height} pixels", reason="unreadable")


def _is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in (*HEIC_BRANDS, *AVIF_BRANDS)


def _open_heif(data: bytes) -> Image.Image:
    """Open without registering the format with Pillow, whose formats are the whole process's."""
    from pillow_heif import HeifImageFile

    return HeifImageFile(io.BytesIO(data))  # type: ignore[no-untyped-call]


def _starts_like_a_picture(data: bytes) -> bool:
    starts = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")
    return data.startswith(starts) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP") or _is_heif(data)


def unreadable(error: Exception) -> ImageError:
    """What a decoder raised as our own error, told apart: truncated or corrupt."""
    text = " ".join(str(error).split())[:200] or type(error).__name__
    words = ("truncated", "unexpected end", "not enough", "incomplete", "ran out of")
    cut = isinstance(error, (EOFError, struct.error)) or any(word in text.lower() for word in words)
    return ImageError(f"{'truncated' if cut else 'corrupt'}: {text}", reason="unreadable")
