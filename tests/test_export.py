"""Exported detectors judge as `detect` does, in programs that know nothing of facetell."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from conftest import picture_bytes
from PIL import Image
from sklearn.metrics import roc_auc_score
from toy import COUNTS

import facetell
from facetell.errors import AcceptanceError, SettingsError, UsageError
from facetell.faceset.table import FaceSet

Brief = Callable[[str], Path]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of other sizes than the network's, in a format that needs no library in JavaScript."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for seed, size in enumerate([(57, 41), (20, 33), (32, 32), (300, 31)]):
        (folder / "made.png").write_bytes(picture_bytes(seed, size))
        Image.open(folder / "made.png").save(folder / f"{seed}.ppm")
        paths.append(folder / f"{seed}.ppm")
    return paths


def judged(detector: Path, pictures: list[Path]) -> list[dict[str, Any]]:
    found = facetell.detect(detector, pictures, faces="crops", device="cpu")
    return [{"logit": each.logit, "score": each.score, "decision": each.decision} for each in found]


def said(command: list[object], pictures: list[Path]) -> list[dict[str, Any]]:
    done = subprocess.run([*map(str, command), *map(str, pictures)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.pop("path") for line in lines] == list(map(str, pictures))
    return lines


def check(found: list[dict[str, Any]], expected: list[dict[str, Any]], apart: float) -> None:
    assert [each["decision"] for each in found] == [each["decision"] for each in expected]
    for name in ("logit", "score"):
        np.testing.assert_allclose([each[name] for each in found], [each[name] for each in expected], apart, apart)


@pytest.fixture
def banded(brief: Brief, faces: FaceSet, tmp_path: Path) -> Path:
    """A detector that calls some faces unsure."""
    copied = Path(shutil.copytree(brief("finetune"), tmp_path / "detector"))
    facetell.threshold(copied, faces, coverage=0.8)
    return copied


@pytest.mark.slow
def test_the_python_example_says_what_detect_says(banded: Path, pictures: list[Path], tmp_path: Path) -> None:
    found = facetell.export(banded, tmp_path / "out")
    assert found.bytes == (banded / "model.onnx").stat().st_size
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "model.onnx", "preprocessing.json", "decision.json", "example.py", "example.mjs", "README.md",
    }  # fmt: skip
    assert len((tmp_path / "out" / "example.py").read_text().splitlines()) < 45
    command = [sys.executable, "-I", tmp_path / "out" / "example.py"]
    check(said(command, pictures), judged(banded, pictures), 1e-9)


@pytest.mark.slow
def test_the_openvino_example_says_what_detect_says(banded: Path, pictures: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    facetell.export(banded, tmp_path / "out", to="openvino")
    assert (tmp_path / "out" / "model.xml").is_file()
    check(said([sys.executable, tmp_path / "out" / "example.py"], pictures), judged(banded, pictures), 1e-3)


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """onnxruntime-web, from npm's registry or its cache."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("needs Node and npm")
    folder = tmp_path_factory.mktemp("npm")
    (folder / "package.json").write_text("{}")
    command = ["npm", "install", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts", "onnxruntime-web@1"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm does not answer")
    if done.returncode:
        pytest.skip("npm cannot install onnxruntime-web")
    return folder / "node_modules"


@pytest.mark.slow
def test_the_javascript_example_says_what_detect_says(
    banded: Path, pictures: list[Path], modules: Path, tmp_path: Path
) -> None:
    facetell.export(banded, tmp_path / "out")
    (tmp_path / "out" / "node_modules").symlink_to(modules)
    check(said(["node", tmp_path / "out" / "example.mjs"], pictures), judged(banded, pictures), 1e-3)


@pytest.mark.slow
def test_javascript_resizes_and_scores_as_we_do(modules: Path, banded: Path, tmp_path: Path) -> None:
    """To the pixel, which Pillow says; and with knots."""
    facetell.export(banded, tmp_path / "out")
    (tmp_path / "out" / "node_modules").symlink_to(modules)
    (tmp_path / "out" / "try.mjs").write_text(
        'import { resize, score } from "./example.mjs";\n'
        "const pixels = Uint8Array.from({ length: 37 * 23 * 3 }, (_, i) => (i * 7919) % 256);\n"
        "const curve = { temperature: 2, knots: { logits: [-1, 0.5, 3], log_odds: [-2, 0, 4] } };\n"
        "console.log(JSON.stringify([[8, 50, 23].map((size) => Array.from(resize(pixels, 37, 23, size))),\n"
        "  [-3, -1, 0, 0.5, 2, 3, 9].map((logit) => score(logit, curve))]));\n"
    )
    done = subprocess.run(["node", tmp_path / "out" / "try.mjs"], capture_output=True, text=True, check=True)
    resized, scores = json.loads(done.stdout)
    pixels = ((np.arange(37 * 23 * 3) * 7919) % 256).astype(np.uint8).reshape(23, 37, 3)
    for size, found in zip((8, 50, 23), resized, strict=True):
        expected = np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(np.reshape(found, (size, size, 3)), expected)
    # By hand: (-3 + 1) / 2 - 2; the knot; two thirds of the way to the next one; …; 4 + 6 / 2
    odds = np.array([-3, -2, -2 + 2 * 2 / 3, 0, 4 * 1.5 / 2.5, 4, 7])
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-odds)))


@pytest.mark.slow
def test_int8_is_measured_again_or_refused(brief: Brief, faces: FaceSet, pictures: list[Path], tmp_path: Path) -> None:
    detector = brief("finetune")
    with pytest.raises(UsageError, match="the detector keeps none"):
        facetell.export(detector, tmp_path / "none", int8=True)
    with pytest.raises(UsageError, match="split 'test'"):
        facetell.export(detector, tmp_path / "none", int8=True, faceset=faces, split="test")
    with pytest.raises(AcceptanceError, match="more than -2: nothing is written"):
        facetell.export(detector, tmp_path / "none", int8=True, faceset=faces, allow_loss=-2)
    assert not (tmp_path / "none").exists()
    found = facetell.export(detector, tmp_path / "out", int8=True, faceset=faces, allow_loss=0.1)
    assert found.auroc is not None
    assert found.auroc["before"] - found.auroc["after"] <= 0.1
    assert found.bytes < 0.4 * (detector / "model.onnx").stat().st_size
    decision = json.loads((tmp_path / "out" / "decision.json").read_text())
    assert decision["auroc"] == found.auroc
    assert decision["measured_on"]["faces"] == 2 * COUNTS["validation"]
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx")
    table = faces.columns(["label", "image"], "validation")
    crops = np.stack([np.asarray(Image.open(io.BytesIO(data))) for data in table["image"].to_pylist()])
    logits = session.run(["logits"], {"crops": crops})[0]
    labels = table["label"].to_numpy()
    np.testing.assert_allclose(roc_auc_score(labels, logits), found.auroc["after"])
    called = 1 / (1 + np.exp(-logits / decision["temperature"])) >= decision["points"]["default"]
    np.testing.assert_allclose(called[labels == 1].mean(), decision["rates"]["default"]["recall"]["value"])
    lines = said([sys.executable, tmp_path / "out" / "example.py"], pictures)
    apart = [abs(a["logit"] - b["logit"]) for a, b in zip(lines, judged(detector, pictures), strict=True)]
    assert max(apart) > 0


def test_what_cannot_be_exported_is_said(brief: Brief, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown format 'onx'; did you mean 'onnx'"):
        facetell.export(brief("finetune"), tmp_path / "out", to="onx")
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="exists"):
        facetell.export(brief("finetune"), tmp_path / "out")
