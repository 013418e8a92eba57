"""What a detector keeps: which faces, never those of test, and what happens when they are gone or others."""

from __future__ import annotations

import json
import shlex
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import toy_detector, toy_faceset

import facetell
from facetell.cli.main import main
from facetell.detector.bundle import read_bundle, read_description
from facetell.detector.replay_buffer import open_replay_buffer, rows_to_keep
from facetell.errors import BundleError, DataError, UsageError
from facetell.faceset.table import FaceSet
from facetell.ingest.prepare import prepare

Cells = dict[tuple[str, str], list[int]]
"""Faces of each group, by label and source."""


def faceset_of(cells: Cells, start: int = 5) -> FaceSet:
    """As much of a face set as choosing reads: a table without pictures, whose split begins at row ``start``."""
    rows = [
        {"label": int(label == "fake"), "source": source, "group": f"{label}-{source}-{group}"}
        for (label, source), groups in cells.items()
        for group, count in enumerate(groups)
        for _ in range(count)
    ]

    class Listed:
        def columns(self, names: list[str], _split: str) -> pa.Table:
            return pa.Table.from_pylist(rows).select(names)

        def rows(self, _split: str) -> range:
            return range(start, start + len(rows))

        def __len__(self) -> int:
            return len(rows)

    return cast(FaceSet, Listed())


def drawn(faces: FaceSet, most: int, seed: int = 0) -> list[tuple[int, str, str]]:
    rows = rows_to_keep(faces, "train", most, seed)
    assert rows.tolist() == sorted(set(rows.tolist()))
    table = faces.columns(["label", "source", "group"], "train")
    whole = list(zip(*(table[name].to_pylist() for name in ("label", "source", "group")), strict=True))
    return [whole[row - faces.rows("train").start] for row in rows]


LOPSIDED: Cells = {
    ("real", "camera"): [1] * 30,
    ("fake", "rare"): [1, 1, 1],
    ("fake", "common"): [1] * 20,
    ("fake", "one person"): [9, 1, 1],
}


@pytest.fixture
def lopsided() -> FaceSet:
    return faceset_of(LOPSIDED)


def test_half_of_each_label_and_as_many_of_each_source(lopsided: FaceSet) -> None:
    found = drawn(lopsided, 40)
    assert Counter(label for label, _, _ in found) == {0: 20, 1: 20}
    # rare has 3 of 6; what it leaves goes to the other two, 8 and 9
    sources = Counter(source for label, source, _ in found if label)
    assert sources["rare"] == 3
    assert sorted((sources["common"], sources["one person"])) == [8, 9]
    assert len(drawn(lopsided, 10_000)) == len(lopsided) == 64


def test_every_group_gives_one_before_any_gives_two(lopsided: FaceSet) -> None:
    for seed in range(8):
        found = [group for label, source, group in drawn(lopsided, 18, seed) if label and source == "one person"]
        assert sorted(found) == [f"fake-one person-{k}" for k in range(3)], seed


def test_the_seed_draws_and_less_is_part_of_more_within_a_source(lopsided: FaceSet) -> None:
    rows = {most: rows_to_keep(lopsided, "train", most, 3) for most in (12, 24, 48)}
    assert rows_to_keep(lopsided, "train", 24, 3).tolist() == rows[24].tolist()
    assert rows_to_keep(lopsided, "train", 24, 4).tolist() != rows[24].tolist()
    assert set(rows[12]) < set(rows[24]) < set(rows[48])


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 7), min_size=2, max_size=4),
    most=st.integers(0, 40),
    seed=st.integers(0, 5),
)
def test_counts_are_as_equal_as_the_sizes_allow(sizes: list[int], most: int, seed: int) -> None:
    """The first size is that of the reals, the others those of sources of fakes."""
    cells: Cells = {("fake", f"s{k}"): [1] * size for k, size in enumerate(sizes[1:])}
    cells[("real", "camera")] = [1] * sizes[0]
    found = drawn(faceset_of(cells), most, seed)
    assert len(found) == min(most, sum(sizes))
    both: list[tuple[Counter[Any], dict[Any, int]]] = [
        (Counter(label for label, _, _ in found), {0: sizes[0], 1: sum(sizes[1:])}),
        (Counter(s for label, s, _ in found if label), {f"s{k}": size for k, size in enumerate(sizes[1:])}),
    ]
    for counts, room in both:
        full = {each for each in room if counts[each] == room[each]}
        others = [counts[each] for each in room if each not in full]
        assert all(counts[each] <= size for each, size in room.items())
        assert max(others, default=0) - min(others, default=0) <= 1
        assert all(counts[each] <= min(others, default=counts[each]) + 1 for each in full)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fitted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACETELL_CACHE", str(root / "cache"))
        patch.setattr("toy.COUNTS", {"train": 30, "validation": 24, "finetune": 6, "test": 12})
        return toy_detector(root)


@pytest.fixture
def detector(fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))
    shutil.copytree(fitted, tmp_path / "detector")
    return tmp_path / "detector"


@pytest.mark.slow
def test_a_replay_buffer_is_opt_in_and_holds_no_face_of_test(fitted: Path, detector: Path) -> None:
    faces = fitted.parent / "faces"
    assert open_replay_buffer(detector, read_bundle(detector)) is None
    kept = facetell.remember(detector, faces, faces=40, seed=1)
    description = read_bundle(detector)
    replay = open_replay_buffer(detector, description)
    assert replay is not None
    replay.verify()
    assert (kept.faces, len(replay), replay.splits) == (40 + 40, 80, ["train", "validation"])
    assert kept.warnings == ()
    assert kept.bytes == sum(file.stat().st_size for file in replay.path.rglob("*.parquet"))
    known = FaceSet.open(faces)
    for split in ("train", "validation"):
        own = set(known.columns(["sha256"], split)["sha256"].to_pylist())
        assert set(replay.columns(["sha256"], split)["sha256"].to_pylist()) <= own
    assert facetell.verify(detector).method == "finetune"
    again = facetell.remember(detector, faces, faces=44, seed=1)
    assert again.faces == 88
    assert again.fingerprint != kept.fingerprint


def test_forgetting_leaves_the_detector_as_it_was(fitted: Path, detector: Path) -> None:
    before = (detector / "detector.json").read_bytes()
    facetell.remember(detector, fitted.parent / "faces", faces=40)
    assert facetell.remember(detector, forget=True).faces == 0
    assert (detector / "detector.json").read_bytes() == before
    assert not list(detector.glob("*replay*"))
    facetell.remember(detector, forget=True)  # nothing there to forget


def test_another_face_set_is_said(detector: Path, tmp_path: Path) -> None:
    other = toy_faceset(tmp_path / "other", seed=9)
    with pytest.raises(UsageError, match="39 faces says too little"):
        facetell.remember(detector, other.path, faces=39)
    assert "not the face set it was fitted on" in facetell.remember(detector, other.path, faces=40).warnings[0]


def test_what_cannot_be_remembered(
    fitted: Path, detector: Path, make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    spaced = detector.rename(detector.with_name("my detector"))
    with pytest.raises(UsageError, match="nothing to remember") as said:
        facetell.remember(spaced)
    assert str(spaced) in shlex.split(said.value.hint or ""), "the next step can be typed"
    detector = spaced.rename(detector)
    with pytest.raises(UsageError, match="no face set is needed"):
        facetell.remember(detector, fitted.parent / "faces", forget=True)
    lone = prepare(make_folder(4), tmp_path / "lone", split="train")
    with pytest.raises(DataError, match="no split 'validation'"):
        facetell.remember(detector, lone.path)
    assert not list(detector.glob("*replay*"))
    assert open_replay_buffer(detector, read_bundle(detector)) is None


@pytest.mark.parametrize("damage", ["gone", "other", "cut", "deep", "listed"])
def test_a_replay_buffer_that_is_not_what_was_given(damage: str, fitted: Path, detector: Path, tmp_path: Path) -> None:
    facetell.remember(detector, fitted.parent / "faces", faces=40)
    folder = detector / read_description(detector)["replay"]["folder"]
    if damage == "gone":
        shutil.rmtree(folder)
    elif damage == "other":
        shutil.rmtree(folder)
        shutil.copytree(toy_faceset(tmp_path / "other", seed=9).path, folder)
    elif damage in ("cut", "deep"):
        (folder / "faceset.json").write_text('{"format": ' if damage == "cut" else "[" * 100_000)
    else:
        description = json.loads((detector / "detector.json").read_text())
        description["replay"] = "all of it"
        (detector / "detector.json").write_text(json.dumps(description))
    with pytest.raises(BundleError) as refused:
        facetell.adapt(detector, tmp_path / "out", fake=tmp_path, real=tmp_path)
    assert "replay buffer" in refused.value.message
    assert "facetell remember" in str(refused.value.hint)
    assert "--forget" in str(refused.value.hint)
    facetell.remember(detector, fitted.parent / "faces", faces=40)  # the hint helps
    assert open_replay_buffer(detector, read_bundle(detector)) is not None


def test_the_command(fitted: Path, detector: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    code, out, _ = run("remember", detector, fitted.parent / "faces", "--faces", 40)
    assert (code, "keeps 80 faces" in out, "persons" in out) == (0, True, True)
    code, out, _ = run("remember", detector, "--forget")
    assert (code, "keeps no faces any more" in out) == (0, True)
    code, out, err = run("remember", detector)
    assert (code, out) == (UsageError.exit_code, "")
    assert "nothing to remember" in err
