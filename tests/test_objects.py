"""Loaded detectors, open face sets and results stand wherever a path does, and nothing needs to be written."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import facetell
from facetell.errors import BundleError, SettingsError, UsageError
from facetell.evaluation.metrics import auroc
from facetell.faceset.table import FaceSet
from facetell.results import Result


@pytest.fixture
def detector(fitted: Path, tmp_path: Path) -> facetell.Detector:
    """A detector of the toy face set, to change."""
    return facetell.Detector.load(shutil.copytree(fitted, tmp_path / "detector"), "cpu")


@pytest.mark.slow
def test_results_of_objects_are_those_of_paths(detector: facetell.Detector, faces: FaceSet, tmp_path: Path) -> None:
    assert detector.path is not None
    found = facetell.evaluate(detector, faces)
    of_paths = facetell.evaluate(str(detector.path), str(faces.path), tmp_path / "report", device="cpu")
    assert (found.path, of_paths.path) == (None, tmp_path / "report")
    assert not found.plots
    drawn = {"plots", "mistakes"}
    numbers, written = found.as_dict(), json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
    assert {key: value for key, value in numbers.items() if key not in drawn} == {
        key: value for key, value in written.items() if key not in drawn
    }
    assert of_paths.as_dict() == written
    table = detector.predict(faces)
    assert found.metrics["auroc"].value == pytest.approx(auroc(table["label"], table["score"]))
    assert detector.evaluate(faces, split="validation").counts["n"] == len(faces.rows("validation"))


@pytest.mark.slow
def test_nothing_is_written_without_a_place(
    detector: facetell.Detector, faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = facetell.evaluate(detector, faces, tmp_path / "report")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    found: list[Result] = [
        facetell.stress(detector, faces, only=["gamma"]),
        facetell.audit(faces, detector=detector),
        facetell.compare([report, tmp_path / "report"]),
        facetell.inspect(faces),
        facetell.verify(detector),
        facetell.history(detector),
    ]
    for one in found:
        json.dumps(one.as_dict(), allow_nan=False)
        with pytest.raises(dataclasses.FrozenInstanceError):
            one.path = Path()  # type: ignore[misc, attr-defined]
    assert not list(Path().iterdir())
    explained = facetell.explain(detector, faces, limit=1, sanity=0)
    assert explained.maps["occlusion"].shape[0] == len(explained.faces) > 0
    assert not list(Path().iterdir())


def test_a_result_without_a_folder_cannot_be_compared(detector: facetell.Detector, faces: FaceSet) -> None:
    found = facetell.evaluate(detector, faces)
    with pytest.raises(UsageError, match="not written to a folder"):
        facetell.compare([found, found])


@pytest.mark.slow
def test_verbs_that_change_a_detector_take_a_loaded_one(detector: facetell.Detector, faces: FaceSet) -> None:
    assert detector.path is not None
    before = detector.calibration
    facetell.threshold(detector, faces, at="recall=0.9", name="mine", device="cpu")
    facetell.calibrate(detector, faces, device="cpu")
    facetell.remember(detector, faces, faces=40)
    assert detector.calibration is before
    assert (
        "mine" in facetell.Detector.load(detector.path, "cpu", at="mine").description["calibration"]["face"]["points"]
    )
    assert facetell.verify(detector).replay > 0


@pytest.mark.slow
def test_a_detector_that_was_never_written(detector: facetell.Detector, faces: FaceSet) -> None:
    unwritten = facetell.Detector(detector.runtime, detector.description)
    assert facetell.evaluate(unwritten, faces).context["detector"] == "detector"
    for use in (
        lambda: facetell.threshold(unwritten, faces, at="recall=0.9"),
        lambda: list(facetell.detect(unwritten, [faces.path])),
        lambda: facetell.verify(unwritten),
    ):
        with pytest.raises(UsageError, match="not on disk"):
            use()


@pytest.mark.slow
def test_a_detector_by_its_name(detector: facetell.Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACETELL_DETECTORS", str(tmp_path / "known"))
    shutil.copytree(tmp_path / "detector", tmp_path / "known" / "mine")
    monkeypatch.chdir(tmp_path / "known" / "mine")  # no detector `mine` is here
    assert facetell.Detector.load("mine", "cpu").identity == detector.identity
    assert facetell.verify("mine").method == "finetune"
    with pytest.raises(BundleError, match="did you mean 'mine'"):
        facetell.Detector.load("mnie")
    shutil.copytree(tmp_path / "detector", Path("mine"))
    assert facetell.Detector.load("mine", "cpu").path == Path("mine"), "a path goes before a name"


def test_a_verdict_names_the_detector(detector: facetell.Detector, faces: FaceSet, tmp_path: Path) -> None:
    picture = tmp_path / "face.png"
    picture.write_bytes(faces.image(0))
    assert detector.path is not None
    expected = hashlib.sha256((detector.path / "detector.json").read_bytes()).hexdigest()[:16]
    one = detector.detect(picture, faces="crops")
    (other, missing) = facetell.detect(detector, [picture, tmp_path / "gone.png"], faces="crops", device="cpu")
    assert one.detector == other.detector == missing.detector == expected
    assert one.score == pytest.approx(other.score)


@pytest.mark.slow
def test_a_loaded_detector_keeps_its_operating_point(
    detector: facetell.Detector, faces: FaceSet, tmp_path: Path
) -> None:
    assert detector.path is not None
    facetell.threshold(detector, faces, at="recall=0.9", name="mine", device="cpu")
    (tmp_path / "face.png").write_bytes(faces.image(0))
    mine = facetell.Detector.load(detector.path, "cpu", at="mine", prevalence=0.1)
    (verdict,) = facetell.detect(mine, [tmp_path / "face.png"], faces="crops", device="cpu")
    assert (verdict.operating_point, verdict.prevalence) == ("mine", 0.1)
    assert verdict.score == pytest.approx(mine.detect(np.array(_pixels(faces)), faces="crops").score, abs=1e-6)
    assert facetell.evaluate(mine, faces).context["operating_point"] == "mine"


def _pixels(faces: FaceSet) -> np.ndarray:
    from facetell.pixels.decode import decode

    return decode(faces.image(0))


@pytest.mark.parametrize("device", ["gpu", "cuda"])
def test_a_device_that_is_not_there(faces: FaceSet, fitted: Path, tmp_path: Path, device: str) -> None:
    import torch

    if torch.cuda.is_available() and device == "cuda":
        pytest.skip("there is one")
    with pytest.raises(SettingsError, match="device|GPU"):
        facetell.Detector.load(fitted, device)
    with pytest.raises(SettingsError, match="device|GPU"):
        facetell.fit("finetune", faces, tmp_path / "out", device=device)
    assert not list(tmp_path.glob("*out*"))
