"""What a detector has learned from, and that nothing is chosen or measured on it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from toy import toy_faceset

import facetell
from facetell.detector import bundle
from facetell.detector.bundle import read_bundle, write_bundle
from facetell.detector.lineage import LINEAGE, Lineage
from facetell.detector.weights import model_bytes, read_selftest, read_weights
from facetell.errors import BundleError, UsageError
from facetell.evaluation import read_predictions
from facetell.faceset.join import Part, join
from facetell.faceset.table import FaceSet


def stepped(detector: Path, out: Path, lineage: Lineage) -> Path:
    """The detector as a further step would write it, having learned from what ``lineage`` says."""
    description = read_bundle(detector)
    weights, selftest = read_weights(detector, description), read_selftest(detector)
    kept = {key: value for key, value in description.items() if key not in ("format", "version", "files")}
    write_bundle(
        out, kept, weights, selftest, {}, "a card", {}, model=model_bytes(detector, description), lineage=lineage
    )
    return out


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> FaceSet:
    """Other pictures under the same names as those of the shared face set."""
    return toy_faceset(tmp_path_factory.mktemp("other"), seed=9)


def rows(faces: FaceSet, split: str) -> np.ndarray:
    return np.asarray(faces.rows(split))


def test_a_fitted_detector_knows_its_splits_apart(fitted: Path, faces: FaceSet) -> None:
    lineage = Lineage.read(fitted / LINEAGE)
    train, validation, test = (lineage.seen(faces, split) for split in ("train", "validation", "test"))
    assert train.learned.all()
    assert not train.chosen.any()
    assert validation.chosen.all()
    assert not validation.learned.any()
    for mark in (test.learned, test.chosen, test.namesakes):
        assert not mark.any()


def test_other_pictures_under_the_same_names_are_told_of_and_kept(fitted: Path, other: FaceSet) -> None:
    found = Lineage.read(fitted / LINEAGE).seen(other, "train")
    assert found.namesakes.all()
    assert not found.learned.any()
    keep, said = Lineage.read(fitted / LINEAGE).unseen(other, "train")
    assert keep.all()
    assert "named like some it has learned from" in said[0]


def test_the_rest_of_a_group_is_known_too(other: FaceSet) -> None:
    groups = other.columns(["group"], "test")["group"].to_numpy().astype(str)
    lineage = Lineage.new("0" * 64).with_learned(other, rows(other, "test")[:1])
    np.testing.assert_array_equal(lineage.seen(other, "test").learned, groups == groups[0])


def test_nothing_is_chosen_on_what_a_later_step_learned_from(fitted: Path, other: FaceSet, tmp_path: Path) -> None:
    facetell.threshold(shutil.copytree(fitted, tmp_path / "before"), other.path, at="f1", device="cpu")
    lineage = Lineage.read(fitted / LINEAGE).with_learned(other, rows(other, "validation"))
    after = stepped(fitted, tmp_path / "after", lineage)
    written = (after / "detector.json").read_bytes()
    for verb in (
        lambda: facetell.threshold(after, other.path, at="f1", device="cpu"),
        lambda: facetell.calibrate(after, other.path, device="cpu"),
        lambda: facetell.evaluate(after, other.path, tmp_path / "report", split="validation", device="cpu"),
    ):
        with pytest.raises(UsageError, match="has learned from 20 of 20 faces of the split 'validation'"):
            verb()
    assert (after / "detector.json").read_bytes() == written
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
def test_a_few_learned_faces_are_left_out_and_counted(fitted: Path, other: FaceSet, tmp_path: Path) -> None:
    lineage = Lineage.read(fitted / LINEAGE).with_learned(other, rows(other, "validation")[:1])
    after = stepped(fitted, tmp_path / "after", lineage)
    out = int(lineage.seen(other, "validation").learned.sum())
    assert 0 < out < 10
    found = facetell.threshold(after, other.path, at="f1", device="cpu")
    assert f"{out} of 20 faces" in found.warnings[0]
    assert "are left out" in found.warnings[0]
    assert found.face.point is not None
    assert found.face.point.on.n == 20 - out
    assert facetell.calibrate(after, other.path, device="cpu").n == 20 - out
    report = facetell.evaluate(after, other.path, tmp_path / "report", split="validation", device="cpu")
    assert report.counts["n"] == 20 - out == len(read_predictions(tmp_path / "report" / "predictions.parquet")["row"])
    assert any("are left out" in warning for warning in report.warnings)
    assert any("chose its epoch, temperature or thresholds" in warning for warning in report.warnings)


def test_the_same_pictures_are_known_in_another_face_set(fitted: Path, faces: FaceSet, tmp_path: Path) -> None:
    parts = [
        Part(faces, rows(faces, "train")[:8], "validation", "renamed/"),
        Part(faces, rows(faces, "test"), "validation"),
    ]
    mixed = join(tmp_path / "mixed", parts, {"seed": 0, "crop": None})
    learned = Lineage.read(fitted / LINEAGE).seen(mixed, "validation").learned
    known = set(faces.columns(["sha256"], "train")["sha256"].to_pylist())
    expected = [sha in known for sha in mixed.columns(["sha256"], "validation")["sha256"].to_pylist()]
    assert learned.tolist() == expected


def test_it_names_nobody_and_is_small(fitted: Path, faces: FaceSet) -> None:
    content = (fitted / LINEAGE).read_bytes()
    table = faces.columns(["sha256", "group", "path"], "train")
    for name in ("sha256", "group", "path"):
        assert not any(value.encode() in content for value in table[name].to_pylist() if len(value) > 3)
    assert len(content) < 2000
    one, another = (Lineage.new(salt * 64).with_learned(faces, rows(faces, "train")).parts[0] for salt in "01")
    assert not np.isin(one.learned, another.learned).any(), "two detectors do not show that they share a picture"


def test_two_lineages_are_one(faces: FaceSet, other: FaceSet) -> None:
    both = Lineage.new("0" * 64).with_learned(faces, rows(faces, "train"))
    both = both.joined(Lineage.new("1" * 64).with_learned(other, rows(other, "test")))
    assert both.seen(faces, "train").learned.all()
    assert both.seen(other, "test").learned.all()


def test_it_is_the_same_whether_told_once_or_twice(faces: FaceSet, other: FaceSet) -> None:
    one = Lineage.new("0" * 64).with_learned(faces, rows(faces, "train"))
    two = Lineage.new("1" * 64).with_learned(other, rows(other, "test"))
    both = one.joined(two).joined(two).joined(one)
    assert len(both.parts) == 2
    later = both.with_learned(faces, rows(faces, "test"))
    assert later.seen(faces, "test").learned.all()
    np.testing.assert_array_equal(later.parts[1].learned, two.parts[0].learned)  # what is its own has its own salt


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["threshold", "calibrate"])
def test_what_was_chosen_on_later_is_known(verb: str, fitted: Path, other: FaceSet, tmp_path: Path) -> None:
    detector = Path(shutil.copytree(fitted, tmp_path / "detector"))
    mixed = join(tmp_path / "mixed", [Part(other, rows(other, "validation"), "test", "x/")], {"seed": 0, "crop": None})
    for split in ("validation", "finetune"):
        if verb == "threshold":
            facetell.threshold(detector, other.path, split=split, at="f1", device="cpu")
        else:
            facetell.calibrate(detector, other.path, split=split, device="cpu")
        assert facetell.Detector.load(detector, "cpu").lineage.seen(other, split).chosen.all()
    assert len(list(detector.glob("*lineage*"))) == 1, "the old ones are gone"
    assert facetell.verify(detector).method == "finetune"
    written = next(detector.glob("lineage-*")).stat().st_mtime_ns
    if verb == "threshold":
        facetell.threshold(detector, other.path, split="finetune", at="f1", device="cpu")
        assert next(detector.glob("lineage-*")).stat().st_mtime_ns == written, "nothing new to say"
    report = facetell.evaluate(detector, mixed.path, tmp_path / "report", device="cpu")
    assert any("20 faces are of those that chose" in warning for warning in report.warnings)


def test_a_reader_whose_file_goes_away_meanwhile_reads_again(
    fitted: Path, other: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Path(shutil.copytree(fitted, tmp_path / "detector"))
    check, began = bundle._check_file, list[bool]()

    def checked(path: Path, name: str, expected: dict[str, Any]) -> None:
        if not began:
            began.append(True)
            facetell.threshold(detector, other.path, at="f1", device="cpu")  # by another process, as it were
        check(path, name, expected)

    monkeypatch.setattr(bundle, "_check_file", checked)
    loaded = facetell.Detector.load(detector, "cpu")
    assert loaded.calibration
    assert "f1" in loaded.calibration.face.points
    assert loaded.lineage.seen(other, "validation").chosen.all()


@pytest.mark.slow
def test_stress_and_audit_leave_out_what_evaluate_does(fitted: Path, other: FaceSet, tmp_path: Path) -> None:
    lineage = Lineage.read(fitted / LINEAGE).with_learned(other, rows(other, "validation")[:1])
    lineage = lineage.with_chosen(other, rows(other, "validation")[4:6])
    after = stepped(fitted, tmp_path / "after", lineage)
    out = int(lineage.seen(other, "validation").learned.sum())
    report = facetell.evaluate(after, other.path, tmp_path / "report", split="validation", device="cpu")
    about = [line for line in report.warnings if "left out" in line or "chose" in line]
    assert len(about) == 2
    stressed = facetell.stress(after, other.path, tmp_path / "s", split="validation", only=["blur"], device="cpu")
    assert set(about) <= set(stressed.warnings)
    assert stressed.counts["n"] == 20 - out == report.counts["n"]
    assert stressed.clean["auroc"]["value"] == report.metrics["auroc"].value
    for name in ("s", "report"):
        table = pq.read_table(tmp_path / name / "predictions.parquet").to_pandas()
        assert set(table["row"]) == set(np.flatnonzero(~lineage.seen(other, "validation").learned))
    audited = facetell.audit(other.path, tmp_path / "a", detector=after, split="validation", device="cpu")
    assert audited.detector["n"] == 20 - out
    assert set(about) <= set(audited.detector["warnings"])
    assert set(about) <= set(audited.findings)
    assert about[0] in (tmp_path / "a" / "audit.md").read_text()


def test_stress_and_audit_refuse_what_evaluate_does(fitted: Path, faces: FaceSet, tmp_path: Path) -> None:
    for verb in (
        lambda: facetell.stress(fitted, faces.path, tmp_path / "s", split="train", device="cpu"),
        lambda: facetell.audit(faces.path, tmp_path / "a", detector=fitted, split="train", device="cpu"),
    ):
        with pytest.raises(UsageError, match="has learned from 48 of 48 faces of the split 'train'"):
            verb()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["order", "missing", "unlisted"])
def test_a_damaged_lineage_is_refused(damage: str, fitted: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(fitted, tmp_path / "detector"))
    if damage == "order":
        tensors = Lineage.read(copied / LINEAGE).tensors()
        content = {**tensors, "0.learned": tensors["0.learned"][::-1].copy()}
        from safetensors.numpy import save_file

        save_file(content, copied / LINEAGE)
        with pytest.raises(BundleError, match="not in order"):
            Lineage.read(copied / LINEAGE)
    elif damage == "missing":
        (copied / LINEAGE).unlink()
    else:
        description = json.loads((copied / "detector.json").read_text("utf-8"))
        del description["files"][LINEAGE]
        (copied / "detector.json").write_text(json.dumps(description), "utf-8")
    with pytest.raises(BundleError, match="SHA-256" if damage == "order" else LINEAGE):
        facetell.Detector.load(copied, "cpu")
