"""Small pictures and folders for the tests, made on the spot."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

if TYPE_CHECKING:
    from monday import Monday

    from facetell.faceset.table import FaceSet

hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.register_profile("random", derandomize=False)
hypothesis.settings.load_profile("same")  # a change is not refused for a fault that was there before it

Shared = Callable[[str, Callable[[Path], object]], Path]


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


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """What a test judges in this process, as a worker with all its threads would, sets torch's threads for the next test."""
    yield
    torch, threads = sys.modules.get("torch"), os.environ.get("OMP_NUM_THREADS")
    if torch is not None and threads and torch.get_num_threads() != int(threads):
        torch.set_num_threads(int(threads))


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a tiny face-crop folder below the test's folder."""

    def make(per_label: int = 10, name: str = "pictures", **options: object) -> Path:
        return tiny_folder(tmp_path / name, per_label, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Return ``shared(name, build)``: a folder that ``build`` filled once for all test processes. Do not change it."""
    own = tmp_path_factory.getbasetemp()
    root = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    root.mkdir(exist_ok=True)

    def once(name: str, build: Callable[[Path], object]) -> Path:
        folder, done = root / name, root / f"{name}.done"
        with FileLock(root / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                build(folder)
                done.touch()
        return folder

    return once


@pytest.fixture(scope="session", autouse=True)
def cache(shared: Shared) -> Iterator[Path]:
    """One cache of decoded pictures for all tests, and never the user's own."""
    folder = shared("cache", lambda _: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACETELL_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def faces(shared: Shared) -> FaceSet:
    """The toy face set, which tests share and do not change."""
    from toy import toy_faceset

    from facetell.faceset.table import FaceSet

    return FaceSet.open(shared("toy", toy_faceset) / "faces")


@pytest.fixture(scope="session")
def brief(shared: Shared, faces: FaceSet, cache: Path) -> Callable[[str], Path]:
    """Return ``brief(method)``: a detector of ``faces`` after one epoch, to share: copy it before you change it."""
    from toy import fit_briefly

    def of(method: str) -> Path:
        return shared(f"brief-{method}", lambda folder: fit_briefly(method, faces, folder / "detector")) / "detector"

    return of


@pytest.fixture(scope="session")
def fitted(brief: Callable[[str], Path]) -> Path:
    """A detector, not a good one, for all tests that only need one."""
    return brief("finetune")


@pytest.fixture(scope="session")
def found_faces(shared: Shared) -> Path:
    """As `fitted`, of faces that were found in photos."""
    from faceclips import portrait, save_photo
    from toy import toy_detector

    def of_photos(root: Path) -> None:
        for label, seed in (("real", 0), ("fake", 1)):
            for i in range(4):
                save_photo(root / "media" / label / f"{i}.png", portrait(seed + 2 * i))
        toy_detector(root, root / "media")

    return shared("found", of_photos) / "detector"


@pytest.fixture(scope="session")
def made(shared: Shared, cache: Path) -> Monday:
    """A small detector with a replay buffer and pictures of a new kind, which tests share and do not change."""
    from monday import Monday, monday

    return Monday(shared("monday", monday))
