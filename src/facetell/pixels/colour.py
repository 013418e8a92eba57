"""What a picture says about its colours, and its pixels as sRGB, which is what a viewer shows.

A profile (ICC) is applied by LittleCMS, with the perceptual intent and black point compensation, as browsers do; one
that says sRGB changes nothing. PNG's own chunks, the numbers of AVIF and HEIC, and Adobe RGB as cameras note it in EXIF
count where there is no profile. One that cannot be used is left out, and that is said.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from facetell.pixels.light import BT709, Coding, adobe_rgb, coding, matrix_to_xyz, to_srgb
from facetell.pixels.png import inflate

__all__ = ["Colour", "as_srgb", "colour_of", "colour_of_png"]

_MAX_PROFILE = 16 * 2**20  # bytes; the largest of printers have some four million
_UNUSABLE = "its colour profile cannot be used, so colours are taken as sRGB"
_NEAR = 1  # grey levels: what two writers of the same profile differ by


@dataclass(frozen=True)
class Colour:
    """``profile``: ICC, or else ``coding``: by numbers; neither: sRGB. ``note``: what is wrong with it."""

    profile: bytes = b""
    coding: Coding | None = None
    note: str = ""


def colour_of_png(chunks: dict[bytes, bytes]) -> Colour:
    """From the payloads of a PNG's colour chunks; cICP, iCCP, sRGB, gAMA with cHRM, in this order."""
    cicp = chunks.get(b"cICP", b"")
    if len(cicp) == 4 and cicp[2] == 0:
        return Colour(coding=coding(cicp[0], cicp[1]))
    name, _, rest = chunks.get(b"iCCP", b"").partition(b"\0")
    if name:
        profile = inflate(rest[1:], _MAX_PROFILE)
        return Colour(profile) if profile else Colour(note=_UNUSABLE)
    if b"sRGB" in chunks:
        return Colour()
    gama, chrm = (chunks.get(kind, b"") for kind in (b"gAMA", b"cHRM"))
    gamma = 100_000 / max(1, int.from_bytes(gama, "big")) if len(gama) == 4 else 0.0
    if abs(gamma / 2.2 - 1) < 0.05 or not 0.2 < gamma < 5:  # libpng's threshold; 1/2.2 is how PNG says sRGB
        gamma = 0.0
    primaries = BT709
    if len(chrm) == 32:
        numbers = [int.from_bytes(chrm[at : at + 4], "big") / 100_000 for at in range(0, 32, 4)]
        primaries = tuple(numbers[2:] + numbers[:2])
    try:
        with np.errstate(all="raise"):
            far = np.abs(matrix_to_xyz(primaries) - matrix_to_xyz(BT709)).max() > 0.01
    except (np.linalg.LinAlgError, FloatingPointError):
        return Colour(note=_UNUSABLE)
    if not gamma and not far:
        return Colour()
    return Colour(coding=Coding(primaries if far else BT709, gamma=gamma))


def colour_of(image: Image.Image, data: bytes = b"") -> Colour:
    """Of any other picture, from its header as Pillow read it and, in AVIF and HEIC, its boxes."""
    profile = image.info.get("icc_profile", b"")
    if profile is None:  # a JPEG of which Pillow did not find all parts of the profile
        return Colour(note=_UNUSABLE)
    if profile:
        return Colour(profile)
    if image.format in ("JPEG", "MPO") and b"R03" in image.info.get("exif", b""):
        return Colour(coding=adobe_rgb() if _notes_adobe_rgb(image) else None)
    if image.format in ("AVIF", "HEIF"):
        at = data.find(b"colrnclx", 0, 2**16)  # ISO/IEC 14496-12, 12.1.5
        if at >= 0:
            primaries, transfer = (int.from_bytes(data[at + skip : at + skip + 2], "big") for skip in (8, 10))
            return Colour(coding=coding(primaries, transfer))
    return Colour()


def _notes_adobe_rgb(image: Image.Image) -> bool:
    """Whether the interoperability index is R03; DCF 2.0."""
    try:
        return str(image.getexif().get_ifd(0xA005).get(1, "")).startswith("R03")
    except Exception:  # broken metadata does not make the colours unreadable
        return False


def as_srgb(image: Image.Image, colour: Colour) -> tuple[Image.Image, str]:
    """A picture of 8 bits (L, RGB, RGBA or CMYK) as sRGB, RGB or RGBA, and what was wrong with its profile."""
    if colour.coding is not None:
        rgba = image if image.mode in ("RGB", "RGBA") else image.convert("RGB")
        shown = Image.fromarray(to_srgb(np.asarray(rgba)[..., :3], colour.coding))
        if rgba.mode == "RGBA":
            shown.putalpha(rgba.getchannel("A"))
        return shown, colour.note
    if not colour.profile:
        return _plain(image), colour.note
    try:
        transform, kind = _transform(colour.profile)
        if kind == "GRAY":
            if image.mode != "L":
                return _plain(image), _UNUSABLE
        elif (kind == "CMYK") != (image.mode == "CMYK"):
            return _plain(image), _UNUSABLE
        if transform is None:
            return _plain(image), colour.note
        shown = _applied(transform, image if kind != "RGB" else _plain(image))
        return shown, colour.note
    except (ImageCms.PyCMSError, OSError, ValueError, KeyError):
        return _plain(image), _UNUSABLE


def _applied(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    rgba = image.mode == "RGBA"
    shown = ImageCms.applyTransform(image.convert("RGB") if rgba else image, transform)
    assert shown is not None  # it is one only if done in place
    if rgba:
        shown.putalpha(image.getchannel("A"))
    return shown


def _plain(image: Image.Image) -> Image.Image:
    return image if image.mode in ("RGB", "RGBA") else image.convert("RGB")


@lru_cache(maxsize=4)
def _transform(profile: bytes) -> tuple[ImageCms.ImageCmsTransform | None, str]:
    """To sRGB, None where that changes nothing, and the profile's colours: ``RGB``, ``GRAY`` or ``CMYK``."""
    source = ImageCms.getOpenProfile(io.BytesIO(profile))
    kind = str(source.profile.xcolor_space).strip()
    mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[kind]
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    transform = ImageCms.buildTransformFromOpenProfiles(
        source, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.PERCEPTUAL, flags
    )
    if kind == "CMYK":
        return transform, kind
    levels = np.arange(256, dtype=np.uint8)
    if kind == "GRAY":
        probe, plain = Image.fromarray(levels[None]), np.repeat(levels[None, :, None], 3, axis=2)
    else:
        steps = levels[::15]
        plain = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
        probe = Image.fromarray(plain)
    changed = np.asarray(_applied(transform, probe)).astype(int) - plain
    return (transform if np.abs(changed).max() > _NEAR else None), kind
