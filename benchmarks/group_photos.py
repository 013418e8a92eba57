"""How often a photo of many real faces is called fake, and how often one is with one fake among them.

    python benchmarks/group_photos.py DETECTOR REALS FAKES --at fpr=0.05

REALS and FAKES are folders or lists (a text file, one path a line) of face crops that the detector was neither fitted nor
calibrated on; and it should have been fitted on such photos of one face (``photo`` makes them), or its rate for one face is
another one to begin with. Photos are crops at their own size on a noisy backdrop, drawn with a seed. Intervals are over the
faces, which are drawn again and again: a face that scores high is in many photos.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facetell.detector.detector import Detector
from facetell.detector.pooling import pool

COUNTS = (1, 2, 5, 10, 40)
REPETITIONS = 200
GAP = 128
"""Pixels between crops: what is cut out with a margin about one face must not hold another."""


def crops(source: Path) -> list[Path]:
    if source.is_dir():
        return sorted(path for path in source.rglob("*") if path.is_file())
    return [Path(line) for line in source.read_text(encoding="utf-8").splitlines() if line]


def photo(faces: list[Path], rng: np.random.Generator, columns: int, gap: int = GAP) -> Image.Image:
    """Crops in rows on noise about a middle grey."""
    pictures = [Image.open(path).convert("RGB") for path in faces]
    side = max(max(picture.size) for picture in pictures) + gap
    rows = -(-len(pictures) // columns)
    noise = rng.normal(120, 6, (rows * side + gap, min(columns, len(pictures)) * side + gap, 3))
    sheet = Image.fromarray(noise.clip(0, 255).astype(np.uint8))
    for index, picture in enumerate(pictures):
        sheet.paste(picture, (index % columns * side + gap, index // columns * side + gap))
    return sheet


def alone(detector: Detector, files: list[Path]) -> NDArray[np.float32]:
    """The logits of single crops, each a photo of its own; crops without a usable face are left out."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number, file in enumerate(files):
            path = Path(folder) / f"{number}.png"
            photo([file], np.random.default_rng(number), 1).save(path)
            used = [face.logit for face in detector.detect(path, faces="find").faces if face.used]
            found += used[:1]
    return np.array(found, np.float32)


def shares(
    detector: Detector, reals: NDArray[np.float32], fakes: NDArray[np.float32], faces: int, photos: int, seed: int
) -> tuple[float, float, float]:
    """Share called fake of photos of ``faces`` reals: as now, by the largest alone; and of those with a fake among them."""
    rng, decider = np.random.default_rng([seed, faces]), detector.decider
    now = largest = recall = 0
    for _ in range(photos):
        drawn = rng.choice(reals, faces, replace=False)
        mixed = np.append(drawn[1:], rng.choice(fakes))
        pooled, with_fake = (pool(one.astype(np.float32), np.arange(faces)) for one in (drawn, mixed))
        now += decider.decision(pooled.logit(decider.real)) == "fake"
        largest += decider.decision(pooled.logit(None)) == "fake"
        recall += decider.decision(with_fake.logit(decider.real)) == "fake"
    return now / photos, largest / photos, recall / photos


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("detector", "reals", "fakes"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--at", default="default")
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="crops of each label at most")
    parser.add_argument("--whole", type=int, default=0, help="photos of each number that are also judged whole")
    given = parser.parse_args()
    judge = Detector.load(given.detector, at=given.at)
    listed = {"real": crops(given.reals)[: given.limit], "fake": crops(given.fakes)[: given.limit]}
    logits = {label: alone(judge, files) for label, files in listed.items()}
    rng = np.random.default_rng(given.seed)
    print(f"{len(logits['real'])} reals, {len(logits['fake'])} fakes, threshold {judge.decider.threshold:.3f}")
    print("faces  called fake, 95% interval over faces   by the largest   with one fake")
    for count in COUNTS:
        share = shares(judge, logits["real"], logits["fake"], count, given.photos, given.seed)
        again = [
            shares(judge, rng.choice(logits["real"], len(logits["real"])), logits["fake"], count, given.photos, seed)[0]
            for seed in range(1, REPETITIONS + 1)
        ]
        low, high = np.quantile(again, [0.025, 0.975])
        print(
            f"{count:5}  {share[0]:11.3f}   {low:.3f} to {high:.3f}      {share[1]:14.3f}  {share[2]:14.3f}", flush=True
        )
    with tempfile.TemporaryDirectory() as folder:
        for count in COUNTS if given.whole else ():
            called, seen = 0, 0
            for _ in range(given.whole):
                path = Path(folder) / "photo.png"
                chosen = rng.choice(len(listed["real"]), count, replace=False)
                photo([listed["real"][index] for index in chosen], rng, 5).save(path)
                verdict = judge.detect(path, faces="find")
                called += verdict.decision == "fake"
                seen += verdict.corrected_for or 0
            print(
                f"{count:5} faces judged whole: {called} of {given.whole} called fake, {seen / given.whole:.1f} faces seen"
            )
