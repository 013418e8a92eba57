"""Detectors by name: which there are, and which word of ``detect`` is one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import write_picture

import facetell
from facetell.cli import detect as detect_verb
from facetell.cli.main import main
from facetell.detector.bundle import BOX
from facetell.errors import BundleError

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shelf(tmp_path: Path, fitted: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of detectors, with one whole; the working folder is another, with pictures."""
    monkeypatch.setenv("FACETELL_DETECTORS", str(tmp_path / "shelf"))
    shutil.copytree(fitted, tmp_path / "shelf" / "office")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in ("photo.png", "inbox/one.png", "inbox/two.png"):
        write_picture(Path(name))
    return tmp_path / "shelf"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    return run


def edit(bundle: Path, **entries: Any) -> None:
    file = bundle / "detector.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


def by_name() -> dict[str, facetell.results.ListedDetector]:  # type: ignore[name-defined]
    return {one.name: one for one in facetell.detectors().detectors}


def test_the_one_in_the_box_and_those_in_the_folder(shelf: Path) -> None:
    found = facetell.detectors()
    assert found.path == shelf
    starter, office = found.detectors
    assert (starter.name, starter.in_box, starter.method, starter.calibrated) == ("starter", True, "depth", True)
    assert starter.bytes == sum(file.stat().st_size for file in (BOX / "starter").iterdir())
    assert "research" in (starter.licence or "")
    assert any("StyleGAN" in kind for kind in starter.kinds)
    assert (office.name, office.folder, office.in_box) == ("office", str(shelf / "office"), False)
    assert (office.method, office.licence, office.error) == ("finetune", None, None)
    assert list(office.kinds) == json.loads((shelf / "office" / "detector.json").read_text())["data"]["sources"]
    assert abs((date.fromisoformat(office.date) - date.today()).days) <= 1


def test_without_the_folder_there_is_the_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACETELL_DETECTORS", str(tmp_path / "nowhere"))
    assert list(by_name()) == ["starter"]


def test_what_an_owner_says_of_one(shelf: Path) -> None:
    edit(shelf / "office", about={"kinds": ["swaps"], "licence": "CC-BY-4.0", "date": "2026-01-31"})
    said = by_name()["office"]
    assert (said.kinds, said.licence, said.date) == (["swaps"], "CC-BY-4.0", "2026-01-31")


def test_broken_ones_are_named_and_the_others_are_listed(shelf: Path) -> None:
    for name in ("cut", "garbled", "misses", "odd", "strange"):
        shutil.copytree(shelf / "office", shelf / name)
    (shelf / "cut" / "weights.safetensors").write_bytes(b"short")
    (shelf / "garbled" / "detector.json").write_text("{")
    (shelf / "misses" / "lineage.safetensors").unlink()
    edit(shelf / "odd", about=["no", "mapping"])
    edit(shelf / "strange", about={"licence": 7})
    (shelf / "notes").mkdir()
    (shelf / "readme.txt").write_text("no folder")
    said = {name: one.error for name, one in by_name().items()}
    assert said["starter"] is None
    assert said["office"] is None
    assert "5 bytes" in str(said["cut"])
    assert "damaged" in str(said["garbled"])
    assert "lineage.safetensors is missing" in str(said["misses"])
    assert "'about'" in str(said["odd"])
    assert "'about'" in str(said["strange"])
    assert "not a detector" in str(said["notes"])
    assert len(said) == 8


def test_a_folder_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FACETELL_DETECTORS", str(tmp_path / "file"))
    with pytest.raises(BundleError, match="cannot be read"):
        facetell.detectors()


def test_the_command_prints_them(shelf: Path, run: Run) -> None:
    shutil.copytree(shelf / "office", shelf / "bad\x1b[31m")
    (shelf / "bad\x1b[31m" / "weights.safetensors").unlink()
    code, out, err = run("detectors")
    assert (code, err) == (0, "")
    assert "starter (in the box): " in out
    assert "broken: " in out
    assert "\x1b" not in out, "a name must not steer the terminal"
    code, out, _ = run("detectors", "--json")
    said = json.loads(out)
    assert (code, said["path"]) == (0, str(shelf))
    assert [one["name"] for one in said["detectors"]] == ["starter", "bad\x1b[31m", "office"]


# --- which word is a detector


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What is judged, and by which detector, without judging it."""
    seen: list[tuple[str, list[str]]] = []

    def noted(detector: Path, paths: list[str], **options: object) -> Any:
        seen.append((str(detector), list(paths)))
        return (verdict for verdict in ())

    monkeypatch.setattr(facetell.api, "detect", noted, raising=False)
    return seen


STARTER = str(BOX / "starter")


def test_without_a_detector_the_one_in_the_box_judges_and_it_is_said_once(
    shelf: Path, judged: list[tuple[str, list[str]]], run: Run
) -> None:
    code, out, err = run("detect", "photo.png", "inbox")
    assert (code, out) == (0, "")
    assert err.splitlines() == ["judging by starter, the detector in the box, as no detector is named"]
    assert judged == [(STARTER, ["photo.png", "inbox/one.png", "inbox/two.png"])]


@pytest.mark.parametrize("words", [["inbox"], ["inbox/*.png"], ["./inbox/"]])
def test_a_folder_of_pictures_and_a_pattern_are_no_detector(
    shelf: Path, judged: list[tuple[str, list[str]]], run: Run, words: list[str]
) -> None:
    assert run("detect", *words)[0] == 0
    ((detector, paths),) = judged
    assert detector == STARTER
    assert [Path(path).name for path in paths] == ["one.png", "two.png"]


def test_a_list_on_standard_input(
    shelf: Path, judged: list[tuple[str, list[str]]], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detect_verb, "_listed", lambda paths: iter(["photo.png"] if paths == ("-",) else []))
    assert run("detect", "-")[0] == 0
    assert run("detect", "office", "-")[0] == 0
    assert judged == [(STARTER, ["photo.png"]), (str(shelf / "office"), ["photo.png"])]


def test_a_detector_by_name_and_by_folder(shelf: Path, judged: list[tuple[str, list[str]]], run: Run) -> None:
    for word in ("office", shelf / "office", "starter"):
        assert run("detect", word, "photo.png") == (0, "", "")
    assert [detector for detector, _ in judged] == [str(shelf / "office"), str(shelf / "office"), STARTER]
    assert {tuple(paths) for _, paths in judged} == {("photo.png",)}


def test_another_starter_in_the_folder_comes_first(shelf: Path, judged: list[tuple[str, list[str]]], run: Run) -> None:
    shutil.copytree(shelf / "office", shelf / "starter")
    code, _, err = run("detect", "photo.png")
    assert (code, judged) == (0, [(str(shelf / "starter"), ["photo.png"])])
    assert f"judging by starter, in {shelf}" in err
    assert [one.shadowed for one in facetell.detectors().detectors] == [True, False, False]


def refused(run: Run, *words: object) -> tuple[int, str]:
    code, out, err = run("detect", *words)
    assert out == ""
    assert "judging by" not in err
    return code, err


def test_a_misspelt_detector_is_never_judged_as_a_file(
    shelf: Path, judged: list[tuple[str, list[str]]], run: Run
) -> None:
    code, err = refused(run, "ofice", "photo.png")
    assert code == 4
    assert "there is no detector and no file 'ofice'; did you mean 'office'?" in err
    assert refused(run, "startr", "photo.png")[1].count("did you mean 'starter'?") == 1
    for word in ("phto.png", "nowhere/office", "*.jpg", "x" * 300):
        assert f"there is no detector and no file '{word}'" in refused(run, word)[1]
    assert judged == []


def test_a_detector_alone_has_nothing_to_judge(shelf: Path, judged: list[tuple[str, list[str]]], run: Run) -> None:
    code, err = refused(run, "office")
    assert (code, judged) == (2, [])
    assert "there is nothing to judge" in err


def test_a_folder_of_the_name_of_a_detector_is_ambiguous(
    shelf: Path, judged: list[tuple[str, list[str]]], run: Run
) -> None:
    Path("inbox").rename("starter")
    code, err = refused(run, "starter", "photo.png")
    assert (code, judged) == (2, [])
    assert "./starter" in err
    assert run("detect", "./starter")[0] == 0
    assert judged == [(STARTER, ["starter/one.png", "starter/two.png"])]


def test_a_damaged_detector_is_not_a_folder_of_files(
    shelf: Path, judged: list[tuple[str, list[str]]], run: Run
) -> None:
    shutil.copytree(shelf / "office", "mine")
    Path("mine/detector.json").unlink()
    assert "it has no detector.json" in refused(run, "mine", "photo.png")[1]
    shutil.rmtree("mine")
    assert judged == []


@pytest.mark.slow
def test_a_photo_and_nothing_else(shelf: Path, run: Run) -> None:
    code, out, err = run("detect", "photo.png", "--faces", "crops", "--device", "cpu")
    assert (code, len(out.splitlines())) == (0, 2)
    assert "photo.png" in out.splitlines()[1]
    assert err.startswith("judging by starter, the detector in the box")
