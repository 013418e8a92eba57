"""Operating points, the unsure band and calibration, from choosing them to a verdict; the bundle stays whole."""

from __future__ import annotations

import copy
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import tiny, toy_faceset

import facetell
from facetell.api import _threshold
from facetell.cli.main import main
from facetell.detector.bundle import read_bundle, update_description
from facetell.detector.calibration import calibrations
from facetell.detector.measured import Videos
from facetell.errors import BundleError, DataError, SettingsError, UsageError
from facetell.evaluation import choose_threshold, read_predictions
from facetell.evaluation import score_curves as curves
from facetell.faceset.table import FaceSet

LEARNS = {"epochs": 14, "lr": 2e-3, "zoom": 0, "rotate": 0, "translate": 0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A detector, its face set, and another face set."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACETELL_CACHE", str(folder / "cache"))
        faces = toy_faceset(folder)
        facetell.fit("finetune", faces.path, folder / "detector", settings=tiny("finetune", **LEARNS))
        return folder / "detector", faces.path, toy_faceset(folder / "other", seed=9).path


@pytest.fixture
def detector(made: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACETELL_CACHE", str(made[0].parent / "cache"))
    return Path(shutil.copytree(made[0], tmp_path / "detector"))


@pytest.fixture
def faces(made: tuple[Path, Path, Path]) -> Path:
    return made[1]


def described(detector: Path) -> dict[str, Any]:
    return dict(json.loads((detector / "detector.json").read_text("utf-8")))


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


# --- the bundle


def test_an_update_is_whole_or_none(detector: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (detector / "detector.json").read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(BundleError, match="No space left"):
            update_description(detector, lambda d: d.update(seed=7))
    with pytest.raises(BundleError, match="'thresholds' is missing"):
        update_description(detector, lambda d: d.pop("thresholds"))
    assert (detector / "detector.json").read_bytes() == before
    assert not list(detector.glob(".*"))
    update_description(detector, lambda d: d.update(seed=7))
    assert described(detector)["seed"] == 7
    facetell.verify(detector)


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_kill_between_the_steps_leaves_the_old_bundle(detector: Path, step: str) -> None:
    before = (detector / "detector.json").read_bytes()
    code = (
        "import os, pathlib, signal, sys\nfrom facetell.detector.bundle import update_description\n"
        f"def kill(*_): os.kill(os.getpid(), signal.SIGKILL)\n{step} = kill\n"
        "update_description(pathlib.Path(sys.argv[1]), lambda d: d.update(seed=7))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(detector)], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (detector / "detector.json").read_bytes() == before
    facetell.verify(detector)


def test_readers_never_see_half_an_update(detector: Path) -> None:
    code = (
        "import pathlib, sys\nfrom facetell.detector.bundle import update_description\nprint(flush=True)\n"
        "while True: update_description(pathlib.Path(sys.argv[1]), lambda d: d.update(seed=d['seed'] + 1))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(detector)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        seen = {read_bundle(detector)[0]["seed"] for _ in range(300)}
        writer.kill()
    assert len(seen) > 3
    facetell.verify(detector)


# --- operating points


def test_a_point_is_stored_with_all_there_is_to_know(detector: Path, faces: Path) -> None:
    before = described(detector)
    found = facetell.threshold(detector, faces, at="recall=0.9", name="strict", device="cpu")
    after = described(detector)
    point = after["thresholds"].pop("strict")
    assert after == before, "nothing else changes"
    assert point == found["point"]
    assert {key: point[key] for key in ("rule", "split", "faceset", "n", "n_real", "n_fake", "groups")} == {
        "rule": "recall=0.9", "split": "validation", "faceset": "faces", "n": 20, "n_real": 10, "n_fake": 10, "groups": 10,
    }  # fmt: skip
    assert point["fingerprint"] == FaceSet.open(faces).fingerprint
    assert point["rates"]["recall"]["value"] >= 0.9
    assert point["rates"]["recall"]["low"] < 0.9
    assert facetell.verify(detector)["operating_points"]["strict"] == point["value"]


def test_the_value_is_the_rules(detector: Path, faces: Path, tmp_path: Path) -> None:
    facetell.evaluate(detector, faces, tmp_path / "report", split="validation", device="cpu")
    table = read_predictions(tmp_path / "report" / "predictions.parquet")
    for rule in ("youden", "cost=3", "f1"):
        point = facetell.threshold(detector, faces, at=rule, device="cpu")["point"]
        expected = choose_threshold(table["label"], table["score"], rule)
        assert point["value"] == pytest.approx(expected, abs=1e-6)
    assert list(described(detector)["thresholds"]) == ["default", "youden", "cost=3", "f1"]


def test_detect_and_evaluate_use_the_point_asked_for(detector: Path, faces: Path, tmp_path: Path) -> None:
    def set_points(description: dict[str, Any]) -> None:
        default = description["thresholds"]["default"]
        description["thresholds"] |= {"never": {**default, "value": 1.0}, "always": {**default, "value": 0.0}}

    update_description(detector, set_points)
    picture = next(faces.parent.glob("pictures/test-0-real.png"))
    for name, word in (("never", "real"), ("always", "fake")):
        (verdict,) = facetell.detect(detector, [picture], at=name, device="cpu")
        assert (verdict.decision, verdict.operating_point) == (word, name)
        report = facetell.evaluate(detector, faces, tmp_path / name, at=name, device="cpu")
        assert report["threshold_rule"] == f"{name}: balanced_accuracy on validation of faces"
        assert report["confusion"]["fp"] == (0 if name == "never" else 12)
        assert facetell.Detector.load(detector, "cpu", at=name).detect(picture).decision == word
    with pytest.raises(UsageError, match="no operating point 'nevr'; did you mean 'never'") as caught:
        facetell.Detector.load(detector, "cpu", at="nevr")
    assert "default, never, always" in str(caught.value.hint)
    for paths in ([], [picture]):
        with pytest.raises(UsageError, match="no operating point"):
            list(facetell.detect(detector, paths, at="nevr", device="cpu"))
    with pytest.raises(UsageError, match="no operating point"):
        facetell.evaluate(detector, faces, tmp_path / "no", at="nevr", device="cpu")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, UsageError, "nothing to choose"),
        ({"at": "f1", "split": "test"}, UsageError, "worthless"),
        ({"at": "f1", "split": "train"}, UsageError, "was fitted on the split 'train'"),
        ({"at": "f1", "split": "validatoin"}, DataError, "did you mean 'validation'"),
        ({"at": "f2"}, SettingsError, "unknown threshold rule"),
        ({"at": "f1", "name": "a b"}, UsageError, "cannot be a name"),
        ({"name": "strict", "coverage": 0.9}, UsageError, "a name without a rule"),
        ({"coverage": 1.5}, SettingsError, "between 0 and 1"),
        ({"coverage": 0.95}, DataError, "needs 19 groups"),
    ],
)
def test_what_cannot_be_chosen_changes_nothing(
    arguments: dict[str, Any], error: type[Exception], message: str, detector: Path, faces: Path
) -> None:
    before = (detector / "detector.json").read_bytes()
    with pytest.raises(error, match=message):
        facetell.threshold(detector, faces, device="cpu", **arguments)
    assert (detector / "detector.json").read_bytes() == before


def scored_as(monkeypatch: pytest.MonkeyPatch, logits: list[float], labels: list[int]) -> None:
    """Let the next choices see these logits, each face a group of its own."""
    real = _threshold.predictions

    def fake(detector: facetell.Detector, *arguments: Any, **options: Any) -> dict[str, Any]:
        table = real(detector, *arguments, **options)
        logit = np.array(logits, dtype=np.float32)
        score = detector.calibration.curve.scores(logit)
        return table | {"logit": logit, "score": score, "label": np.array(labels), "group": np.arange(len(logits))}

    monkeypatch.setattr(_threshold, "predictions", fake)


def test_a_point_that_finds_no_fake_is_refused(detector: Path, faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored_as(monkeypatch, [3.0, 1.0, 2.0], [0, 1, 1])
    with pytest.raises(DataError, match="not one fake of 2 is found"):
        facetell.threshold(detector, faces, at="fpr=0.01", device="cpu")
    with pytest.raises(DataError, match="the best is 0.6667, with a recall of 1"):
        facetell.threshold(detector, faces, at="precision=0.9", device="cpu")


def test_the_unsure_band_decides(detector: Path, faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = [*np.arange(-10.0, 10.0), *np.arange(-9.5, 10.5)]
    scored_as(monkeypatch, logits, [0] * 20 + [1] * 20)
    update_description(detector, lambda d: d.update(temperature=1.0))
    found = facetell.threshold(detector, faces, at="youden", name="default", coverage=0.9, device="cpu")["unsure"]
    curve = facetell.Detector.load(detector, "cpu").calibration.curve
    # 21 * 0.9 = 18.9: the 19th smallest real, the 19th largest fake.
    assert found["real_to"] == pytest.approx(float(curve.scores(8.0)))
    assert found["fake_from"] == pytest.approx(float(curve.scores(-8.5)))
    assert (found["coverage"], found["groups_real"], found["groups_fake"]) == (0.9, 20, 20)
    loaded = facetell.Detector.load(detector, "cpu")
    assert [loaded.calibration.decision(z) for z in (-8.6, -8.4, 0.0, 7.9, 8.1)] == ["real", *["unsure"] * 3, "fake"]

    picture = next(faces.parent.glob("pictures/test-0-real.png"))
    monkeypatch.setattr(loaded, "logits", lambda crops: np.zeros(len(crops), dtype=np.float32))
    verdict = loaded.detect(picture)
    assert verdict.unsure == pytest.approx((found["fake_from"], found["real_to"]))
    assert (verdict.status, verdict.decision, verdict.judged) == ("unsure", "unsure", True)
    assert verdict.reason == "the score is in the unsure band"
    assert verdict.score is not None
    facetell.threshold(detector, faces, coverage=0, device="cpu")
    assert "unsure" not in described(detector)
    assert facetell.Detector.load(detector, "cpu").detect(picture).decision in ("fake", "real")


# --- calibration and prevalence


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_calibrating_moves_scores_and_no_decision(
    method: str, detector: Path, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "ISOTONIC_FACES", 100)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    logits = rng.normal((2 * labels - 1) * 2 + 1, 3)
    scored_as(monkeypatch, logits.tolist(), labels.tolist())
    facetell.threshold(detector, faces, at="fpr=0.1", coverage=0.8, device="cpu")
    update_description(detector, lambda d: d["thresholds"].update(never={**d["thresholds"]["default"], "value": 1.0}))
    before = facetell.Detector.load(detector, "cpu", at="fpr=0.1")
    found = facetell.calibrate(detector, faces, method=method, device="cpu")
    after = facetell.Detector.load(detector, "cpu", at="fpr=0.1")
    assert found["after"]["log_loss"] < found["before"]["log_loss"]
    assert (found["n"], found["n_fake"]) == (400, int(labels.sum()))
    grid = [*np.linspace(-20, 20, 2001), *logits]
    assert max(abs(before.calibration.score(z) - after.calibration.score(z)) for z in grid) > 0.02
    edges = before.calibration.curve.logits(
        [before.calibration.threshold, before.calibration.band.fake_from, before.calibration.band.real_to]  # type: ignore[union-attr]
    )
    clear = [z for z in grid if np.abs(z - edges).min() > 1e-5]
    assert [before.calibration.decision(z) for z in clear] == [after.calibration.decision(z) for z in clear]
    assert described(detector)["thresholds"]["never"]["value"] == 1.0
    assert described(detector)["calibration"]["method"] == method
    assert ("knots" in described(detector)["calibration"]) == (method == "isotonic")
    facetell.verify(detector)


def test_few_faces_and_unknown_methods(detector: Path, faces: Path) -> None:
    with pytest.raises(DataError, match="needs 1,000 faces, there are 20"):
        facetell.calibrate(detector, faces, method="isotonic", device="cpu")
    with pytest.raises(SettingsError, match="did you mean 'isotonic'"):
        facetell.calibrate(detector, faces, method="isotonc", device="cpu")


def test_videos_have_points_of_their_own() -> None:
    face = {"value": 0.5}
    description = {
        "temperature": 1.0, "thresholds": {"default": face, "strict": {"value": 0.9}, "photos": {"value": 0.8}},
        "calibration": {"n_real": 30, "n_fake": 10},
        "per_file": {"calibration": {"temperature": 2.0, "threshold": 0.4}, "thresholds": {"strict": {"value": 0.7}},
                     "n_real": 10, "n_fake": 10, "unsure": {"fake_from": 0.3, "real_to": 0.6}},
    }  # fmt: skip
    for at, threshold, temperature, band in (
        ("default", 0.4, 2.0, (0.3, 0.6)), ("strict", 0.7, 2.0, (0.3, 0.7)), ("photos", 0.8, 1.0, None),
    ):  # fmt: skip
        of_face, of_file = calibrations(description, at, None)
        assert (of_file.shown_threshold, of_file.temperature, of_file.shown_band) == (threshold, temperature, band)
        assert of_face.shown_threshold == description["thresholds"][at]["value"]  # type: ignore[index]
    of_face, of_file = calibrations(description, "default", 0.1)
    # Odds of 1 at a quarter fake are odds of 1/3 at a tenth: times (1/9) / (1/3); for videos (1/9) / 1.
    assert of_face.score(0.0) == pytest.approx(1 / 4)
    assert of_file.score(0.0) == pytest.approx(1 / 10)
    old = copy.deepcopy(description)
    del old["calibration"], old["per_file"]
    with pytest.raises(UsageError, match="does not say which share of fakes"):
        calibrations(old, "default", 0.1)


def test_whole_videos_are_chosen_on_as_well(detector: Path, faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = Videos(np.repeat([0, 1], 12).astype(np.int8), np.arange(24, dtype=np.float32) - 11.7, np.arange(24))
    where = {"split": "validation", "faceset": "old", "fingerprint": "0"}
    stored = {"calibration": {"temperature": 2.0, "threshold": 0.4}, "n_real": 9, "n_fake": 9, **where}
    update_description(detector, lambda d: d.update(per_file=copy.deepcopy(stored)))
    monkeypatch.setattr(_threshold, "videos_of", lambda *_: None)
    found = facetell.threshold(detector, faces, at="youden", coverage=0.8, device="cpu")
    assert found["warnings"] == [
        "faces has too few videos: nothing was chosen for whole videos; their operating points stay"
    ]
    assert described(detector)["per_file"] == stored

    monkeypatch.setattr(_threshold, "videos_of", lambda *_: videos)
    for name in ("strict", "default"):
        facetell.threshold(detector, faces, at="youden", name=name, coverage=0.8, device="cpu")
    part = described(detector)["per_file"]
    curve = curves.Curve(2.0)
    # The highest real has logit -0.7, the lowest fake 0.3; 13 * 0.8 = 10.4: the 11th smallest and largest.
    middle = float(np.mean(curve.scores([-0.7, 0.3])))
    assert [part["thresholds"][name]["value"] for name in ("strict", "default")] == [
        pytest.approx(middle, abs=1e-6)
    ] * 2
    assert part["calibration"]["threshold"] == part["thresholds"]["default"]["value"]
    assert part["unsure"]["real_to"] == pytest.approx(float(curve.scores(-1.7)), abs=1e-6)
    assert part["unsure"]["fake_from"] == pytest.approx(float(curve.scores(1.3)), abs=1e-6)

    with pytest.MonkeyPatch.context() as patch:
        scored_as(patch, [-2.0, 1.0, -1.0, 2.0], [0, 0, 1, 1])
        found = facetell.threshold(detector, faces, at="precision=0.6", device="cpu")
    assert found["per_file"]["point"]["rates"]["precision"]["value"] >= 0.6
    before = facetell.Detector.load(detector, "cpu")
    facetell.calibrate(detector, faces, device="cpu")
    after = facetell.Detector.load(detector, "cpu")
    assert after.file_calibration.temperature != 2.0
    assert described(detector)["per_file"]["n_real"] == 12
    for z in np.linspace(-20, 20, 401):
        assert before.file_calibration.decision(z) == after.file_calibration.decision(z)


def test_a_prevalence_moves_scores_and_no_decision(detector: Path, faces: Path) -> None:
    pictures = sorted(faces.parent.glob("pictures/test-*.png"))
    plain, rare = (list(facetell.detect(detector, pictures, prevalence=p, device="cpu")) for p in (None, 0.01))
    assert [one.decision for one in plain] == [one.decision for one in rare]
    assert {one.prevalence for one in rare} == {0.01}
    for one, other in zip(plain, rare, strict=True):
        assert one.score is not None
        assert other.score is not None
        odds = one.score / (1 - one.score) / 99  # half of the validation faces are fake
        assert other.score == pytest.approx(odds / (1 + odds))
        assert other.faces[0].score == other.score
        assert other.threshold is not None
        assert (other.score >= other.threshold) == (other.decision == "fake")
    with pytest.raises(SettingsError, match="between 0 and 1"):
        list(facetell.detect(detector, [], prevalence=1.0))


def test_the_report_says_what_a_verdict_is_worth(detector: Path, faces: Path, tmp_path: Path) -> None:
    plain = facetell.evaluate(detector, faces, tmp_path / "plain", device="cpu")
    found = facetell.evaluate(detector, faces, tmp_path / "rare", prevalence=0.01, device="cpu")
    assert found["metrics"] == plain["metrics"], "the split keeps its own mix"
    assert plain["prevalence"] is None
    recall, fpr = (found["metrics"][name]["value"] for name in ("recall", "fpr"))
    precision = found["prevalence"]["precision"]
    if recall:
        assert precision["value"] == pytest.approx(0.01 * recall / (0.01 * recall + 0.99 * fpr))
    assert any("calibrated on few faces (10 real, 10 fake)" in warning for warning in found["warnings"])
    page = (tmp_path / "rare" / "report.md").read_text("utf-8")
    for heading in ("## Threshold", "## Calibration", "## Where 0.01 of the faces are fake"):
        assert heading in page


# --- the commands


def test_from_a_threshold_to_a_verdict(
    capsys: pytest.CaptureFixture[str], detector: Path, made: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    _, faces, other = made
    code, out, err = run(
        capsys, "threshold", detector, other, "--at", "recall=0.99", "--name", "theirs", "--unsure", "0.9"
    )
    assert code == 0
    assert out.startswith("theirs for a face: ")
    assert "recall    " in out
    assert "unsure for a face at coverage 0.9" in out
    assert "10 independent fakes cannot show recall=0.99, that takes 100" in err
    code, out, _ = run(capsys, "threshold", detector, faces, "--at", "f1", "--json")
    assert (code, json.loads(out)["name"]) == (0, "f1")
    code, out, _ = run(capsys, "verify", detector)
    assert (code, "theirs" in out, "f1" in out) == (0, True, True)
    code, out, _ = run(capsys, "calibrate", detector, other)
    assert (code, "calibrated on 10 real and 10 fake faces, temperature" in out) == (0, True)

    picture = faces.parent / "pictures" / "test-0-real.png"
    arguments = ["detect", detector, picture, "--at", "theirs", "-o", tmp_path / "verdicts.jsonl"]
    assert run(capsys, *arguments, "--prevalence", "0.02")[0] == 0
    line = json.loads((tmp_path / "verdicts.jsonl").read_text())
    assert (line["operating_point"], line["prevalence"], len(line["unsure"])) == ("theirs", 0.02, 2)
    assert run(capsys, *arguments, "--prevalence", "0.02")[0] == 0
    code, _, err = run(capsys, *arguments)
    assert (code, "another detector, operating point or prevalence" in err) == (2, True)
    code, _, err = run(capsys, "detect", detector, picture, "--at", "thiers")
    assert (code, "did you mean 'theirs'" in err) == (2, True)
    code, out, _ = run(
        capsys, "evaluate", detector, faces, "--at", "theirs", "--prevalence", "0.01", "-o", tmp_path / "r"
    )
    assert (code, "theirs: recall=0.99 on validation of faces" in out) == (0, True)
    report = json.loads((tmp_path / "r" / "report.json").read_text("utf-8"))
    assert sum(report["unsure"]["real"][call] for call in ("real", "unsure", "fake")) == 12
