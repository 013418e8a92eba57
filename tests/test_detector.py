"""Bundles are whole or refused with the reason; detect gives one line per path."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import picture_bytes
from safetensors.torch import load_file, save_file

import facetell
from facetell.errors import BundleError, SettingsError
from facetell.faceset.table import FaceSet
from facetell.files import sha256_of


@pytest.fixture
def bundle(brief: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(brief("fdftnet"), tmp_path / "bundle"))


def edit(bundle: Path, change: Callable[[dict[str, object]], object]) -> None:
    file = bundle / "detector.json"
    description = json.loads(file.read_text())
    change(description)
    file.write_text(json.dumps(description))


def replace_tensors(bundle: Path, name: str, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change tensors and make the hashes agree again, as somebody who knows the format could."""
    tensors = load_file(bundle / name)
    change(tensors)
    save_file(tensors, bundle / name)
    entry = {"bytes": (bundle / name).stat().st_size, "sha256": sha256_of(bundle / name)}
    edit(bundle, lambda d: d["files"].update({name: entry}))  # type: ignore[attr-defined]
    if name == "weights.safetensors":
        edit(bundle, lambda d: d["calibration"].update(weights=entry["sha256"]))  # type: ignore[attr-defined]


def test_a_whole_bundle(bundle: Path) -> None:
    found = facetell.verify(bundle)
    assert found.method == "fdftnet"
    assert set(found.selftest) == {"onnx", "torch"}
    assert max(found.selftest.values()) == found.selftest_difference <= 1e-5
    assert {file.name for file in bundle.iterdir()} == {
        "detector.json", "weights.safetensors", "model.onnx", "selftest.safetensors", "metrics.json", "training.csv",
        "README.md", "lineage.safetensors",
    }  # fmt: skip
    description = json.loads((bundle / "detector.json").read_text())
    assert description["labels"] == {"real": 0, "fake": 1}
    assert description["input"]["size"] == 32
    assert description["calibration"]["face"]["points"]["default"]["on"]["split"] == "validation"
    assert str(bundle.parent) not in (bundle / "detector.json").read_text()
    assert not any(file.suffix in (".pt", ".pth", ".pkl") for file in bundle.iterdir())


def test_the_card_is_free_to_edit(bundle: Path) -> None:
    (bundle / "README.md").write_text("mine")
    (bundle / "notes.txt").write_text("more")
    facetell.verify(bundle)


@pytest.mark.parametrize("name", ["weights.safetensors", "model.onnx", "selftest.safetensors", "training.csv"])
def test_missing_truncated_and_changed_files(name: str, bundle: Path) -> None:
    whole = (bundle / name).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content, message in ((whole[:-1], "damaged"), (bytes(flipped), "SHA-256"), (None, "incomplete")):
        if content is None:
            (bundle / name).unlink()
        else:
            (bundle / name).write_bytes(content)
        with pytest.raises(BundleError, match=message):
            facetell.verify(bundle)
        with pytest.raises(BundleError, match=message):
            facetell.Detector.load(bundle)


def test_swapped_weights_of_another_run_are_refused(bundle: Path, brief: Callable[[str], Path]) -> None:
    def other_values(tensors: dict[str, torch.Tensor]) -> None:
        tensors["head.dense.weight"][1] += 1.0

    replace_tensors(bundle, "weights.safetensors", other_values)
    with pytest.raises(BundleError, match="self-test"):
        facetell.verify(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("head.dense.bias"), "head.dense.bias is missing"),
        (lambda t: t.update(odd=torch.zeros(1)), "odd is unknown"),
        (lambda t: t.update({"head.dense.bias": torch.zeros(3)}), r"head.dense.bias is \[3\], not \[2\]"),
    ],
)
def test_tensors_must_fit_exactly(
    change: Callable[[dict[str, torch.Tensor]], object], message: str, bundle: Path
) -> None:
    replace_tensors(bundle, "weights.safetensors", change)
    with pytest.raises(BundleError, match=message):
        facetell.Detector.load(bundle, runtime="torch")
    with pytest.raises(BundleError, match=message):
        facetell.verify(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(version=1), "bundle version 1; this facetell reads version 2"),
        (lambda d: d.update(format="other"), "does not describe a facetell detector"),
        (lambda d: d.update(method="magic"), "unknown method 'magic'"),
        (lambda d: d["settings"].update(backbone="magic"), "unknown backbone"),
        (lambda d: d["settings"].update(colour="red"), "unknown setting 'colour'"),
        (lambda d: d["calibration"]["face"]["curve"].update(temperature="warm"), "face.curve.temperature is not float"),
        (lambda d: d.pop("files"), "'files' is missing"),
        (lambda d: d["files"].pop("weights.safetensors"), "does not list weights.safetensors"),
        (lambda d: d["files"].update({"../up": {}}), "bad entry for '../up'"),
        (lambda d: d["calibration"]["face"]["points"].clear(), "damaged: there is no operating point 'default'"),
        (lambda d: d["calibration"]["face"].pop("reference"), "calibration.face has not the entries"),
        (lambda d: d["calibration"].update(extra=1), "calibration has not the entries"),
        (lambda d: d["calibration"].update(weights="0" * 64), "measured with other weights than are here"),
        (lambda d: d["calibration"].update(embedding="0" * 64), "measured with other known faces than are here"),
        (lambda d: d.pop("calibration"), "'calibration' is missing"),
    ],
)
def test_bad_descriptions_are_refused(
    change: Callable[[dict[str, object]], object], message: str, bundle: Path
) -> None:
    edit(bundle, change)
    with pytest.raises(BundleError, match=message):
        facetell.verify(bundle)


def test_not_a_bundle_at_all(tmp_path: Path, bundle: Path) -> None:
    with pytest.raises(BundleError, match="there is no detector"):
        facetell.verify(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match="it has no detector.json"):
        facetell.verify(tmp_path / "empty")
    (bundle / "detector.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(BundleError, match="damaged"):
        facetell.verify(bundle)


def test_detect_gives_one_verdict_per_path(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.png").write_bytes(picture_bytes(i))
    (folder / "1b.jpg").write_bytes(picture_bytes(9, kind="JPEG")[:-200])
    (folder / "2b.png").write_bytes(b"")
    (folder / "3.txt").write_text("nothing in a folder is passed over in silence")
    (tmp_path / "4.png").write_text("<svg/>")
    found = list(
        facetell.detect(bundle, [folder, tmp_path / "4.png", tmp_path / "none.png"], faces="crops", device="cpu")
    )
    names = [Path(decision.path).name for decision in found]
    assert names == ["0.png", "1.png", "1b.jpg", "2.png", "2b.png", "3.txt", "4.png", "none.png"]
    assert [decision.judged for decision in found] == [True, True, False, True, False, False, False, False]
    assert [d.status for d in found if not d.judged] == [
        "unreadable", "unreadable", "unsupported", "unsupported", "missing",
    ]  # fmt: skip
    assert all(d.reason for d in found if not d.judged)
    detector = facetell.Detector.load(bundle, "cpu")
    for decision in found:
        if decision.judged:
            assert decision.score is not None
            assert decision.decision == ("fake" if decision.score >= detector.decider.threshold else "real")


@pytest.mark.slow
def test_detect_agrees_with_evaluate(brief: Callable[[str], Path], faces: FaceSet, tmp_path: Path) -> None:
    original, pictures = brief("fdftnet"), faces.path.parent / "pictures"
    facetell.evaluate(original, faces.path, tmp_path / "report", device="cpu")
    from facetell.evaluation.predictions import read_predictions

    table = read_predictions(tmp_path / "report" / "predictions.parquet")
    decisions = facetell.detect(original, [pictures / path for path in table["path"]], faces="crops", device="cpu")
    found = [decision.score for decision in decisions]
    np.testing.assert_allclose(np.array(found, dtype=float), table["score"], rtol=1e-4, atol=1e-6)


def test_unknown_device(bundle: Path) -> None:
    with pytest.raises(SettingsError, match="unknown device 'gpu'"):
        facetell.Detector.load(bundle, "gpu")
