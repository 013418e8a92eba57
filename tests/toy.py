"""A small face set that a network can learn in seconds: fakes carry a fine checkerboard."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from inline import here
from PIL import Image

import facetell
from facetell.faceset.table import FaceSet
from facetell.ingest.prepare import prepare
from facetell.methods import get_method
from facetell.settings import describe

COUNTS = {"train": 24, "validation": 10, "finetune": 12, "test": 12}
TINY = {"backbone": "squeezenet1_1", "pretrained": "none", "size": 32, "batch_size": 16, "epochs": 3, "averaging": 0.9}
"""Settings under which a method of the shared loop trains in a second or two."""
OWN = {
    "siamese": {
        "backbone": "cffn_icip",
        "size": 32,
        "batch_size": 16,
        "pair_epochs": 2,
        "epochs": 3,
        "lr": 1e-3,
        "lr_step": 1.0,
        "colour": 0.0,
    },
    "depth": {
        "backbone": "squeezenet1_1",
        "pretrained": "none",
        "size": 32,
        "width": 32,
        "dropout": 0.0,
        "views": 1,
        "epochs": 12,
        "batch_size": 16,
        "lr": 3e-3,
    },
    "features": {"backbone": "squeezenet1_1", "pretrained": "none", "size": 32, "grid": "C=0.01,1"},
}
"""The same for methods with settings of their own."""


def tiny(method: str, **change: object) -> dict[str, object]:
    """Settings under which ``method`` trains in a second or two, with those of ``change`` that it knows."""
    known = {info.name for info in describe(get_method(method).settings)}
    return {**OWN.get(method, TINY), **{name: value for name, value in change.items() if name in known}}


UNTRAINED = ("depth", "features")
"""Methods that keep no checkpoints: what takes long lies in the cache."""


def toy_picture(rng: np.random.Generator, fake: bool, side: int = 32) -> Image.Image:
    coarse = Image.fromarray(rng.integers(60, 200, (4, 4, 3), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    pixels = np.asarray(coarse).astype(np.int64)
    if fake:
        rows, columns = np.indices((side, side))
        pixels = pixels + 24 * ((rows + columns) % 2 * 2 - 1)[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def toy_source(folder: Path, seed: int = 0) -> Path:
    """Write pictures and an index with groups (a real and a fake share one), sources and splits."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group", "source", "split"])
        for split, count in COUNTS.items():
            for i in range(count):
                for label, source in (("real", "camera"), ("fake", "board" if i % 2 else "grid")):
                    name = f"{split}-{i}-{label}.png"
                    toy_picture(rng, label == "fake").save(folder / name)
                    writer.writerow([name, label, f"{split}-{i}", source, split])
    return folder


def toy_faceset(folder: Path, seed: int = 0) -> FaceSet:
    return prepare(toy_source(folder / "pictures", seed), folder / "faces")


def toy_detector(folder: Path, source: Path | None = None) -> Path:
    """A detector, not a good one: of ready crops, or of the faces in the photos and clips of ``source``."""
    if source is None:
        faces = toy_faceset(folder)
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("facetell.ingest.extract.guarded_map", here)
            faces = prepare(source, folder / "faces", faces="find")
    return fit_briefly("finetune", faces, folder / "detector")


def fit_briefly(method: str, faces: FaceSet, out: Path) -> Path:
    facetell.fit(method, faces.path, out, settings=tiny(method, epochs=1, pair_epochs=0))
    return out
