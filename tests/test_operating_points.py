"""Operating points, the unsure band and calibration, from choosing them to a verdict; the bundle stays whole."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import tiny, toy_faceset

import facetell
from facetell.api import _calibrate, _labelled, _threshold
from facetell.cli.main import main
from facetell.detector.bundle import read_bundle, update_calibration, update_description
from facetell.detector.calibration import DEFAULT, Calibration, OperatingPoint, UnsureBand
from facetell.detector.measure import Sample, measure_calibration
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


def calibration(detector: Path) -> Calibration:
    return Calibration.from_dict(described(detector)["calibration"])


def edit(detector: Path, **changes: Any) -> None:
    """Change the scale for faces."""

    def change(stored: Calibration | None) -> Calibration:
        assert stored is not None
        return replace(stored, face=replace(stored.face, **changes))

    update_calibration(detector, change)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


# --- the bundle


@pytest.mark.slow
def test_an_update_is_whole_or_none(detector: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (detector / "detector.json").read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(DataError, match="the disk is full"):
            update_description(detector, lambda d: d.update(seed=7))
    with pytest.raises(BundleError, match="'calibration' is missing"):
        update_description(detector, lambda d: d.pop("calibration"))
    assert (detector / "detector.json").read_bytes() == before
    assert not list(detector.glob(".*"))
    update_description(detector, lambda d: d.update(seed=7))
    assert described(detector)["seed"] == 7
    facetell.verify(detector)


@pytest.mark.slow
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


@pytest.mark.slow
def test_readers_never_see_half_an_update(detector: Path) -> None:
    code = (
        "import pathlib, sys\nfrom facetell.detector.bundle import update_description\nprint(flush=True)\n"
        "while True: update_description(pathlib.Path(sys.argv[1]), lambda d: d.update(seed=d['seed'] + 1))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(detector)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        seen = {read_bundle(detector)["seed"] for _ in range(300)}
        writer.kill()
    assert len(seen) > 3
    facetell.verify(detector)


# --- operating points


def test_a_point_is_stored_with_all_there_is_to_know(detector: Path, faces: Path) -> None:
    before = described(detector)
    found = facetell.threshold(detector, faces, at="recall=0.9", name="strict", device="cpu")
    after = described(detector)
    point = after["calibration"]["face"]["points"].pop("strict")
    assert after == before, "nothing else changes"
    assert point == found.as_dict()["face"]["point"]
    assert point["rule"] == "recall=0.9"
    assert found.face.point is not None
    assert found.face.point.on.n == 20
    assert {key: point["on"][key] for key in ("split", "faceset", "n_real", "n_fake", "groups")} == {
        "split": "validation", "faceset": "faces", "n_real": 10, "n_fake": 10, "groups": 10,
    }  # fmt: skip
    assert point["on"]["fingerprint"] == FaceSet.open(faces).fingerprint
    assert point["rates"]["recall"]["value"] >= 0.9
    assert point["rates"]["recall"]["low"] < 0.9
    assert facetell.verify(detector).operating_points["strict"] == point["value"]


@pytest.mark.slow
def test_the_value_is_the_rules(detector: Path, faces: Path, tmp_path: Path) -> None:
    facetell.evaluate(detector, faces, tmp_path / "report", split="validation", device="cpu")
    table = read_predictions(tmp_path / "report" / "predictions.parquet")
    for rule in ("youden", "cost=3", "f1"):
        point = facetell.threshold(detector, faces, at=rule, device="cpu").face.point
        expected = choose_threshold(table["label"], table["score"], rule)
        assert point is not None
        assert point.value == pytest.approx(expected, abs=1e-6)
    assert list(calibration(detector).face.points) == ["default", "youden", "cost=3", "f1"]


@pytest.mark.slow
def test_detect_and_evaluate_use_the_point_asked_for(detector: Path, faces: Path, tmp_path: Path) -> None:
    points = calibration(detector).face.points
    never, always = (replace(points["default"], value=value) for value in (1.0, 0.0))
    edit(detector, points={**points, "never": never, "always": always})
    picture = next(faces.parent.glob("pictures/test-0-real.png"))
    for name, word in (("never", "real"), ("always", "fake")):
        (verdict,) = facetell.detect(detector, [picture], at=name, faces="crops", device="cpu")
        assert (verdict.decision, verdict.operating_point) == (word, name)
        report = facetell.evaluate(detector, faces, tmp_path / name, at=name, device="cpu")
        assert report.threshold_rule == f"{name}: balanced_accuracy on validation of faces"
        assert report.confusion["fp"] == (0 if name == "never" else 12)
        assert facetell.Detector.load(detector, "cpu", at=name).detect(picture, faces="crops").decision == word
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
        ({"at": "f1", "split": "train"}, UsageError, "has learned from 48 of 48 faces"),
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
    real = _labelled.labelled

    def fake(*arguments: Any) -> _labelled.Labelled:
        found = real(*arguments)
        faces = replace(
            found.faces,
            logits=np.array(logits, dtype=np.float32),
            labels=np.array(labels, dtype=np.int8),
            groups=np.arange(len(logits)).astype(str),
        )
        return replace(found, faces=faces)

    for page in (_threshold, _calibrate):
        monkeypatch.setattr(page, "labelled", fake)


def test_a_point_that_finds_no_fake_is_refused(detector: Path, faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored_as(monkeypatch, [3.0, 1.0, 2.0], [0, 1, 1])
    with pytest.raises(DataError, match="not one fake of 2 is found"):
        facetell.threshold(detector, faces, at="fpr=0.01", device="cpu")
    with pytest.raises(DataError, match="the best is 0.6667, with a recall of 1"):
        facetell.threshold(detector, faces, at="precision=0.9", device="cpu")


@pytest.mark.slow
def test_the_unsure_band_decides(detector: Path, faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = [*np.arange(-10.0, 10.0), *np.arange(-9.5, 10.5)]
    scored_as(monkeypatch, logits, [0] * 20 + [1] * 20)
    edit(detector, curve=curves.Curve(1.0))
    found = facetell.threshold(detector, faces, at="youden", name="default", coverage=0.9, device="cpu").face.unsure
    assert found is not None
    curve = calibration(detector).face.curve
    # 21 * 0.9 = 18.9: the 19th smallest real, the 19th largest fake.
    assert found.real_to == pytest.approx(float(curve.scores(8.0)))
    assert found.fake_from == pytest.approx(float(curve.scores(-8.5)))
    assert (found.coverage, found.on.groups_real, found.on.groups_fake) == (0.9, 20, 20)
    loaded = facetell.Detector.load(detector, "cpu")
    assert [loaded.decider.decision(z) for z in (-8.6, -8.4, 0.0, 7.9, 8.1)] == ["real", *["unsure"] * 3, "fake"]

    picture = next(faces.parent.glob("pictures/test-0-real.png"))
    monkeypatch.setattr(loaded, "logits", lambda crops: np.zeros(len(crops), dtype=np.float32))
    verdict = loaded.detect(picture, faces="crops")
    assert verdict.unsure == pytest.approx((found.fake_from, found.real_to))
    assert (verdict.status, verdict.decision, verdict.judged) == ("unsure", "unsure", True)
    assert verdict.reason == "the score is in the unsure band"
    assert verdict.score is not None
    facetell.threshold(detector, faces, coverage=0, device="cpu")
    assert calibration(detector).face.unsure is None
    assert facetell.Detector.load(detector, "cpu").detect(picture, faces="crops").decision in ("fake", "real")


# --- calibration and prevalence


@pytest.mark.slow
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
    points = calibration(detector).face.points
    edit(detector, points={**points, "never": replace(points["default"], value=1.0)})
    before = facetell.Detector.load(detector, "cpu", at="fpr=0.1")
    found = facetell.calibrate(detector, faces, method=method, device="cpu")
    after = facetell.Detector.load(detector, "cpu", at="fpr=0.1")
    assert found.before is not None
    assert found.after.log_loss < found.before.log_loss
    assert (found.n, found.n_fake) == (400, int(labels.sum()))
    grid = [*np.linspace(-20, 20, 2001), *logits]
    assert max(abs(before.decider.score(z) - after.decider.score(z)) for z in grid) > 0.02
    edges = before.decider.curve.logits(
        [before.decider.threshold, before.decider.band.fake_from, before.decider.band.real_to]  # type: ignore[union-attr]
    )
    clear = [z for z in grid if np.abs(z - edges).min() > 1e-5]
    assert [before.decider.decision(z) for z in clear] == [after.decider.decision(z) for z in clear]
    assert calibration(detector).face.points["never"].value == 1.0
    assert calibration(detector).face.method == method
    assert bool(calibration(detector).face.curve.knots) == (method == "isotonic")
    facetell.verify(detector)


def test_few_faces_and_unknown_methods(detector: Path, faces: Path) -> None:
    with pytest.raises(DataError, match="needs 1,000 faces, there are 20"):
        facetell.calibrate(detector, faces, method="isotonic", device="cpu")
    with pytest.raises(SettingsError, match="did you mean 'isotonic'"):
        facetell.calibrate(detector, faces, method="isotonc", device="cpu")


def sample(n_real: int, n_fake: int) -> Sample:
    """So many faces, each a group of its own."""
    labels = np.repeat([0, 1], [n_real, n_fake]).astype(np.int8)
    return Sample(
        labels, labels * 2 - np.float32(1), np.arange(n_real + n_fake).astype(str), "old", "0" * 64, "validation"
    )


def video_scale(detector: Path, **changes: Any) -> None:
    """Give the detector a scale for videos: temperature 2, threshold 0.4."""

    def change(stored: Calibration | None) -> Calibration:
        assert stored is not None
        scale = sample(9, 9).scale({DEFAULT: "youden"})
        points = {DEFAULT: replace(scale.points[DEFAULT], value=0.4)}
        return replace(stored, video=replace(scale, curve=curves.Curve(2.0), points=points, **changes))

    update_calibration(detector, change)


def test_videos_have_points_of_their_own() -> None:
    measured = measure_calibration("0" * 64, sample(30, 10), sample(10, 10))
    assert measured.video is not None

    def at(value: float, of: Sample) -> OperatingPoint:
        return replace(of.scale({DEFAULT: "youden"}).points[DEFAULT], value=value)

    face = replace(
        measured.face,
        curve=curves.Curve(1.0),
        points={
            name: at(value, sample(30, 10)) for name, value in (("default", 0.5), ("strict", 0.9), ("photos", 0.8))
        },
    )
    video = replace(
        measured.video,
        curve=curves.Curve(2.0),
        points={name: at(value, sample(10, 10)) for name, value in (("default", 0.4), ("strict", 0.7))},
        unsure=UnsureBand(0.3, 0.6, 0.9, measured.video.on),
    )
    both = replace(measured, face=face, video=video)
    assert Calibration.from_dict(json.loads(json.dumps(both.as_dict()))).as_dict() == both.as_dict()
    for name, threshold, temperature, band in (
        ("default", 0.4, 2.0, (0.3, 0.6)), ("strict", 0.7, 2.0, (0.3, 0.7)), ("photos", 0.8, 1.0, None),
    ):  # fmt: skip
        of_face, of_file = both.deciders(name)
        assert (of_file.shown_threshold, of_file.curve.temperature, of_file.shown_band) == (
            threshold,
            temperature,
            band,
        )
        assert of_face.shown_threshold == face.points[name].value
    of_face, of_file = both.deciders("default", 0.1)
    # Odds of 1 at a quarter fake are odds of 1/3 at a tenth: times (1/9) / (1/3); for videos (1/9) / 1.
    assert of_face.score(0.0) == pytest.approx(1 / 4)
    assert of_file.score(0.0) == pytest.approx(1 / 10)


@pytest.mark.slow
def test_whole_videos_are_chosen_on_as_well(detector: Path, faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.repeat([0, 1], 12).astype(np.int8)
    logits = np.arange(24, dtype=np.float32) - np.float32(11.7)
    videos = Sample(labels, logits, np.arange(24).astype(str), "faces", "0" * 64, "validation")
    video_scale(detector)
    stored = described(detector)["calibration"]["video"]
    found = facetell.threshold(detector, faces, at="youden", coverage=0.8, device="cpu")
    assert found.warnings == (
        "faces has too few videos: nothing was chosen for whole videos; their operating points stay",
    )
    assert described(detector)["calibration"]["video"] == stored

    monkeypatch.setattr(Sample, "of_videos", lambda *_: videos)
    for name in ("strict", "default"):
        facetell.threshold(detector, faces, at="youden", name=name, coverage=0.8, device="cpu")
    part = calibration(detector).video
    curve = curves.Curve(2.0)
    # The highest real has logit -0.7, the lowest fake 0.3; 13 * 0.8 = 10.4: the 11th smallest and largest.
    middle = float(np.mean(curve.scores([-0.7, 0.3])))
    assert part is not None
    assert [part.points[name].value for name in ("strict", "default")] == [pytest.approx(middle, abs=1e-6)] * 2
    assert part.unsure is not None
    assert part.unsure.real_to == pytest.approx(float(curve.scores(-1.7)), abs=1e-6)
    assert part.unsure.fake_from == pytest.approx(float(curve.scores(1.3)), abs=1e-6)

    with pytest.MonkeyPatch.context() as patch:
        scored_as(patch, [-2.0, 1.0, -1.0, 2.0], [0, 0, 1, 1])
        found = facetell.threshold(detector, faces, at="precision=0.6", device="cpu")
    assert found.video is not None
    assert found.video.point is not None
    assert found.video.point.rates["precision"]["value"] >= 0.6  # type: ignore[operator]
    before = facetell.Detector.load(detector, "cpu")
    facetell.calibrate(detector, faces, device="cpu")
    after = facetell.Detector.load(detector, "cpu")
    assert after.video_decider.curve.temperature != 2.0
    moved = calibration(detector).video
    assert moved is not None
    assert moved.on.n_real == 12
    for z in np.linspace(-20, 20, 401):
        assert before.video_decider.decision(z) == after.video_decider.decision(z)


def test_a_prevalence_moves_scores_and_no_decision(detector: Path, faces: Path) -> None:
    pictures = sorted(faces.parent.glob("pictures/test-*.png"))
    plain, rare = (
        list(facetell.detect(detector, pictures, prevalence=p, faces="crops", device="cpu")) for p in (None, 0.01)
    )
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


@pytest.mark.slow
def test_the_report_says_what_a_verdict_is_worth(detector: Path, faces: Path, tmp_path: Path) -> None:
    plain = facetell.evaluate(detector, faces, tmp_path / "plain", device="cpu")
    found = facetell.evaluate(detector, faces, tmp_path / "rare", prevalence=0.01, device="cpu")
    assert found.metrics == plain.metrics, "the split keeps its own mix"
    assert plain.prevalence is None
    recall, fpr = (found.metrics[name].value for name in ("recall", "fpr"))
    precision = found.prevalence["precision"]
    if recall:
        assert precision["value"] == pytest.approx(0.01 * recall / (0.01 * recall + 0.99 * fpr))
    assert any("calibrated on few faces (10 real, 10 fake)" in warning for warning in found.warnings)
    page = (tmp_path / "rare" / "report.md").read_text("utf-8")
    for heading in ("## Threshold", "## Calibration", "## Where 0.01 of the faces are fake"):
        assert heading in page


# --- without a calibration


@pytest.mark.slow
def test_an_uncalibrated_detector_gives_logits_and_no_decision(
    capsys: pytest.CaptureFixture[str], detector: Path, faces: Path, tmp_path: Path
) -> None:
    picture = next(faces.parent.glob("pictures/test-0-real.png"))
    calibrated = facetell.Detector.load(detector, "cpu").detect(picture, faces="crops")
    update_description(detector, lambda d: d.update(calibration=None))
    verdict = facetell.Detector.load(detector, "cpu").detect(picture, faces="crops")
    assert (verdict.status, verdict.decision, verdict.score, verdict.judged) == ("uncalibrated", None, None, False)
    assert verdict.logit == calibrated.logit is not None
    assert "facetell calibrate" in str(verdict.reason)
    code, out, _ = run(capsys, "detect", detector, picture, "--json", "--faces", "crops")
    assert (code, json.loads(out)["status"]) == (6, "uncalibrated")
    for call in (
        lambda: facetell.threshold(detector, faces, at="f1", device="cpu"),
        lambda: facetell.Detector.load(detector, "cpu", at="strict"),
        lambda: facetell.Detector.load(detector, "cpu", prevalence=0.1),
        lambda: facetell.evaluate(detector, faces, tmp_path / "no", prevalence=0.1, device="cpu"),
    ):
        with pytest.raises(UsageError, match="is uncalibrated"):
            call()
    report = facetell.evaluate(detector, faces, tmp_path / "report", device="cpu")
    assert report.threshold is report.confusion is report.calibration is None
    assert {name for name, found in report.metrics.items() if found.value is not None} == {
        "auroc", "average_precision", "eer",
    }  # fmt: skip
    assert "uncalibrated" in (tmp_path / "report" / "report.md").read_text("utf-8")

    found = facetell.calibrate(detector, faces, device="cpu")
    assert found.before is None
    fresh = calibration(detector)
    assert (list(fresh.face.points), fresh.face.points["default"].rule) == (["default"], "balanced_accuracy")
    assert facetell.Detector.load(detector, "cpu").detect(picture, faces="crops").decision in ("fake", "real")


# --- the commands


@pytest.mark.slow
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
    arguments = ["detect", detector, picture, "--faces", "crops", "--at", "theirs", "-o", tmp_path / "verdicts.jsonl"]
    assert run(capsys, *arguments, "--prevalence", "0.02")[0] == 0
    line = json.loads((tmp_path / "verdicts.jsonl").read_text())
    assert (line["operating_point"], line["prevalence"], len(line["unsure"])) == ("theirs", 0.02, 2)
    code, _, err = run(capsys, *arguments, "--prevalence", "0.02")
    assert (code, "1 were judged before" in err) == (0, True)
    assert run(capsys, *arguments)[0] == 0
    (text,) = (tmp_path / "verdicts.jsonl").read_text().splitlines()
    assert json.loads(text)["prevalence"] is None
    code, _, err = run(capsys, "detect", detector, picture, "--at", "thiers")
    assert (code, "did you mean 'theirs'" in err) == (2, True)
    code, out, _ = run(
        capsys, "evaluate", detector, faces, "--at", "theirs", "--prevalence", "0.01", "-o", tmp_path / "r"
    )
    assert (code, "theirs: recall=0.99 on validation of faces" in out) == (0, True)
    report = json.loads((tmp_path / "r" / "report.json").read_text("utf-8"))
    assert sum(report["unsure"]["real"][call] for call in ("real", "unsure", "fake")) == 12
