"""A detector that knows checkerboards, and on Monday somebody sends smooth faces."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import toy
from PIL import Image

import facetell


@dataclass(frozen=True)
class Monday:
    """A detector with a replay buffer, one without, the face set of both, and folders of pictures by name."""

    root: Path

    @property
    def detector(self) -> Path:
        return self.root / "detector"

    @property
    def bare(self) -> Path:
        return self.root / "bare"

    @property
    def faces(self) -> Path:
        return self.root / "faces"

    def __getitem__(self, name: str) -> Path:
        return self.root / "new" / name


def picture(rng: np.random.Generator, kind: str) -> Image.Image:
    """``real``; ``board``, which the detector knows; ``smooth``, ``flat``, ``barred``, which it does not; ``framed``: an edge."""
    plain = toy.toy_picture(rng, fake=kind == "board")
    pixels = np.asarray(plain).astype(np.float64)
    if kind == "smooth":  # no detail, but the colours of a real face
        low = plain.resize((2, 2), Image.Resampling.BOX).resize(plain.size, Image.Resampling.BICUBIC)
        blurred = np.asarray(low).astype(np.float64)
        spread = pixels.std(axis=(0, 1)) / (blurred.std(axis=(0, 1)) + 1e-6)
        pixels = (blurred - blurred.mean(axis=(0, 1))) * spread + pixels.mean(axis=(0, 1))
    if kind == "barred":  # soft bars, 8 pixels wide, over less detail, in the colours of a real face
        low = plain.resize((2, 2), Image.Resampling.BOX).resize(plain.size, Image.Resampling.BICUBIC)
        blurred = np.asarray(low).astype(np.float64)
        blurred = (blurred - blurred.mean(axis=(0, 1))) / (blurred.std(axis=(0, 1)) + 1e-6)
        bars = np.sin(2 * np.pi * (np.arange(pixels.shape[1]) / 8 + rng.random()))
        both = bars[None, :, None] + blurred / 2
        scaled = (both - both.mean(axis=(0, 1))) / both.std(axis=(0, 1))
        pixels = scaled * pixels.std(axis=(0, 1)) + pixels.mean(axis=(0, 1))
    if kind == "flat":
        pixels[8:24, 8:24] = pixels[8:24, 8:24].mean(axis=(0, 1))
    if kind == "framed":
        pixels[[0, -1]] = pixels[:, [0, -1]] = 255
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def fill(folder: Path, kind: str, count: int, seed: int) -> Path:
    rng = np.random.default_rng([seed, len(kind)])
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        picture(rng, kind).save(folder / f"{k:02}.png")
    return folder


def monday(root: Path, new: int = 24) -> Monday:
    """Fit on 80 faces, remember the same, and draw ``new`` pictures of each kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACETELL_CACHE", str(root / "cache"))
        patch.setattr(toy, "COUNTS", {"train": 40, "validation": 40, "finetune": 4, "test": 4})
        faces = toy.toy_faceset(root)
        settings = {**toy.TINY, "epochs": 12, "lr": 2e-3, "zoom": 0.0, "rotate": 0.0, "translate": 0.0}
        facetell.fit("finetune", faces.path, root / "bare", settings=settings)
        shutil.copytree(root / "bare", root / "detector")
        facetell.remember(root / "detector", faces.path)
    for k, kind in enumerate(("real", "smooth", "framed", "board", "flat")):
        fill(root / "new" / kind, kind, new, k)
    return Monday(root)
