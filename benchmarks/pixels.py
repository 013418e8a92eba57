"""Decoding and resizing by Pillow against torchvision and torch: ``python benchmarks/pixels.py [FACESET DETECTOR]``.

The old way, which lives here alone: JPEG by torchvision's operator, resizing by torch's antialiased bilinear filter.
First what each costs, in processor time on one thread, the variants taking turns, medians of rounds; then the largest
difference of a pixel. With a face set and a detector, also the largest change of a logit, and the AUROC of both, on the
split ``test``: on pictures as they are stored, and on pictures compressed again at quality 90.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from media import scene
from PIL import Image
from torch.nn.functional import interpolate
from torchvision.io import ImageReadMode, decode_jpeg

from facetell.pixels.decode import decode, decode_resized, resize
from facetell.pixels.opening import open_header

Pixels = Any


def old_decode(data: bytes) -> Pixels:
    image = open_header(data)  # which both ways need: type, size, orientation
    if image.format != "JPEG":
        return decode(data)
    image.getexif()
    buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return decode_jpeg(buffer, mode=ImageReadMode.RGB).permute(1, 2, 0).numpy()


def old_resize(pixels: Pixels, height: int, width: int) -> Pixels:
    batch = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        batch = batch.float()
    made = interpolate(batch, size=(height, width), mode="bilinear", align_corners=False, antialias=True)
    made = made if made.dtype == torch.uint8 else made.round_().to(torch.uint8)
    return np.ascontiguousarray(made[0].permute(1, 2, 0).numpy())


def old_decode_resized(data: bytes, size: int) -> Pixels:
    pixels = old_decode(data)
    return pixels if pixels.shape[:2] == (size, size) else old_resize(pixels, size, size)


def jpeg(pixels: Pixels, quality: int = 90) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def milliseconds(works: Sequence[Callable[[Any], object]], items: Sequence[Any], rounds: int) -> list[float]:
    """Processor time of an item, for each of the works; they take turns."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, times in zip(works, taken, strict=True):
            began = time.process_time()
            for item in items:
                work(item)
            times.append(1e3 * (time.process_time() - began) / len(items))
    return [statistics.median(times) for times in taken]


def speed(rounds: int) -> None:
    crops = [jpeg(scene(224, 224, seed)) for seed in range(50)]
    photos = [jpeg(scene(1280, 960, seed)) for seed in range(8)]
    print("| | old ms | new ms | ratio | largest difference |\n| --- | --- | --- | --- | --- |")
    for name, files, size in (
        ("crop of 224 px", crops, 64),
        ("crop of 224 px", crops, 256),
        ("photo of 1280×960", photos, 256),
    ):
        row(
            f"{name}: decode and resize to {size}",
            files,
            lambda d: old_decode_resized(d, size),
            lambda d: decode_resized(d, size),
            rounds,
        )
    for name, files in (("crop of 224 px", crops), ("photo of 1280×960", photos)):
        row(f"{name}: decode", files, old_decode, decode, rounds)
    frames = [decode(data) for data in photos]
    for height, width in ((480, 640), (120, 160)):
        row(
            f"photo of 1280×960: the face detector's view of {width}×{height}",
            frames,
            lambda p: old_resize(p, height, width),
            lambda p: resize(p, height, width),
            rounds,
        )


def row(
    name: str, items: Sequence[Any], old: Callable[[Any], Pixels], new: Callable[[Any], Pixels], rounds: int
) -> None:
    before, after = milliseconds((old, new), items, rounds)
    apart = max(int(np.abs(old(item).astype(int) - new(item)).max()) for item in items)
    print(f"| {name} | {before:.2f} | {after:.2f} | {after / before:.2f} | {apart} |", flush=True)


def judged(faces: Path, bundle: Path, split: str) -> None:
    from facetell.detector.detector import Detector
    from facetell.evaluation.metrics import auroc
    from facetell.faceset.table import FaceSet

    faceset, detector = FaceSet.open(faces), Detector.load(bundle)
    labels = faceset.labels(split)
    stored = [faceset.image(row) for row in faceset.rows(split)]
    for name, files in (("as stored", stored), ("compressed again", [jpeg(decode(data)) for data in stored])):
        both = [np.stack([way(data, detector.size) for data in files]) for way in (old_decode_resized, decode_resized)]
        logits = [np.concatenate([detector.logits(part) for part in np.array_split(crops, 30)]) for crops in both]
        difference = np.abs(both[0].astype(int) - both[1])
        print(
            f"{name}, n = {len(labels)}: pixels differ by at most {difference.max()} (in {(difference > 0).mean():.4%}), "
            f"logits by at most {np.abs(logits[0] - logits[1]).max():.4f} (their spread: {logits[0].std():.2f}); "
            f"AUROC old {auroc(labels, logits[0]):.5f}, new {auroc(labels, logits[1]):.5f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faceset", nargs="?", type=Path)
    parser.add_argument("detector", nargs="?", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    speed(arguments.rounds)
    if arguments.detector:
        judged(arguments.faceset, arguments.detector, arguments.split)


if __name__ == "__main__":
    main()
