"""Few pictures, no replay buffer, a label missing: what adapting does then, and what it says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faceclips import background, save_photo, with_head
from monday import Monday, fill

import facetell
from facetell.adaptation import flow
from facetell.adaptation import new_faces as newfaces
from facetell.adaptation.new_faces import NewFaces, joined, of_label
from facetell.adaptation.replay import Plan
from facetell.cli.main import main
from facetell.errors import AcceptanceError, DataError
from facetell.faces.crop import CropGeometry
from facetell.faces.finding import Finding
from facetell.faces.load import load_face_detector
from facetell.faceset.table import FaceSet
from facetell.progress import Step


def outcome(detector: Path, out: Path, **arguments: Any) -> dict[str, Any]:
    """The record, whether the gate was passed or not."""
    try:
        return facetell.adapt(detector, out, **arguments).as_dict()
    except AcceptanceError as refused:
        assert not out.exists()
        return refused.record


@pytest.mark.slow
def test_without_a_replay_buffer_nothing_is_promised_of_the_old(made: Monday, tmp_path: Path) -> None:
    record = outcome(made.bare, tmp_path / "out", fake=made["smooth"], real=made["real"], strategy="linear-probe")
    assert "facetell remember" in record["sentences"][0]
    assert "old" not in record["checks"]
    assert {each["fall"] for each in record["tried"]} == {None}
    assert not record["refused"]
    description = json.loads((tmp_path / "out" / "detector.json").read_text())
    assert "replay" not in description
    assert (
        description["calibration"] is None
    )  # there is nothing to measure one on, and that of the old weights is not its
    assert "Uncalibrated" in (tmp_path / "out" / "README.md").read_text()
    facetell.verify(tmp_path / "out")


@pytest.mark.slow
def test_eight_fakes_are_tried_again_and_again_and_said_to_be_few(made: Monday, tmp_path: Path) -> None:
    steps: list[Step] = []
    record = outcome(
        made.detector,
        tmp_path / "out",
        fake=fill(tmp_path / "fakes", "smooth", 8, 4),
        real=made["real"],
        strategy="classical",
        progress=steps.append,
    )
    assert "with 8 fakes no number is sure" in record["sentences"][0]
    fits = [step for step in steps if step.what == "trying"]
    assert len(fits) == 3 * 5
    assert [step.done for step in fits] == list(range(15))
    assert {step.note for step in fits} == {"classical"}
    assert fits[-1].total == 15


@pytest.mark.slow
def test_reals_of_the_replay_buffer_stand_in(made: Monday, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their groups are not learned from as old faces: some of them are held out."""
    real, seen = flow.divided, list[tuple[Any, ...]]()

    def watched(replay: FaceSet, model: Any, new: NewFaces, *rest: Any) -> Any:
        seen.append((replay, new.lent, real(replay, model, new, *rest)))
        return seen[-1][-1]

    monkeypatch.setattr(flow, "divided", watched)
    record = outcome(made.detector, tmp_path / "out", fake=made["smooth"], strategy="classical")
    assert "of the replay buffer stand in" in record["sentences"][0]
    counts = record["new"]["counts"]["finetune"]
    assert counts["real"] == {"camera": 20}  # half of the 40 reals it may learn from again
    assert counts["fake"] == {"smooth": 24}
    replay, lent, old = seen[0]
    names = replay.columns(["group"], "train")["group"].to_pylist()
    assert len(lent) == 20
    assert lent.isdisjoint({names[row] for row in old.learn.rows})


def test_shots_are_nested_and_drawn_by_seed(made: Monday, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the fakes. All reals are used, up to a number that grows with the fakes."""
    parts = {label: of_label(made[name], label) for label, name in ((1, "smooth"), (0, "real"))}

    def drawn(shots: int | None, seed: int) -> tuple[set[str], set[str]]:
        faces = joined(parts, shots, seed)
        rows = faces.columns(["sha256", "label"]).to_pylist()
        real, fake = ({row["sha256"] for row in rows if row["label"] == label} for label in (0, 1))
        return real, fake

    few, more, others, every = drawn(6, 1), drawn(15, 1), drawn(6, 2), drawn(None, 1)
    assert [len(fake) for _, fake in (few, more, others, every)] == [6, 15, 6, 24]
    assert few[1] < more[1] < every[1]
    assert few[1] != others[1]
    assert all(len(real) == 24 for real, _ in (few, more, others, every))
    assert drawn(6, 1) == few
    monkeypatch.setattr(newfaces, "REALS", 10)
    assert [len(real) for real, _ in (drawn(6, 3), drawn(15, 3))] == [10, 15]
    assert drawn(6, 3)[0] < drawn(15, 3)[0]


def test_a_face_set_gives_its_own_label_and_never_what_is_measured_on(made: Monday) -> None:
    fakes = of_label(made.faces, 1)
    faces = FaceSet.open(made.faces)
    own = set(faces.columns(["sha256"], "finetune")["sha256"].to_pylist())
    found = joined({1: fakes, 0: of_label(made["real"], 0)}, None, 0)
    rows = [row for row in found.columns(["sha256", "label", "group"]).to_pylist() if row["label"]]
    assert len(rows) == 4
    assert {row["sha256"] for row in rows} <= own
    assert all(row["group"].startswith(faces.fingerprint[:8]) for row in rows)


def test_a_folder_is_one_label_and_its_sub_folders_are_groups(tmp_path: Path) -> None:
    fill(tmp_path / "found" / "real" / "anna", "smooth", 3, 1)  # the name of a folder says nothing
    fill(tmp_path / "found" / "ben", "smooth", 2, 2)
    part = of_label(tmp_path / "found", 1)
    rows = part.faces.columns(["label", "group", "source"]).to_pylist()
    assert [row["label"] for row in rows] == [1] * 5
    assert sorted(row["group"] for row in rows) == ["ben"] * 2 + ["real/anna"] * 3
    assert {row["source"] for row in rows} == {"found"}
    before = part.faces.fingerprint
    fill(tmp_path / "found" / "carl", "smooth", 1, 3)
    again = of_label(tmp_path / "found", 1)
    assert (len(again.rows), again.faces.fingerprint != before) == (6, True)
    with pytest.raises(DataError, match="is a file"):
        of_label(tmp_path / "found" / "ben" / "00.png", 1)


def test_faces_are_cut_out_of_photos_as_the_detectors_own_were(tmp_path: Path) -> None:
    for i in range(2):
        save_photo(tmp_path / "photos" / f"{i}.png", with_head(background(i, 400, 300), 200, 150, 100))
    cut = Finding(CropGeometry(margin=1.6)).as_dict(load_face_detector())

    def sizes(faces: str, cut: dict[str, Any] | None) -> list[int]:
        table = of_label(tmp_path / "photos", 1, faces=faces, cut=cut).faces.columns(["width"])
        return sorted(table["width"].to_pylist())

    assert sizes("crops", cut) == sizes("auto", cut) == [400, 400]
    usual, wide = sizes("find", None), sizes("find", cut)
    assert len(usual) == len(wide) == 2
    np.testing.assert_allclose(np.divide(wide, usual), 1.6 / 1.3, atol=0.03, err_msg="the usual margin is 1.3")


def test_adapt_looks_for_faces_if_told_to(made: Monday, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "adapt",
        made.detector,
        "--fake",
        made["smooth"],
        "--real",
        made["real"],
        "--faces",
        "find",
        "-o",
        tmp_path / "out",
    ]
    with pytest.raises(SystemExit):
        main([str(word) for word in words])
    assert "24 no_face" in capsys.readouterr().err, "there are none in these pictures"


@pytest.mark.slow
def test_auto_tries_all_that_fit_and_the_commands_say_it(
    made: Monday, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each learns for a dozen steps, which is enough to be accepted: two seeds gained 0.26 and 0.33."""
    monkeypatch.setattr(Plan, "steps", lambda *_: 12)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    out = tmp_path / "out"
    given = ("--fake", made["smooth"], "--real", made["real"], "-o", out)
    code, said, _ = run("adapt", made.detector, *given)
    assert code == 0
    assert "← chosen" in said
    assert "passed" in said
    assert "expert: there is no pretrained second backbone" in said  # that detector started from random ones
    code, listed, _ = run("history", out, "--json")
    (event,) = json.loads(listed)["adapted"]
    assert (code, event["what"]) == (0, "adapt")
    tried = {each["candidate"] for each in event["tried"]}
    assert {"linear-probe", "norms", "lora", "full", "full × 0.5", "fdftnet", "classical"} <= tried
    assert set(event["unfit"]) == {"expert"}
    code, said, _ = run("history", out)
    assert code == 0
    assert said.startswith("1. fitted by finetune")
    assert "2. adapted" in said
    assert f"chose {event['chosen']}" in said
    facetell.verify(out)
