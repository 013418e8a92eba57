"""Rows of face sets as a new face set: nothing but the split and the group's prefix may change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facetell.errors import DataError, LeakError
from facetell.faceset.join import Part, join
from facetell.faceset.table import FINGERPRINTED, SCHEMA, FaceSet
from facetell.faceset.table import fingerprint as fingerprint_of
from facetell.ingest.prepare import prepare

CHANGED = ("group", "split")
KEPT = [name for name in SCHEMA.names if name not in CHANGED]


def rows_of(faces: FaceSet, split: str, count: int) -> np.ndarray:
    return np.array(faces.rows(split))[:count]


def table(faces: FaceSet) -> list[dict[str, object]]:
    names = [name for name in SCHEMA.names if name != "image"]
    found = faces.columns(names).to_pylist()
    return [{**row, "image": faces.image(k)} for k, row in enumerate(found)]


def test_rows_are_what_they_were(faces: FaceSet, tmp_path: Path) -> None:
    train, validation = rows_of(faces, "train", 9)[::-1], rows_of(faces, "validation", 6)
    parts = [
        Part(faces, validation, "validation"),
        Part(faces, train, "train"),
    ]  # neither in the order of splits nor of rows
    made = join(tmp_path / "joined", parts, {"seed": 7, "crop": None})
    again = FaceSet.open(tmp_path / "joined")
    again.verify()
    assert again.fingerprint == made.fingerprint != faces.fingerprint
    assert again.info["seed"] == 7
    assert again.splits == ["train", "validation"]
    assert (list(again.rows("train")), list(again.rows("validation"))) == (list(range(9)), list(range(9, 15)))
    before = table(faces)
    assert table(again) == [before[row] for row in [*sorted(train), *sorted(validation)]]
    assert sum(n for split in again.info["counts"].values() for label in split.values() for n in label.values()) == 15
    labels = [row["label"] for row in table(again)[:9]]
    assert again.info["counts"]["train"]["real"] == {"camera": labels.count(0)}


def test_the_fingerprint_is_that_of_its_rows_in_any_order(faces: FaceSet, tmp_path: Path) -> None:
    rows = rows_of(faces, "train", 12)
    whole = join(tmp_path / "whole", [Part(faces, rows, "train")], {})
    halves = join(tmp_path / "halves", [Part(faces, rows[6:], "train"), Part(faces, rows[:6], "train")], {})
    by_hand = fingerprint_of(sorted(tuple(row[name] for name in FINGERPRINTED) for row in table(whole)))
    assert whole.fingerprint == halves.fingerprint == by_hand
    moved = join(tmp_path / "moved", [Part(faces, rows, "validation")], {})
    assert moved.fingerprint != whole.fingerprint


def test_everything_joined_is_the_set_that_was_prepared(faces: FaceSet, tmp_path: Path) -> None:
    parts = [Part(faces, np.array(faces.rows(split)), split) for split in faces.splits]
    assert join(tmp_path / "joined", parts, {}).fingerprint == faces.fingerprint


def test_a_prefix_keeps_groups_of_two_places_apart(faces: FaceSet, tmp_path: Path) -> None:
    first, second = rows_of(faces, "train", 4), rows_of(faces, "validation", 4)
    parts = [Part(faces, first, "finetune", "a/"), Part(faces, second, "finetune", "b/")]
    joined = table(join(tmp_path / "joined", parts, {}))
    before = table(faces)
    for row, (old, prefix) in zip(joined, [*((k, "a/") for k in first), *((k, "b/") for k in second)], strict=True):
        assert row["group"] == f"{prefix}{before[old]['group']}"
        assert row["split"] == "finetune"
        assert {name: row[name] for name in KEPT} == {name: before[old][name] for name in KEPT}


def test_of_identical_pictures_the_first_is_kept(faces: FaceSet, tmp_path: Path) -> None:
    rows = rows_of(faces, "train", 6)
    parts = [Part(faces, rows[3:], "validation", "late/"), Part(faces, rows[:4], "train")]
    joined = join(tmp_path / "joined", parts, {})
    assert len(joined) == 6  # the fourth is in both, and train comes before validation
    assert joined.info["splits"] == {"train": 4, "validation": 2}
    assert len({row["sha256"] for row in table(joined)}) == 6
    twice = join(tmp_path / "twice", [Part(faces, np.concatenate([rows, rows]), "train")], {})
    assert len(twice) == 6


def test_one_picture_with_both_labels_is_refused_and_both_are_named(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    pictures = make_folder(4)
    faces = prepare(pictures, tmp_path / "faces", split="train")
    wrong = tmp_path / "wrong"
    (wrong / "fake").mkdir(parents=True)
    (wrong / "real").mkdir()
    shutil.copy(pictures / "real" / "00002.png", wrong / "fake" / "oops.png")
    shutil.copy(pictures / "fake" / "00001.png", wrong / "fake" / "fine.png")
    shutil.copy(pictures / "real" / "00001.png", wrong / "real" / "fine.png")
    other = prepare(wrong, tmp_path / "other", split="train")
    parts = [Part(each, np.arange(len(each)), "train") for each in (faces, other)]
    with pytest.raises(LeakError) as refused:
        join(tmp_path / "joined", parts, {})
    assert "oops.png is given as fake" in refused.value.message
    assert "00002.png" in refused.value.message
    assert refused.value.hint
    assert not (tmp_path / "joined").exists()


def test_another_face_set_is_replaced_and_a_failure_leaves_it(
    faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "joined"
    first = join(place, [Part(faces, rows_of(faces, "train", 5), "train")], {})

    def broken(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(FaceSet, "pick", broken)
        with pytest.raises((DataError, OSError)):
            join(place, [Part(faces, rows_of(faces, "train", 8), "train")], {})
    assert FaceSet.open(place).fingerprint == first.fingerprint
    FaceSet.open(place).verify()
    second = join(place, [Part(faces, rows_of(faces, "train", 8), "train")], {})
    assert len(FaceSet.open(place)) == 8
    assert second.fingerprint != first.fingerprint
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
