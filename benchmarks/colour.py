"""Verdicts on crops in four colour profiles against the same crops in sRGB: ``python benchmarks/colour.py DETECTOR INDEX``.

``INDEX``: an ``index.csv`` of ready crops with columns path, label, split. 300 crops of its split ``test`` are turned
into each profile's colours with the matrices that its primaries give, rounded to 8 bits, and written as PNG with the
profile inside. What flips is said, and what would flip if the profile were not looked at.
"""

from __future__ import annotations

import csv
import io
import struct
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from facetell import Detector
from facetell.pixels.decode import decode, resize

D65, D50 = (0.3127, 0.3290), (0.3457, 0.3585)
SPACES = {
    "Display P3": ((0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *D65), 0.0),
    "Adobe RGB": ((0.640, 0.330, 0.210, 0.710, 0.150, 0.060, *D65), 563 / 256),
    "ProPhoto": ((0.734699, 0.265301, 0.159597, 0.840403, 0.036598, 0.000105, *D50), 1.8),
    "BT.2020": ((0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *D65), 2.4),
}
SRGB = ((0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *D65), 0.0)
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def to_pcs(primaries: tuple[float, ...]) -> np.ndarray:
    """Linear RGB to XYZ as a profile holds it: white at D50."""
    x, y = np.array(primaries).reshape(4, 2).T
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    matrix = xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])
    cones = (BRADFORD @ [0.9642, 1, 0.8249]) / (BRADFORD @ xyz[:, 3])
    return np.linalg.inv(BRADFORD) @ np.diag(cones) @ BRADFORD @ matrix


def profile(primaries: tuple[float, ...], gamma: float) -> bytes:
    """A display profile of version 4: three colorants and one curve; ``gamma`` 0: sRGB's. ICC.1:2010."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    curve = fixed(gamma) if gamma else fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    parts = {
        b"rTRC": b"para" + bytes(4) + struct.pack(">HH", 0 if gamma else 3, 0) + curve,
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249),
    }
    for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), to_pcs(primaries).T, strict=True):
        parts[name] = b"XYZ " + bytes(4) + fixed(*column)
    table, body, start = b"", b"", 128 + 4 + 12 * (len(parts) + 2)
    for name, part in parts.items():
        for tag in (b"rTRC", b"gTRC", b"bTRC") if name == b"rTRC" else (name,):
            table += tag + struct.pack(">II", start + len(body), len(part))
        body += part + bytes(-len(part) % 4)
    head = bytes(4) + b"\4\x20\0\0mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1, 0.8249)
    whole = head.ljust(124, b"\0") + struct.pack(">I", len(parts) + 2) + table + body
    return struct.pack(">I", 4 + len(whole)) + whole


def recoded(pixels: np.ndarray, primaries: tuple[float, ...], gamma: float) -> np.ndarray:
    """The same colours (H, W, 3) of sRGB in another space."""
    v = pixels / 255
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    linear = (linear @ (np.linalg.inv(to_pcs(primaries)) @ to_pcs(SRGB[0])).T).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    v = linear ** (1 / gamma) if gamma else srgb
    return np.rint(255 * v).astype(np.uint8)


def png(pixels: np.ndarray, icc: bytes | None = None) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", icc_profile=icc)
    return out.getvalue()


def main(bundle: str, index: str) -> None:
    detector = Detector.load(bundle)
    with Path(index).open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    chosen = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:300]]
    crops = [decode((Path(index).parent / row["path"]).read_bytes()) for row in chosen]

    def fakes(pictures: list[bytes]) -> np.ndarray:
        pixels = np.stack([resize(decode(picture), detector.size) for picture in pictures])
        return np.array(detector.decider.decisions(detector.logits(pixels))) == "fake"

    plain = fakes([png(crop) for crop in crops])
    print(f"{len(crops)} crops, {plain.sum()} called fake in sRGB")
    for name, space in SPACES.items():
        turned = [recoded(crop, *space) for crop in crops]
        seen = [decode(png(pixels, profile(*space))) for pixels in turned]
        off = np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(seen, crops, strict=True)])
        with_it = (fakes([png(pixels) for pixels in seen]) != plain).sum()
        without = (fakes([png(pixels) for pixels in turned]) != plain).sum()
        print(f"{name}: {with_it} flip ({without} without the profile); pixels differ by {off:.2f} levels")


if __name__ == "__main__":
    main(*sys.argv[1:])
