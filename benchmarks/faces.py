"""How many faces of a known size are found in pictures of a known size, and what that costs.

    python benchmarks/faces.py FOLDER            faces: FOLDER/*.jpg, each a close portrait

The faces are pasted on plain noisy ground at random places, eight a picture. Found: a face of score 0.5 or more within a third
of its size. Time is of one thread, in processor seconds; 'one view' is the same network's view of 640 pixels alone, which is
what small pictures cost. Without faces on it, the ground takes less: nothing gives itself away.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facetell.faces.centerface import CenterFace
from facetell.pixels.decode import resize

PICTURES = ((640, 480), (1280, 960), (1920, 1080), (3840, 2160), (4000, 3000), (8000, 6000), (9000, 1100))
SIDES = (32, 36, 40, 64, 100, 200)
EACH = 8


def portraits(folder: Path, detector: CenterFace) -> list[tuple[Image.Image, NDArray[np.float64]]]:
    """Pictures of 200 pixels with one sure face, and its box."""
    known = []
    for path in sorted(folder.glob("*.jpg")):
        small = Image.open(path).convert("RGB").resize((200, 200), Image.Resampling.LANCZOS)
        ground = Image.new("RGB", (640, 480), (120, 120, 120))
        ground.paste(small, (200, 100))
        sure = [face for face in detector.detect(np.array(ground)) if face.score >= 0.5]
        if len(sure) == 1:
            known.append((small, np.array(sure[0].box) - (200, 100, 0, 0)))
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=8, help="of each kind (default 8)")
    given = parser.parse_args()
    detector, rng = CenterFace(), np.random.default_rng(0)
    known = portraits(given.folder, detector)
    print(f"{len(known)} portraits, {given.pictures * EACH} faces a cell, seed 0\n")
    print("| picture | " + " | ".join(f"{side} px" for side in SIDES) + " | one view | all | without a face |")
    print("| --- " * (len(SIDES) + 4) + "|")
    for width, height in PICTURES:
        ground = rng.integers(110, 130, (height, width, 3), dtype=np.uint8)
        view = resize(ground, *(round(side * 640 / max(width, height)) for side in (height, width)))
        began = time.process_time()
        for _ in range(5):
            detector._look(view)
        once = (time.process_time() - began) / 5
        began = time.process_time()
        detector.detect(ground)
        empty = time.process_time() - began
        shares, spent = [], []
        for side in SIDES:
            found = 0
            for _ in range(given.pictures):
                picture, places = Image.fromarray(ground), []
                for cell in range(EACH):
                    face, box = known[rng.integers(len(known))]
                    scale = side / box[2:].max()
                    length = round(200 * scale)
                    room = (width // 4 - length, height // 2 - length)
                    if min(room) < 1:
                        continue
                    x, y = (int(rng.integers(each)) for each in room)
                    x, y = x + cell % 4 * (width // 4), y + cell // 4 * (height // 2)
                    picture.paste(face.resize((length, length), Image.Resampling.LANCZOS), (x, y))
                    places.append((np.array([x, y]) + (box[:2] + box[2:] / 2) * scale, side))
                pixels = np.array(picture)
                began = time.process_time()
                faces = [face for face in detector.detect(pixels) if face.score >= 0.5]
                spent.append(time.process_time() - began)
                middles = np.array([np.add(face.box[:2], np.divide(face.box[2:], 2)) for face in faces]).reshape(-1, 2)
                found += sum(bool((abs(middles - at) < size / 3).all(axis=1).any()) for at, size in places)
            shares.append(f"{found / (given.pictures * EACH):.3f}" if places else "–")
        cells = " | ".join(shares)
        print(f"| {width}×{height} | {cells} | {once:.3f} s | {np.median(spent):.3f} s | {empty:.3f} s |", flush=True)


if __name__ == "__main__":
    main()
