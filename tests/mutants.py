"""Files with a seeded damage, of all formats: pictures, animations, raw photos, clips, with profiles and metadata."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

from faceclips import portrait, walk
from hostile import LABELS, bases_of
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from test_raw import as_jpeg, first, tiff

Mutation = Callable[[random.Random, bytes, bytes], bytes]


def write(root: Path, count: int, seed: int) -> Path:
    """``count`` files below ``root`` as ``real/`` and ``fake/``; the same seed gives the same files."""
    rng = random.Random(seed)
    wholes = [{**bases_of(root.parent / "whole", label), **_more(label)} for label in (0, 1)]
    kinds, changes = sorted(wholes[0]), list(MUTATIONS.items())
    for number in range(count):
        label, kind = number % 2, kinds[number // 2 % len(kinds)]
        data, other = wholes[label][kind], wholes[label][rng.choice(kinds)]
        names = []
        for name, change in rng.choices(changes, k=rng.choice((1, 1, 1, 2, 3))):
            data = change(rng, data, other)
            names.append(name)
        path = root / LABELS[label] / f"{number:05d} {' '.join(names)}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def _more(label: int) -> dict[str, bytes]:
    """Formats that hold more than one thing: frames, profiles, text, previews."""
    frames = [Image.fromarray(pixels) for pixels in walk(900 + label, 5)]
    photo = Image.fromarray(portrait(910 + label))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    text = PngInfo()
    text.add_text("parameters", "a face " * 400, zip=True)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"

    def saved(kind: str, **options: object) -> bytes:
        out = io.BytesIO()
        frames[0].save(out, kind, save_all=True, append_images=frames[1:], duration=100, **options)
        return out.getvalue()

    def alone(kind: str, **options: object) -> bytes:
        out = io.BytesIO()
        photo.save(out, kind, **options)
        return out.getvalue()

    pixels = portrait(920 + label)
    return {
        "animated.gif": saved("GIF"),
        "animated.webp": saved("WEBP"),
        "animated.png": saved("PNG"),
        "pages.tiff": saved("TIFF"),
        "profile.png": alone("PNG", icc_profile=profile, pnginfo=text, exif=exif),
        "profile.jpg": alone("JPEG", icc_profile=profile, exif=exif, comment=b"x" * 5000),
        "profile.webp": alone("WEBP", icc_profile=profile, exif=exif.tobytes()),
        "cmyk.jpg": _cmyk(photo),
        "raw.dng": tiff(first(pixels[::4, ::4]), as_jpeg(pixels)),
    }


def _cmyk(photo: Image.Image) -> bytes:
    out = io.BytesIO()
    photo.convert("CMYK").save(out, "JPEG")
    return out.getvalue()


def _place(rng: random.Random, data: bytes) -> int:
    """A place in the file; in its first bytes every other time, for there a byte says most."""
    return rng.randrange(max(1, min(len(data), 300) if rng.random() < 0.5 else len(data)))


def _flip(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 10, 100))):
        if changed:
            changed[_place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    return data[: _place(rng, data)]


def _drop(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    at = _place(rng, data)
    return data[:at] + data[at + rng.choice((1, 2, 4, 17, 1000)) :]


def _repeat(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    at, length = _place(rng, data), rng.choice((1, 4, 64, 2000))
    return data[: at + length] + data[at : at + length] * rng.choice((1, 3, 50)) + data[at + length :]


def _noise(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    at = _place(rng, data)
    return data[:at] + rng.randbytes(rng.choice((1, 3, 256))) + data[at:]


def _zeros(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    at, length = _place(rng, data), rng.choice((2, 8, 512, 5000))
    return data[:at] + bytes(min(length, len(data) - at)) + data[at + length :]


def _extreme(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    """Lengths, offsets and sizes as nobody writes them."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 4))):
        at = _place(rng, data) // 4 * 4
        changed[at : at + 4] = rng.choice(
            (b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4), b"\x80\0\0\0")
        )
    return bytes(changed[: len(data)])


def _splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: _place(rng, data)] + other[_place(rng, other) :]


def _behind(_rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data + other


MUTATIONS: dict[str, Mutation] = {
    "flip": _flip, "cut": _cut, "drop": _drop, "repeat": _repeat, "noise": _noise, "zeros": _zeros, "extreme": _extreme,
    "splice": _splice, "behind": _behind,
}  # fmt: skip
