"""Bytes to pixels: one place that looks into a picture, refuses what is dangerous, and decodes the rest.

Type is told by content, never by the file's extension. What comes out is always uint8 RGB, the way a viewer shows it:

- EXIF orientation is applied; an animation gives its first frame;
- colours become sRGB, as the picture's profile or its other words on colour say; see `facetell.pixels.colour`;
- palette, grey, CMYK and other colour modes become RGB; 16 bits a channel become 8 by their high byte (scaled, not
  clipped);
- transparency is laid on **black**, the colour that masked faces and padding have almost everywhere.

Pillow decodes and resizes everything, in training and in use, on every machine with the same pixels. HEIC needs
pillow-heif, which is imported when the first such picture comes. Pillow warns of odd metadata, which
does not change pixels; whoever runs a process decides whether that is shown (the command and its workers do not).

A picture is whole if all its pixels are there: what is damaged, missing or too large around them (text, metadata, a
checksum, an end marker, a stated length) costs a note. `decode` is for pictures that must be whole, `read_picture` for
photos as people have them: of a truncated one it gives the rows that are whole, and says so.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from facetell.errors import ImageError, UsageError
from facetell.pixels.colour import Colour, as_srgb, colour_of
from facetell.pixels.jpeg import ENDINGS, all_scans
from facetell.pixels.opening import Source, check_size, open_header, open_source, unreadable
from facetell.pixels.png import NO_END

__all__ = [
    "Film",
    "ImageInfo",
    "Picture",
    "as_pixels",
    "decode",
    "decode_resized",
    "probe",
    "read_picture",
    "resize",
    "upright",
]

_ORIENTATION_TAG = 0x0112
_IN_ROWS = ("JPEG", "MPO", "PNG", "BMP", "PPM", "TIFF", "GIF")


@dataclass(frozen=True)
class ImageInfo:
    """What a picture's header says.

    ``width`` and ``height`` are in pixels as shown, i.e. of the array that `decode` returns (orientation applied);
    ``mode`` is Pillow's colour mode, ``orientation`` the EXIF value 1..8 (1 = upright).
    """

    format: str
    width: int
    height: int
    mode: str
    frames: int
    orientation: int


@dataclass(frozen=True)
class Picture:
    """A picture as far as it could be read.

    ``pixels`` uint8 (H, W, 3) RGB, upright; ``note`` what was chosen (``first of 12 frames``) and what is wrong with the
    file without changing a pixel (``chunk tEXt is damaged``), or empty; ``missing``
    the share of the picture that is not there, 0 ≤ share < 1, which is cut away; ``reason`` why, empty if the file is
    whole.
    """

    pixels: NDArray[np.uint8]
    note: str = ""
    missing: float = 0.0
    reason: str = ""

    @property
    def truncated(self) -> str:
        """What is missing, in words; empty if nothing is."""
        return f"truncated: {self.missing:.0%} of the picture is missing" if self.missing else ""


def probe(data: bytes) -> ImageInfo:
    """Look at the header of a picture without decoding its pixels.

    Raises:
        ImageError: ``empty`` (zero bytes), ``unsupported`` (no format we read, or too large), ``unreadable`` (broken
            header).
    """
    return _info(*open_source(data))


def decode(data: bytes) -> NDArray[np.uint8]:
    """Decode a picture to uint8 (H, W, 3) RGB as a viewer shows it; see the module's text for every choice.

    Raises:
        ImageError: as `probe`, and ``unreadable`` for truncated or corrupt pixel data.
    """
    image, orientation, _ = _decode(data)
    return _owned(upright(np.asarray(image), orientation))


def read_picture(data: bytes) -> Picture:
    """Decode a picture; of a truncated one, the rows that are whole.

    Formats that store rows in order have such rows: JPEG (a progressive one in its last scan), PNG, BMP, PPM, most TIFF
    and GIF. The others (WebP, AVIF, HEIC, JPEG 2000) are unreadable once truncated.

    Raises:
        ImageError: as `decode`, but not for a truncated picture with at least one whole row.
    """
    opened = open_source(data)
    info = _info(*opened)
    if info.format != "JPEG":  # counting its frames may have gone through them
        opened = open_source(data)
    kind = "frames" if info.format in ("GIF", "WEBP", "PNG", "AVIF") else "pictures"
    which = "main" if info.format == "HEIF" else "first"
    notes = [f"{which} of {info.frames} {kind}"] if info.frames > 1 else []
    try:
        image, orientation, wrong = _decode(data, opened)
        return Picture(_owned(upright(np.asarray(image), orientation)), "; ".join(notes + wrong))
    except ImageError as error:
        part = _whole_rows(data) if _is_truncated(error) else None
        if part is None:
            raise
        image, share = part
        pixels = _owned(upright(np.asarray(image), info.orientation))
        return Picture(pixels, "; ".join(notes), 1 - share, error.message)


def _is_truncated(error: ImageError) -> bool:
    return error.reason == "unreadable" and error.message.startswith("truncated")


class Film:
    """The frames of an animation, to be gone through in order; ``notes`` as `Picture.note`, ``cut``: the end is missing,
    ``frames``: how many a PNG says there are, else None."""

    def __init__(self, data: bytes) -> None:
        self._image, self._source = open_source(data)
        self._orientation = _still_to_turn(self._image, self._source)
        self._first = _before(self._image)
        self.notes = [note for note in self._source.notes if note != NO_END]
        self.cut = self._source.cut
        self.frames = getattr(self._image, "n_frames", 1) - self._first if self._image.format == "PNG" else None

    def seek(self, number: int) -> None:
        """Go to a frame. Raises ``ImageError``: it cannot be decoded, or is too large."""
        try:
            self._image.seek(self._first + number)
        except Exception as error:  # see open_header
            raise unreadable(error) from None
        check_size(*self._image.size)

    def pixels(self) -> NDArray[np.uint8]:
        """The frame where `seek` went: uint8 (H, W, 3) sRGB, upright. Raises as `seek`."""
        try:
            self._image.load()
            shown, _ = _to_rgb(self._image, self._source.colour)
        except ImageError:
            raise
        except Exception as error:
            raise unreadable(error) from None
        return _owned(upright(np.asarray(shown), self._orientation)).copy()


def _before(image: Image.Image) -> int:
    """How many frames come before those that are shown: a PNG's picture for who shows no animation."""
    return int(bool(image.info.get("default_image")))


def _whole_rows(data: bytes) -> tuple[Image.Image, float] | None:
    """The longest run of rows (RGB, not turned) that a truncated picture has whole, and its share of the picture.

    Decoded over two different backgrounds, a pixel that was never written shows as a difference.
    """
    image, source = open_source(data)
    dark: Image.Image | None
    bright: Image.Image | None
    if image.format in ("JPEG", "MPO") and image.info.get("progressive"):  # its scans go over the same rows again
        dark, bright = _both_ways(source) or (None, None)
    else:
        dark, bright = _decode_over(data, 0), _decode_over(data, 255)
    if dark is None or bright is None:
        return None
    differs = np.asarray(dark) != np.asarray(bright)
    gaps = np.flatnonzero(np.concatenate(([True], differs.reshape(dark.height, -1).any(axis=1), [True])))
    longest = int(np.argmax(np.diff(gaps)))
    top, bottom = int(gaps[longest]), int(gaps[longest + 1]) - 1
    if bottom <= top:
        return None
    rows = _to_rgb(dark, source.colour)[0].crop((0, top, dark.width, bottom))
    return rows, rows.height / dark.height


def _decode_over(data: bytes, background: int) -> Image.Image | None:
    """What Pillow can decode of a truncated picture, over one value in all bands; None if it cannot give part."""
    image = open_header(data)
    if not isinstance(image, ImageFile.ImageFile) or image.format not in _IN_ROWS:
        return None
    if image.format == "GIF":
        _, interlaced, clear = cast("tuple[int, bool, int]", image.tile[0].args)
        if interlaced or clear >= 0:  # rows out of order, or pixels that are left as they are
            return None
        image.load_prepare = lambda: None  # type: ignore[method-assign]  # it would begin with another picture
    bands = len(image.getbands())
    image.im = Image.new(image.mode, image.size, background if bands == 1 else (background,) * bands).im
    with contextlib.suppress(Exception):  # it is truncated; what was decoded before the end is in place
        image.load()
    image.tile = []
    return image


def decode_resized(data: bytes, size: int) -> NDArray[np.uint8]:
    """Decode a picture and resize it to uint8 (size, size, 3): `resize` of `decode` in two thirds of the time."""
    image, orientation, _ = _decode(data)
    if orientation != 1:
        image = Image.fromarray(upright(np.asarray(image), orientation))
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return _owned(np.asarray(image))


def resize(pixels: NDArray[np.uint8], height: int, width: int | None = None) -> NDArray[np.uint8]:
    """Resize uint8 (H, W, 3) to (height, width, 3) with antialiased bilinear filtering; ``width`` is ``height`` if None.

    Everything that feeds a network (fit, evaluate, detect, the face detectors) goes through here, so that all see the
    same pixels. Sides are squeezed, no part is cut off; pixels of that size already are returned as they are.
    """
    width = height if width is None else width
    if pixels.shape[:2] == (height, width):
        return pixels
    return _owned(np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)))


def as_pixels(picture: Image.Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture in memory as uint8 (H, W, 3) RGB: a PIL image as a viewer shows it, an array as it is.

    Raises:
        UsageError: an array of another shape or type, or a picture without a pixel.
    """
    if isinstance(picture, Image.Image):
        try:
            picture = _owned(np.asarray(_to_rgb(ImageOps.exif_transpose(picture), colour_of(picture))[0]))
        except ImageError as error:
            raise UsageError(f"cannot take this picture: {error.message}") from None
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        shape = "×".join(map(str, picture.shape))
        raise UsageError(f"an array of {shape} {picture.dtype} is no picture", hint="give uint8 of height×width×3, RGB")
    return _owned(picture)


def _info(image: Image.Image, source: Source) -> ImageInfo:
    orientation = _orientation(image, source)
    try:
        frames = int(getattr(image, "n_frames", 1)) - _before(image)
    except Exception:  # a broken later frame: the first is what counts
        frames = 1
    turned = _still_to_turn(image, source) in (5, 6, 7, 8)
    width, height = image.size[::-1] if turned else image.size
    return ImageInfo(str(image.format), width, height, image.mode, frames, orientation)


def _orientation(image: Image.Image, source: Source) -> int:
    try:
        orientation = int(image.getexif().get(_ORIENTATION_TAG, source.turned))
    except Exception:  # broken metadata does not make the pixels unreadable
        return source.turned
    return orientation if orientation in range(1, 9) else 1


def _still_to_turn(image: Image.Image, source: Source) -> int:
    """Pillow turns TIFF pictures itself, by what they say themselves, and says their size as shown."""
    return source.turned if image.format == "TIFF" else _orientation(image, source)


def _decode(data: bytes, opened: tuple[Image.Image, Source] | None = None) -> tuple[Image.Image, int, list[str]]:
    """The first frame in RGB as it is stored, the EXIF orientation by which it is still to be turned, and notes.

    ``opened``: what `open_source` made of the data, if that is done already.
    """
    image, source = opened or open_source(data)
    orientation = _still_to_turn(image, source)
    try:
        if source.cut:
            raise ImageError("truncated: the end of the picture is missing", reason="unreadable")
        shown, wrong = _to_rgb(_loaded(image), source.colour)
        return shown, orientation, [*source.notes, *([wrong] if wrong else [])]
    except ImageError as error:
        whole = _whole_all_the_same(data, image.format, source) if _is_truncated(error) else None
        if whole is None:
            raise
        return whole, orientation, [*source.notes, NO_END]


def _loaded(image: Image.Image) -> Image.Image:
    """Decode the first frame."""
    try:
        if image.format != "HEIF":  # opens at its main picture, which need not be the first
            image.seek(_before(image))
        image.load()
        return image
    except ImageError:
        raise
    except MemoryError:
        raise ImageError("not enough memory to decode it", reason="unsupported") from None
    except Exception as error:  # see open_header
        raise unreadable(error) from None


def _whole_all_the_same(data: bytes, kind: str | None, source: Source) -> Image.Image | None:
    """A picture in RGB whose file has no proper end, if it has every pixel."""
    if kind not in ("JPEG", "MPO"):
        part = _whole_rows(data)
        return part[0] if part and part[1] == 1 else None
    both = _both_ways(source)
    if both is None or both[0].tobytes() != both[1].tobytes():
        return None
    return _to_rgb(both[0], source.colour)[0]


def _both_ways(source: Source) -> tuple[Image.Image, Image.Image] | None:
    """A JPEG whose last scan may be cut short, decoded with two ends: what differs is missing. None if scans are missing."""
    scans = all_scans(source.data)
    if scans is None:
        return None
    one, other = (_loaded(open_header(scans + ending)) for ending in ENDINGS)
    return one, other


def _to_rgb(image: Image.Image, colour: Colour) -> tuple[Image.Image, str]:
    """Any picture to 8-bit sRGB, and what is wrong with its colour profile.

    Raises:
        ImageError: a mode whose range of values is unknown.
    """
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM", None)):
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    elif mode in ("I", "F"):
        raise ImageError(f"32-bit pixels ({mode}) have no fixed range; next: save it as PNG", reason="unsupported")
    elif mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    elif mode not in ("L", "CMYK"):
        image = image.convert("RGB")
    shown, wrong = as_srgb(image, colour)
    if shown.mode == "RGBA":
        shown = Image.alpha_composite(Image.new("RGBA", shown.size, (0, 0, 0, 255)), shown).convert("RGB")
    return shown, wrong


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn stored pixels (H, W, 3) upright; EXIF 2.32, tag 0x0112."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _owned(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pixels in C order and writable, copied only if they are not."""
    return np.require(pixels, requirements=["C", "W"])
