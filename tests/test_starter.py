"""The detector in the box: its size, that it is whole, known by its name, one ONNX graph, and adapted without old faces."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from monday import fill
from safetensors.numpy import load_file

import facetell
from facetell.detector.bundle import BOX
from facetell.errors import AcceptanceError, BundleError, UsageError

STARTER = BOX / "starter"
MOST = 20e6
"""Bytes that it may add to a wheel."""


@pytest.fixture(scope="module")
def starter() -> facetell.Detector:
    return facetell.Detector.load(STARTER, "cpu")


def test_it_is_small_and_whole() -> None:
    assert sum(file.stat().st_size for file in BOX.rglob("*")) < MOST
    found = facetell.verify("starter")
    assert found.method == "depth"
    assert {"default", "fpr=0.01", "fpr=0.05"} <= set(found.operating_points)
    description = json.loads((STARTER / "detector.json").read_text())
    assert description["calibration"]["face"]["unsure"]
    assert "/" not in description["settings"]["pretrained"]
    card = (STARTER / "README.md").read_text()
    for word in ("Terms", "DFDC", "StyleGAN", "SDXL", "not been tested", "not seen"):
        assert word in card


def test_no_face_travels_with_it() -> None:
    """Only tensors and text: no format of pictures, and no table of them."""
    assert {file.suffix for file in BOX.rglob("*") if file.is_file()} <= {
        ".safetensors",
        ".onnx",
        ".json",
        ".csv",
        ".md",
    }


def test_it_is_known_by_its_name_and_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of that name comes first; what would change it is refused."""
    crop = fill(tmp_path / "faces", "real", 1, 0) / "00.png"
    (verdict,) = facetell.detect("starter", [crop], faces="crops", device="cpu")
    assert verdict.judged
    for change in (
        lambda: facetell.remember("starter", forget=True),
        lambda: facetell.threshold("starter", tmp_path, at="fpr=0.1"),
        lambda: facetell.calibrate("starter", tmp_path),
    ):
        with pytest.raises(UsageError, match="stays as it is"):
            change()
    (tmp_path / "starter").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(facetell.errors.FacetellError, match="starter"):
        facetell.verify("starter")


@pytest.mark.slow
def test_it_is_one_onnx_graph(starter: facetell.Detector) -> None:
    """The file alone is enough for ONNX Runtime, and torch reads its weights there: they are in the wheel once.

    Beside it lies what no verdict needs: the backbone as it was before it learned, for experts.
    """
    session = onnxruntime.InferenceSession(STARTER / "model.onnx", providers=["CPUExecutionProvider"])
    crops = np.random.default_rng(0).integers(0, 256, (5, 256, 256, 3), dtype=np.uint8)
    expected = facetell.Detector.load(STARTER, "cpu", runtime="torch").logits(crops)
    for some in (slice(0, 1), slice(0, 5)):
        for found in (session.run(["logits"], {"crops": crops[some]})[0], starter.logits(crops[some])):
            assert (np.abs(found - expected[some]) <= 1e-3 * (1 + np.abs(expected[some]))).all()
    here = load_file(STARTER / "weights.safetensors")
    assert sum(array.nbytes for name, array in here.items() if not name.startswith("untuned.")) < 20_000


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    """The calibration belongs to the weights, in whichever file they are."""
    bundle = Path(shutil.copytree(STARTER, tmp_path / "mine"))
    description = json.loads((bundle / "detector.json").read_text())
    description["weights"]["in_model"].pop()
    (bundle / "detector.json").write_text(json.dumps(description))
    with pytest.raises(BundleError, match="are not those that were written"):
        facetell.Detector.load(bundle, "cpu", runtime="torch")
    description["weights"]["sha256"] = "0" * 64
    (bundle / "detector.json").write_text(json.dumps(description))
    with pytest.raises(BundleError, match="measured with other weights"):
        facetell.Detector.load(bundle, "cpu")
    description["weights"] = ["all"]
    (bundle / "detector.json").write_text(json.dumps(description))
    with pytest.raises(BundleError, match="'weights' does not say"):
        facetell.Detector.load(bundle, "cpu")


@pytest.mark.fits
def test_it_learns_a_new_kind_without_a_face_of_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command's own way: drawn checkerboards, at the size of toys. What it does on old faces is checked by vectors."""
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))
    fake, real = (fill(tmp_path / kind, kind, 24, 1) for kind in ("board", "real"))
    try:
        found = facetell.adapt("starter", tmp_path / "mine", fake=fake, real=real, device="cpu")
        checks = {name: check.as_dict() for name, check in found.checks.items()}
    except AcceptanceError as refused:  # toys may be told apart by their colours
        checks = refused.record["checks"]
    assert checks["old"]["n"] >= 200
    assert abs(checks["old"]["after"] - checks["old"]["before"]) < 0.01
    assert checks["new"]["after"] > 0.9
