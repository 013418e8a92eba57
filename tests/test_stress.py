"""``stress``: whole, the same whoever computes it, and equal to ``evaluate`` where nothing was done."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from toy import COUNTS

import facetell
from facetell.api import _stress
from facetell.cli.main import main
from facetell.detector import corrupted
from facetell.errors import DataError, UsageError
from facetell.evaluation import auroc, paired_bootstrap, read_predictions
from facetell.faceset.table import FaceSet
from facetell.pixels import corruptions
from facetell.progress import Step
from facetell.reporting import stress as reporting
from facetell.reporting.stress import robustness

FACES = 2 * COUNTS["test"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, fitted: Path, faces: FaceSet) -> SimpleNamespace:
    """A detector, its face set, and the stress report of two corruptions."""
    out = tmp_path_factory.mktemp("stress") / "stress"
    calls: list[tuple[int, int]] = []
    found = facetell.stress(
        fitted, faces.path, out, only=["jpeg", "noise"], workers=1,
        progress=lambda step: calls.append((step.done, step.total)) if step.what == "scoring" else None,
    )  # fmt: skip
    return SimpleNamespace(detector=fitted, faces=faces.path, out=out, found=found, calls=calls)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "draw_plots", lambda *_: {})


@pytest.mark.slow
def test_untouched_faces_get_the_logits_and_numbers_of_evaluate(toy: SimpleNamespace, tmp_path: Path) -> None:
    report = facetell.evaluate(toy.detector, toy.faces, tmp_path / "report")
    theirs = read_predictions(tmp_path / "report" / "predictions.parquet")
    ours = pq.read_table(toy.out / "predictions.parquet").to_pandas().query("strength == 0")
    assert (ours["logit"].to_numpy() == theirs["logit"]).all()
    assert (ours["row"].to_numpy() == theirs["row"]).all()
    assert (ours["score"].to_numpy() == theirs["score"]).all()
    for key in ("auroc", "recall", "fpr"):
        assert toy.found.clean[key]["value"] == report.metrics[key].value
    assert toy.found.threshold == report.threshold


def test_numbers_come_from_the_stored_predictions(toy: SimpleNamespace) -> None:
    table = pq.read_table(toy.out / "predictions.parquet").to_pandas()
    assert len(table) == FACES * 11
    clean = table[table.strength == 0]
    areas = []
    for entry in toy.found.corruptions:
        for one in entry["strengths"]:
            own = table[(table.corruption == entry["name"]) & (table.strength == one["strength"])]
            assert one["auroc"]["value"] == auroc(own.label, own.score)
            called = own.score.to_numpy().astype(float) >= toy.found.threshold
            assert one["recall"]["value"] == called[own.label == 1].mean()
            assert one["fpr"]["value"] == called[own.label == 0].mean()
            test = paired_bootstrap(own.label, own.score, clean.score, own.group, repetitions=200)
            assert one["difference"] == {
                "value": test.difference, "low": test.low, "high": test.high, "p": test.p
            }  # fmt: skip
            areas.append(one["auroc"]["value"])
    summary = toy.found.summary
    assert summary["mean_auroc"] == pytest.approx(np.mean(areas))
    assert summary["difference"]["value"] == pytest.approx(np.mean(areas) - toy.found.clean["auroc"]["value"])
    assert summary["worst"]["auroc"]["value"] == min(areas)
    levels = [one for entry in toy.found.corruptions for one in entry["strengths"]]
    assert summary["lowest_recall"]["recall"]["value"] == min(one["recall"]["value"] for one in levels)
    assert summary["highest_fpr"]["fpr"]["value"] == max(one["fpr"]["value"] for one in levels)
    assert summary["robustness"] == robustness(toy.found.clean["auroc"]["value"], areas)


def test_the_folder_is_whole_and_the_bar_moves(toy: SimpleNamespace) -> None:
    assert json.loads((toy.out / "stress.json").read_text("utf-8")) == toy.found.as_dict()
    inside = {entry.relative_to(toy.out).as_posix() for entry in toy.out.rglob("*")}
    assert inside == {
        "stress.json",
        "stress.md",
        "predictions.parquet",
        "plots",
        "plots/curves.png",
        "plots/sample.png",
    }
    page = (toy.out / "stress.md").read_text("utf-8")
    assert "JPEG twice" not in page
    assert "images/s" in page
    assert toy.calls[-1] == (FACES * 11, FACES * 11)
    assert len(toy.calls) == 11


@pytest.mark.slow
@pytest.mark.usefixtures("no_plots")
def test_workers_batches_and_the_choice_of_corruptions_do_not_matter(
    toy: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrupted, "_PIECE", 5)
    facetell.stress(toy.detector, toy.faces, tmp_path / "out", only=["noise"], workers=3)
    mine = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pandas()
    first = pq.read_table(toy.out / "predictions.parquet").to_pandas()
    both = mine.merge(first, on=["row", "corruption", "strength"])
    assert len(both) == FACES * 6
    assert (both.logit_x == both.logit_y).all()
    monkeypatch.setattr(corrupted, "BATCH", 7)  # rows keep their noise in whatever batch they are
    facetell.stress(toy.detector, toy.faces, tmp_path / "out", only=["noise"], workers=2)
    again = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pandas()
    assert np.allclose(again.logit, mine.logit, atol=1e-4)
    other = facetell.stress(toy.detector, toy.faces, tmp_path / "seed", only=["noise"], seed=1)
    seeded = pq.read_table(tmp_path / "seed" / "predictions.parquet").to_pandas()
    assert (seeded.logit != mine.logit)[mine.strength > 0].any()
    assert other.context["seed"] == 1


@pytest.mark.slow
@pytest.mark.usefixtures("no_plots")
def test_every_crop_is_decoded_once(toy: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, decode = [], corrupted.decode
    monkeypatch.setattr(corrupted, "decode", lambda data: read.append(data) or decode(data))
    monkeypatch.setattr(_stress, "first_crop", lambda *_: {})
    facetell.stress(toy.detector, toy.faces, tmp_path / "out", only=["gamma", "resize"])
    assert len(read) == len(set(read)) == FACES


@pytest.mark.slow
@pytest.mark.usefixtures("no_plots")
def test_without_the_codec_h264_is_left_out_with_a_warning(
    toy: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(name: str, mode: str) -> None:
        raise ValueError(name)

    monkeypatch.setattr(av, "Codec", unknown)
    monkeypatch.setattr(_stress, "choose", lambda only: corruptions.choose(only or ["gamma", "h264"]))
    found = facetell.stress(toy.detector, toy.faces, tmp_path / "out")
    assert [entry["name"] for entry in found.corruptions] == ["gamma"]
    assert "h264 is left out" in found.warnings[0]
    with pytest.raises(facetell.errors.UsageError):
        facetell.stress(toy.detector, toy.faces, tmp_path / "out2", only=["h264"])


@pytest.mark.slow
def test_interrupted_nothing_is_left_and_an_earlier_report_stays(toy: SimpleNamespace, tmp_path: Path) -> None:
    def interrupt(step: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        facetell.stress(toy.detector, toy.faces, tmp_path / "out", only=["gamma"], progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_overwritten(toy: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="is not a stress report"):
        facetell.stress(toy.detector, toy.faces, tmp_path)


def test_one_label_says_nothing(toy: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facetell.FaceSet, "labels", lambda *_: np.zeros(FACES, np.int8))
    with pytest.raises(DataError, match="one label only"):
        facetell.stress(toy.detector, toy.faces, tmp_path / "out")


def test_robustness_by_hand() -> None:
    assert robustness(0.9, [0.9, 0.9]) == 1
    assert robustness(0.9, [0.7, 0.7]) == pytest.approx(0.5)
    assert robustness(0.9, [0.5, 0.9]) == pytest.approx(0.5)
    assert robustness(0.9, [0.4, 0.4]) == 0
    assert robustness(0.8, [0.9]) == 1
    assert robustness(0.5, [0.9]) is None


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(one) for one in arguments])
    return int(end.value.code or 0)


@pytest.mark.slow
@pytest.mark.usefixtures("no_plots")
def test_the_command(toy: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run("stress", toy.detector, toy.faces, "-o", out, "--only", "jpeg, resize", "--workers", "2") == 0
    printed = capsys.readouterr().out
    assert "AUROC at strength" in printed
    assert "images/s" in printed
    assert f"stress report: {out / 'stress.md'}" in printed
    assert run("stress", toy.detector, toy.faces, "-o", out, "--only", "social", "--json") == 0
    assert json.loads(capsys.readouterr().out)["corruptions"][0]["name"] == "social"
    assert run("stress", toy.detector, toy.faces, "-o", out, "--only", "blurr") == 2
    assert "did you mean 'blur'" in capsys.readouterr().err
    assert run("stress", toy.detector, toy.faces, "-o", out, "--at", "fpr=0.01") == 2
    assert "operating point" in capsys.readouterr().err
    assert run("stress", toy.detector, toy.faces, "-o", out, "--split", "tset") == 3
    assert "did you mean 'test'" in capsys.readouterr().err
