"""A folder of some hundred files that nobody should have to open: damaged, lying, odd and enormous ones.

Every file is made of a base picture or clip of its own label, so that no crop is there under both labels.
"""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
from faceclips import background, portrait, save_clip, save_photo, walk, with_head
from PIL import Image

LABELS = ("real", "fake")
PICTURES = ("jpg", "progressive.jpg", "png", "webp", "gif", "bmp", "tiff", "jp2", "avif", "heic")
VIDEOS = ("mp4", "mkv", "avi", "ts", "flv", "mov")
ODD_NAMES = (
    "two words", "new\nline", "tab\there", "Ünïcødé 臉", "$x^{$", "%d", "-dash", "a'b\"c", "file:x", "*?[x]", "x" * 240,
    "emoji 🙂",
)  # fmt: skip


class Corpus:
    """Where the files go: labels take turns, numbers make the names differ."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0

    def path(self, name: str, label: int) -> Path:
        self.count += 1
        folder = self.root / LABELS[label] / name.split("/")[0] if "/" in name else self.root / LABELS[label]
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name.split("/")[-1]

    def add(self, name: str, data: bytes, label: int | None = None) -> Path:
        path = self.path(name, self.count % 2 if label is None else label)
        path.write_bytes(data)
        return path


def make(root: Path) -> Path:
    """Make the corpus below ``root`` as ``real/`` and ``fake/``."""
    corpus = Corpus(root)
    bases = [bases_of(root.parent / "bases", label) for label in (0, 1)]
    rng = random.Random(0)
    _cut(corpus, bases)
    _flipped(corpus, bases, rng)
    _bombs(corpus)
    _lying(corpus, bases, rng)
    _modes(corpus)
    _scenes(corpus)
    _clips(corpus)
    _places(corpus)
    return root


def entries(root: Path) -> list[Path]:
    """Everything below ``root`` but folders, and links to folders."""
    return [Path(folder, name) for folder, _, names in os.walk(root) for name in names]


def bases_of(folder: Path, label: int) -> dict[str, bytes]:
    """A photo or clip of each kind, another one for each label."""
    found = {}
    for number, kind in enumerate((*PICTURES, *VIDEOS)):
        path = folder / f"{label}.{kind}"
        seed = 2 * number + label
        if kind in VIDEOS:
            codec = "mjpeg" if kind == "avi" else "libx264"
            save_clip(path, walk(seed), codec=codec, options={} if kind == "avi" else None)
        elif kind == "heic":
            import pillow_heif

            pillow_heif.from_pillow(Image.fromarray(portrait(seed))).save(path, quality=90)
        else:
            options = {"progressive": True} if kind.startswith("prog") else {}
            save_photo(path, portrait(seed), **options)
        found[kind] = path.read_bytes()
    return found


def _cut(corpus: Corpus, bases: list[dict[str, bytes]]) -> None:
    for kind in bases[0]:
        for tenth in range(1, 10):
            label = tenth % 2
            data = bases[label][kind]
            corpus.add(f"cut/{tenth}0 percent.{kind}", data[: len(data) * tenth // 10], label)


def _flipped(corpus: Corpus, bases: list[dict[str, bytes]], rng: random.Random) -> None:
    for kind in bases[0]:
        for number in range(8):
            data = bytearray(bases[number % 2][kind])
            # Headers are where a single bit says most.
            end = 400 if number % 4 == 0 else len(data)
            for _ in range((1, 3, 20, 200)[number // 2]):
                data[rng.randrange(min(end, len(data)))] ^= 1 << rng.randrange(8)
            corpus.add(f"flipped/{number}.{kind}", bytes(data), number % 2)


def png(width: int, height: int, data: bytes, depth: int = 8, colour: int = 2, extra: bytes = b"") -> bytes:
    """A PNG file with any claims and contents."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _bombs(corpus: Corpus) -> None:
    zeros = zlib.compress(bytes(50_000_000), 9)
    corpus.add("bombs/claims.png", png(60_000, 60_000, zlib.compress(bytes(100))))
    corpus.add("bombs/grey.png", png(20_000, 20_000, zeros, 1, 0))
    corpus.add("bombs/more than it claims.png", png(64, 64, zeros))
    corpus.add("bombs/largest.png", png(2**31 - 1, 2**31 - 1, zlib.compress(b"")))
    corpus.add("bombs/none.png", png(0, 0, zlib.compress(b"")))
    corpus.add("bombs/text.png", png(64, 64, zlib.compress(bytes(64 * 193)), extra=chunk(b"zTXt", b"a\0\0" + zeros)))
    corpus.add("bombs/profile.png", png(64, 64, zlib.compress(bytes(64 * 193)), extra=chunk(b"iCCP", b"a\0\0" + zeros)))
    corpus.add("bombs/allowed.png", png(7000, 7000, zlib.compress(bytes(7000 * 7001), 9), 8, 0))
    corpus.add("bombs/screen.gif", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b";")
    picture = b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x08\x02\x04\x01\0\0;"
    corpus.add("bombs/frame.gif", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6) + picture)
    frames = io.BytesIO()
    small = [Image.new("P", (64, 64), i % 250) for i in range(400)]
    small[0].save(frames, "GIF", save_all=True, append_images=small[1:])
    corpus.add("bombs/many frames.gif", frames.getvalue())
    for name, value in (("large", 100_000), ("largest", 2**32 - 1)):
        tags = [(256, 4, value), (257, 4, value), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (279, 4, 100)]
        body = b"".join(struct.pack("<HHII", tag, kind, 1, what) for tag, kind, what in tags)
        corpus.add(f"bombs/{name}.tiff", b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + body + bytes(104))
    loop = b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8)
    corpus.add("bombs/next is this.tiff", loop + bytes(100))
    corpus.add("bombs/large.ppm", b"P6 99999 99999 255\n" + bytes(100))
    corpus.add("bombs/digits.ppm", b"P6 " + b"9" * 5000 + b" 1 255\n")
    bmp = b"BM" + struct.pack("<IHHIIiiHH", 100, 0, 0, 54, 40, 100_000, -100_000, 1, 24) + bytes(24)
    corpus.add("bombs/large.bmp", bmp)
    data = _saved(portrait(60), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    corpus.add("bombs/large.jpg", data[:at] + struct.pack(">HH", 65500, 65500) + data[at + 4 :])
    corpus.add("bombs/box.mp4", struct.pack(">I4sQ", 1, b"ftyp", 2**62) + bytes(100))
    boxes = b""
    for _ in range(2000):
        boxes = struct.pack(">I4s", len(boxes) + 8, b"moov") + boxes
    corpus.add("bombs/nested.mp4", boxes)


def _saved(pixels: np.ndarray, kind: str, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, kind, **options)
    return out.getvalue()


def _lying(corpus: Corpus, bases: list[dict[str, bytes]], rng: random.Random) -> None:
    for kind, name in (("jpg", "a.mp4"), ("mp4", "b.png"), ("png", "c.avi"), ("mkv", "d.jpg"), ("gif", "e.heic")):
        corpus.add(f"lying/{name}", bases[corpus.count % 2][kind])
    for name in ("a.jpg", "b.png", "c.mp4", "d.txt", "none"):
        corpus.add(f"empty/{name}", b"")
        corpus.add(f"text/{name}", b"This is no picture.\n" * 20)
        corpus.add(f"noise/{name}", rng.randbytes(5000))
        corpus.add(f"zeros/{name}", bytes(5000))
        corpus.add(f"one byte/{name}", b"\xff")
    for number, data in enumerate([data for base in bases for data in base.values()]):
        corpus.add(f"begins well/{number}", data[:40] + rng.randbytes(3000))
    corpus.add("lying/list.m3u8", b"#EXTM3U\n#EXTINF:1,\n../real/photo 1.png\n")
    corpus.add("lying/list.mp4", b"ffconcat version 1.0\nfile 'a.mp4'\n")
    corpus.add("lying/page.jpg", b"<!DOCTYPE html><title>404</title>")
    corpus.add("lying/drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    corpus.add("lying/script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    corpus.add("lying/archive.mp4", b"PK\x03\x04" + bytes(200))
    corpus.add("lying/image.fits", b"SIMPLE  =                    T" + bytes(200))


def _modes(corpus: Corpus) -> None:
    for number, (mode, kind) in enumerate((
        ("L", "JPEG"), ("CMYK", "JPEG"), ("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("1", "PNG"),
        ("I;16", "PNG"), ("CMYK", "TIFF"), ("LAB", "TIFF"), ("F", "TIFF"), ("I", "TIFF"), ("I;16", "TIFF"),
        ("YCbCr", "TIFF"), ("RGBA", "TIFF"), ("1", "TIFF"), ("RGBA", "WEBP"), ("P", "GIF"), ("L", "BMP"),
        ("1", "PPM"), ("L", "JPEG2000"),
    )):  # fmt: skip
        pixels = portrait(70 + number)
        name = f"modes/{mode.replace(';', '')}.{kind.lower()}"
        if mode == "I;16":
            grey = pixels.mean(axis=2).astype(np.uint16) * 257
            out = io.BytesIO()
            Image.fromarray(grey).save(out, kind)
            corpus.add(name, out.getvalue())
        elif mode == "LAB":
            out = io.BytesIO()
            Image.frombytes("LAB", (160, 120), pixels.tobytes()).save(out, kind)
            corpus.add(name, out.getvalue())
        else:
            corpus.add(name, _saved(pixels, kind, mode))
    ways = Image.Transpose
    # Stored so that what the EXIF value says turns it upright.
    stored = (None, ways.FLIP_LEFT_RIGHT, ways.ROTATE_180, ways.FLIP_TOP_BOTTOM, ways.TRANSPOSE, ways.ROTATE_90,
              ways.TRANSVERSE, ways.ROTATE_270)  # fmt: skip
    for turn, way in enumerate(stored, start=1):
        exif = Image.Exif()
        exif[0x0112] = turn
        image = Image.fromarray(portrait(100 + turn))
        image = image if way is None else image.transpose(way)
        corpus.add(f"turned/{turn}.jpg", _saved(np.asarray(image), "JPEG", exif=exif.tobytes()))


def _scenes(corpus: Corpus) -> None:
    for label in (0, 1):
        for number in range(4):
            save_photo(corpus.path(f"photo {number}.png", label), portrait(120 + 2 * number + label))
        crowd = background(130 + label, 700, 560)
        for number in range(20):
            crowd = with_head(crowd, number % 5 * 140, number // 5 * 140, 130, 0.7 + 0.02 * number + 0.01 * label)
        save_photo(corpus.path("twenty.png", label), crowd)
        save_photo(corpus.path("far.png", label), with_head(background(132 + label), 20, 20, 50))
        for name in ("black", "white"):
            value = 255 * (name == "white")
            save_photo(corpus.path(f"{name}.png", label), np.full((90, 120, 3), value, np.uint8))
        save_photo(corpus.path("nobody.jpg", label), background(134 + label))
        for width, height in ((1, 1), (1, 600), (5000, 1), (20_000, 20), (3, 9000)):
            path = corpus.path(f"sizes/{width}x{height}.png", label)
            save_photo(path, np.full((height, width, 3), 80, np.uint8))


def _clips(corpus: Corpus) -> None:
    for label in (0, 1):

        def path(name: str, label: int = label) -> Path:
            return corpus.path(f"clips/{name}", label)

        seed = 200 + 20 * label
        times = [Fraction(t, 100) for t in (0, 3, 7, 50, 51, 200, 201, 260)]
        save_clip(path("variable.mkv"), walk(seed), times=times)
        save_clip(path("sound.mp4"), walk(seed + 1), sound=True)
        save_clip(path("only sound.mp4"), [], sound=True)
        save_clip(path("black.mp4"), [np.zeros((120, 160, 3), np.uint8)] * 6)
        save_clip(path("one frame.mp4"), walk(seed + 2, 1))
        save_clip(path("tiny.mp4"), [np.full((16, 16, 3), 99, np.uint8)] * 3)
        save_clip(path("wide.mp4"), [np.full((16, 2000, 3), 99, np.uint8)] * 3)
        save_clip(path("slow.mp4"), walk(seed + 3, 3), times=[Fraction(0), Fraction(600), Fraction(1200)])
        save_clip(path("old.mpg"), walk(seed + 4), codec="mpeg1video", rate=25, options={})
        save_clip(path("raw.m1v"), walk(seed + 5), codec="mpeg1video", rate=25, options={})
        save_clip(path("plain.y4m"), walk(seed + 6, 3), codec="wrapped_avframe", options={})
        save_clip(path("fragments.mp4"), walk(seed + 7), container_format="mp4", options={"g": "2"})
        save_clip(path("motion.avi"), walk(seed + 8), codec="mpeg4", options={})


def _places(corpus: Corpus) -> None:
    for number, name in enumerate(ODD_NAMES):
        for suffix in (".png", ".mp4"):
            path = corpus.path(f"names/{name}{suffix}", number % 2)
            seed = 300 + 2 * number
            save_photo(path, portrait(seed)) if suffix == ".png" else save_clip(path.with_name("x.mp4"), walk(seed, 3))
            if suffix == ".mp4":
                path.with_name("x.mp4").rename(path)
    folder = corpus.path("names/x", 0).parent
    no_text = Path(os.fsdecode(os.fsencode(folder) + b"/not \xff text.png"))
    no_text.write_bytes(_saved(portrait(350), "PNG"))
    save_clip(folder / "x.mp4", walk(352, 3)).rename(no_text.with_suffix(".mp4"))
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "nowhere.png").symlink_to(folder / "gone.png")
    (folder / "again.png").symlink_to(folder.parent / "photo 0.png")
    (folder / "up").symlink_to(folder.parent)
    os.mkfifo(folder / "pipe.mp4")
    locked = corpus.add("names/locked.png", _saved(portrait(351), "PNG"), 0)
    locked.chmod(0)
