"""Small pictures and folders for the tests, made on the spot."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from monday import Monday


def picture_bytes(seed: int = 0, size: tuple[int, int] = (24, 20), kind: str = "PNG", **options: object) -> bytes:
    """Return one smooth random RGB picture of ``size`` = (width, height), encoded."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 4, 3), dtype=np.uint8))
    out = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).save(out, kind, **options)
    return out.getvalue()


def write_picture(path: Path, seed: int = 0, size: tuple[int, int] = (24, 20)) -> Path:
    """Write one picture that differs from every other seed's; the suffix chooses the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}.get(path.suffix.lower(), "PNG")
    path.write_bytes(picture_bytes(seed, size, kind))
    return path


def tiny_folder(root: Path, per_label: int = 10, size: tuple[int, int] = (24, 20), suffix: str = ".png") -> Path:
    """Make ``root/real`` and ``root/fake`` with ``per_label`` distinct pictures each."""
    for label, name in enumerate(("real", "fake")):
        for i in range(per_label):
            write_picture(root / name / f"{i:05d}{suffix}", seed=1 + 2 * i + label, size=size)
    return root


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a tiny face-crop folder below the test's folder."""

    def make(per_label: int = 10, name: str = "pictures", **options: object) -> Path:
        return tiny_folder(tmp_path / name, per_label, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Monday:
    """A small detector with a memory and pictures of a new kind, which tests of adapting share and do not change."""
    from monday import monday  # a fit, for those alone who ask for it

    return monday(tmp_path_factory.mktemp("monday"))
