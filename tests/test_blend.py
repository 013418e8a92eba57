"""``blend``: reals and made fakes from real faces alone, with nothing but the forgery to tell them apart."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from toy import tiny

import facetell
from facetell.blending import generators as regenerating
from facetell.blending import writing
from facetell.cli.main import main
from facetell.drawn.folder import write_drawn_faces
from facetell.errors import DataError, UsageError
from facetell.evaluation import auroc
from facetell.faceset.survey import survey
from facetell.faceset.table import FaceSet
from facetell.pixels.decode import decode
from facetell.pixels.image_statistics import STATISTICS
from facetell.pixels.opening import open_header
from facetell.progress import Step

PEOPLE = 40


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(regenerating, "STEPS", 12)
    monkeypatch.setattr(regenerating, "KEPT", (8, 12))
    monkeypatch.setattr(regenerating, "BATCH", 4)
    monkeypatch.setattr(regenerating, "FACES", 16)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of drawn photos and forgeries with splits."""
    return write_drawn_faces(tmp_path_factory.mktemp("drawn") / "faces", people=PEOPLE, seed=0, size=64)


@pytest.fixture(scope="module")
def faces(drawn: Path) -> FaceSet:
    return facetell.prepare(drawn, drawn.parent / "faceset")


@pytest.fixture(scope="module")
def blended(faces: FaceSet) -> FaceSet:
    return facetell.blend(faces.path, faces.path.parent / "blended", draws=2)


def picture(seed: int) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(40, 216, (64, 64, 3), dtype=np.uint8)


# --- the face set -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_draw_of_a_real_face_is_a_real_and_a_fake_row(faces: FaceSet, blended: FaceSet) -> None:
    rows = faces.columns(["label", "group", "source", "split", "path", "sha256"]).to_pylist()
    reals = [row for row in rows if row["label"] == 0 and row["split"] != "test"]
    made = blended.columns(["label", "group", "source", "split", "path"]).to_pylist()
    expected = []
    for real in reals:
        for draw in range(2):
            for label, source, word in ((0, real["source"], "real"), (1, "self-blended", "self-blended")):
                path = f"{real['path']}#{word}-{draw}"
                expected.append(
                    {"label": label, "group": real["group"], "source": source, "split": real["split"], "path": path}
                )
    assert made == expected
    assert blended.splits == ["train", "validation", "finetune"]
    assert blended.info["counts"]["train"] == {
        "real": {"drawn": len(blended.rows("train")) // 2},
        "fake": {"self-blended": len(blended.rows("train")) // 2},
    }
    made_from = {"faceset": "faceset", "fingerprint": faces.fingerprint, "real": len(reals)}
    assert blended.info["made"]["from"] == made_from
    assert (blended.info["made"]["kind"], blended.info["made"]["draws"]) == ("self-blended", 2)
    blended.verify()


@pytest.mark.slow
def test_no_fake_is_looked_at(drawn: Path, blended: FaceSet, tmp_path: Path) -> None:
    """The same real faces beside other fakes, of which none is decoded, give the same pictures."""
    shutil.copytree(drawn, tmp_path / "pictures")
    for number, file in enumerate(sorted((tmp_path / "pictures" / "fake").iterdir())):
        Image.fromarray(picture(number)).save(file)
    other = facetell.prepare(tmp_path / "pictures", tmp_path / "faces")
    assert other.fingerprint != blended.info["made"]["from"]["fingerprint"]
    fakes = {other.image(int(row)) for row in np.flatnonzero(other.labels() == 1)}

    def careful(data: bytes) -> NDArray[Any]:
        assert data not in fakes
        return decode(data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "decode", careful)
        again = facetell.blend(other.path, tmp_path / "blended", draws=2)
    assert again.fingerprint == blended.fingerprint


@pytest.mark.slow
def test_the_same_whoever_works_and_another_seed_differs(
    faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for workers in (1, 5):
        monkeypatch.setattr("os.cpu_count", lambda workers=workers: workers)
        found.append(facetell.blend(faces.path, tmp_path / f"{workers}", kind="both", draws=1).fingerprint)
    other = facetell.blend(faces.path, tmp_path / "seed", kind="both", draws=1, seed=1)
    assert found[0] == found[1] != other.fingerprint


def test_a_further_draw_leaves_the_others_as_they_are(faces: FaceSet, blended: FaceSet, tmp_path: Path) -> None:
    once = facetell.blend(faces, tmp_path / "once", draws=1)
    hashes = {row["path"]: row["sha256"] for row in blended.columns(["path", "sha256"]).to_pylist()}
    assert all(hashes[row["path"]] == row["sha256"] for row in once.columns(["path", "sha256"]).to_pylist())


@pytest.mark.slow
def test_both_is_half_of_each(faces: FaceSet, tmp_path: Path) -> None:
    steps: list[Step] = []
    both = facetell.blend(faces.path, tmp_path / "both", kind="both", draws=2, progress=steps.append, size=48)
    train = both.info["counts"]["train"]["fake"]
    assert train["self-blended"] == train["generated"]
    calls = [(step.done, step.total) for step in steps if step.what == "blending"]
    assert calls == [(done, len(both)) for done in range(1, len(both) + 1)]
    assert set(both.columns(["width"])["width"].to_pylist()) == {48}


# --- nothing but the forgery tells ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["self-blended", "generated"])
def test_reals_and_fakes_are_written_alike(faces: FaceSet, tmp_path: Path, kind: str) -> None:
    made = facetell.blend(faces.path, tmp_path / "made", kind=kind, draws=2)
    headers: list[Any] = [open_header(made.image(row)) for row in range(len(made))]
    for real, fake in zip(headers[::2], headers[1::2], strict=True):
        assert real.size == fake.size
        assert real.quantization == fake.quantization
        assert real.layer == fake.layer
        assert real.info == fake.info
    assert len({header.layer[0][1] for header in headers}) == 2
    assert len({tuple(header.quantization[0]) for header in headers}) > 15
    statistics, labels = survey(made).statistics.astype(np.float64), made.labels()
    assert len(labels) > 250
    for name in ("bytes", "jpeg", "luma table", "width", "edge spread", "top step", "left step", "red", "laplacian"):
        # A pair shares its file settings, so 4 standard errors of unpaired AUROC are a wide gate for a faithful one.
        assert abs(auroc(labels, statistics[:, STATISTICS.index(name)]) - 0.5) < 4 * np.sqrt(
            1 / (6 * len(labels) / 2)
        ), name


def test_audit_finds_no_shortcut(blended: FaceSet) -> None:
    found = facetell.audit(blended.path, split="train")
    assert found.shortcuts["families"]
    assert {one["verdict"] for one in found.shortcuts["families"]} == {"none"}
    assert found.leaks["identical"]["both_labels"]["rows"] == 0
    assert found.leaks["groups"]["count"] == 0


# --- from there on, and what is refused -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_detector_fitted_on_it_says_so(blended: FaceSet, tmp_path: Path) -> None:
    settings = tiny("finetune", epochs=1)
    detector = facetell.fit("finetune", blended.path, tmp_path / "detector", settings=settings)
    assert detector.description["data"]["made"] == blended.info["made"]
    card = (tmp_path / "detector" / "README.md").read_text("utf-8")
    assert "**Fitted on made fakes**" in card
    assert "self-blended" in card


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(one) for one in arguments])
    return int(end.value.code or 0)


def test_the_command(faces: FaceSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run("blend", faces.path, "-o", out, "--draws", 1) == 0
    assert "half of them made fakes, splits train, validation, finetune (made)" in capsys.readouterr().out
    before = (out / "faceset.json").stat().st_mtime_ns
    assert run("blend", faces.path, "-o", out, "--draws", 1) == 0
    assert "(there already)" in capsys.readouterr().out
    assert (out / "faceset.json").stat().st_mtime_ns == before
    assert run("blend", faces.path, "-o", out, "--draws", 1, "--seed", 1) == 3
    assert "--overwrite" in capsys.readouterr().err
    assert json.loads((out / "faceset.json").read_text("utf-8"))["made"]["seed"] == 0
    assert run("blend", faces.path, "-o", out, "--draws", 1, "--seed", 1, "--overwrite") == 0
    assert json.loads((out / "faceset.json").read_text("utf-8"))["made"]["seed"] == 1
    capsys.readouterr()
    assert run("blend", faces.path, "-o", tmp_path / "x", "--kind", "selfblended") == 2
    assert "did you mean 'self-blended'" in capsys.readouterr().err


def test_what_is_refused(faces: FaceSet, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for settings, word in (
        ({"draws": 0}, "draws"),
        ({"seed": -1}, "seed"),
        ({"size": 8}, "size"),
        ({"kind": "x"}, "kind"),
    ):
        with pytest.raises(UsageError, match=word):
            facetell.blend(faces.path, tmp_path / "out", **settings)
    with pytest.raises(UsageError, match="lies inside"):
        facetell.blend(faces.path, faces.path / "out")
    with pytest.raises(DataError, match="another face set"):
        facetell.blend(drawn, faces.path)
    monkeypatch.setattr(FaceSet, "labels", lambda *_: np.ones(len(faces), np.int8))
    with pytest.raises(DataError, match="0 real faces outside the test split"):
        facetell.blend(faces.path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_test_faces_are_too_few(drawn: Path, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((drawn / "index.csv").read_text("utf-8"))))
    with (tmp_path / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "path": str(drawn / row["path"]), "split": "test"} for row in rows)
    faces = facetell.prepare(tmp_path / "index.csv", tmp_path / "faces")
    with pytest.raises(DataError, match="0 real faces outside the test split"):
        facetell.blend(faces.path, tmp_path / "out")


def test_interrupted_nothing_is_left(faces: FaceSet, tmp_path: Path) -> None:
    def stop(step: Step) -> None:
        if step.what == "blending" and step.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        facetell.blend(faces.path, tmp_path / "out", progress=stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_generators_learn_and_are_the_same_for_the_same_seed(faces: FaceSet, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.flatnonzero(faces.labels() == 0)
    pixels = decode(faces.image(int(rows[0])))
    assert rows.size > 16
    errors = []
    for steps in (2, 40):
        monkeypatch.setattr(regenerating, "STEPS", steps)
        monkeypatch.setattr(regenerating, "KEPT", (steps,))
        made = [regenerating.fit_generators(faces, rows, None, 0)(pixels, np.random.default_rng(1)) for _ in range(2)]
        assert np.array_equal(made[0], made[1])
        assert made[0].shape == pixels.shape
        errors.append(np.abs(made[0] - pixels).mean())
    assert errors[1] < 0.9 * errors[0]
