"""Preparing: what is kept, what is left out and why, what is refused, and that there is a whole face set or none."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import picture_bytes, tiny_folder, write_picture
from faceclips import background, needs_media, save_photo, with_head
from PIL import Image

from facetell.errors import DataError, LeakError, UsageError
from facetell.faceset import writing
from facetell.faceset.table import FaceSet
from facetell.ingest import ready_crops
from facetell.ingest.prepare import open_or_prepare, prepare
from facetell.progress import Step

Make = Callable[..., Path]


def skipped(faceset: FaceSet) -> dict[str, tuple[str, str]]:
    with (faceset.path / "skipped.csv").open(newline="") as file:
        return {row["path"]: (row["reason"], row["detail"]) for row in csv.DictReader(file)}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_picture_arrives_unchanged(make_folder: Make, tmp_path: Path) -> None:
    source = make_folder(20)
    faceset = prepare(source, tmp_path / "out" / "faces")
    assert faceset.created
    assert len(faceset) == 40
    table = faceset.columns(
        ["path", "label", "sha256", "split", "width", "height", "format", "group", "source", "frame"]
    )
    for row, record in enumerate(table.to_pylist()):
        data = (source / record["path"]).read_bytes()
        assert faceset.image(row) == data
        assert record["sha256"] == hashlib.sha256(data).hexdigest()
        assert record["label"] == int(record["path"].startswith("fake"))
        assert (record["width"], record["height"], record["format"]) == (24, 20, "PNG")
        assert (record["source"], record["frame"]) == ("pictures", None)
        assert record["group"] == record["path"].removesuffix(".png")
    assert faceset.info["splits"] == {"train": 28, "validation": 6, "test": 6}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["faces"]
    faceset.verify()


def test_everything_left_out_is_listed_with_its_reason(make_folder: Make, tmp_path: Path) -> None:
    source = make_folder(10)
    good = picture_bytes(99, kind="JPEG")
    (source / "real" / "empty.png").touch()
    (source / "real" / "notes.txt").write_text("hello")
    (source / "real" / "cut.jpg").write_bytes(good[: len(good) // 2])
    (source / "fake" / "wrong_suffix.png").write_bytes(good)
    (source / "fake" / "copy.png").write_bytes((source / "fake" / "00003.png").read_bytes())
    (source / "readme.md").write_text("about")
    with (source / "fake" / "huge.png").open("wb") as file:
        file.truncate(65 * 2**20)
    faceset = prepare(source, tmp_path / "fs")
    assert {path: reason for path, (reason, _) in skipped(faceset).items()} == {
        "readme.md": "unlabelled",
        "real/empty.png": "empty",
        "real/notes.txt": "unsupported",
        "real/cut.jpg": "unreadable",
        "fake/huge.png": "unsupported",
        "fake/copy.png": "duplicate",
    }
    assert skipped(faceset)["real/cut.jpg"][1].startswith("truncated")
    assert skipped(faceset)["fake/copy.png"][1] == "duplicate of fake/00003.png"
    assert faceset.info["skipped"] == {"duplicate": 1, "empty": 1, "unlabelled": 1, "unreadable": 1, "unsupported": 2}
    assert "fake/wrong_suffix.png" in faceset.columns(["path"])["path"].to_pylist(), "type by content, not by name"
    assert len(faceset) == 21


def test_same_picture_under_two_labels(make_folder: Make, tmp_path: Path) -> None:
    source = make_folder(10)
    shutil.copy(source / "real" / "00001.png", source / "fake" / "stolen.png")
    with pytest.raises(LeakError, match=r"different labels.*fake/stolen.png \(fake\) = real/00001.png \(real\)"):
        prepare(source, tmp_path / "fs")
    assert not (tmp_path / "fs").exists()


def test_same_picture_in_two_splits(tmp_path: Path) -> None:
    source = tmp_path / "s"
    tiny_folder(source / "train", 5)
    shutil.copytree(source / "train", source / "test")
    with pytest.raises(LeakError, match=r"10 pictures are there twice.*in two splits: .*\(train\).*and 5 more"):
        prepare(source, tmp_path / "fs")


def test_group_in_two_splits(tmp_path: Path) -> None:
    source = tmp_path / "s"
    for i, path in enumerate(
        ("train/real/ann/1.png", "test/real/ann/2.png", "train/fake/bob/1.png", "test/fake/cy/1.png")
    ):
        write_picture(source / path, i)
    with pytest.raises(LeakError, match="1 group in two splits: 'ann' in train and test"):
        prepare(source, tmp_path / "fs")


def test_duplicate_with_a_split_is_the_one_kept(tmp_path: Path) -> None:
    source = tiny_folder(tmp_path / "s", 12)
    shutil.copy(source / "real" / "00000.png", source / "real" / "zz.png")
    lines = [
        f"{p.relative_to(source)},{p.parent.name},{'test' if p.name == 'zz.png' else ''}"
        for p in sorted(source.rglob("*.png"))
    ]
    (source / "index.csv").write_text("\n".join(["path,label,split", *lines]))
    faceset = prepare(source, tmp_path / "fs")
    assert skipped(faceset) == {"real/00000.png": ("duplicate", "duplicate of real/zz.png")}
    assert faceset.columns(["path"], "test")["path"].to_pylist() == ["real/zz.png"]


def test_train_and_test_folders_get_a_validation_split_out_of_train(tmp_path: Path) -> None:
    source = tmp_path / "s"
    for i in range(40):
        for label in ("real", "fake"):
            write_picture(
                source / ("test" if i % 4 == 0 else "train") / label / f"{i}.png", seed=2 * i + (label == "real")
            )
    faceset = prepare(source, tmp_path / "fs")
    assert faceset.info["splits"] == {"train": 50, "validation": 10, "test": 20}
    assert faceset.info["splits_made"]["carved_from_train"] == 10
    paths = faceset.columns(["path"], "test")["path"].to_pylist()
    assert all(path.startswith("test/") for path in paths)


def test_all_in_one_split(make_folder: Make, tmp_path: Path) -> None:
    faceset = prepare(make_folder(2), tmp_path / "fs", split="test")
    assert faceset.splits == ["test"]
    assert len(faceset) == 4
    with pytest.raises(UsageError, match="did you mean 'test'"):
        prepare(tmp_path / "pictures", tmp_path / "fs2", split="tests")


def test_one_label_or_nothing(tmp_path: Path) -> None:
    write_picture(tmp_path / "s" / "real" / "a.png")
    (tmp_path / "s" / "fake").mkdir()
    (tmp_path / "s" / "fake" / "a.png").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"no usable fake picture \(1 real, 0 fake\); left out: 1 empty, e.g. fake/a.png"
    ):
        prepare(tmp_path / "s", tmp_path / "fs")
    (tmp_path / "s" / "real" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="no usable picture; left out: 1 empty, 1 unsupported"):
        prepare(tmp_path / "s", tmp_path / "fs")


def test_second_run_leaves_the_same_face_set_alone(make_folder: Make, tmp_path: Path) -> None:
    source, out = make_folder(10), tmp_path / "fs"
    prepare(source, out)
    stamps = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    again = prepare(source, out)
    assert not again.created
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == stamps


def test_runs_are_identical_byte_for_byte(make_folder: Make, tmp_path: Path) -> None:
    source = make_folder(15)
    prepare(source, tmp_path / "a", rows_per_shard=8)
    prepare(source, tmp_path / "b", rows_per_shard=8)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert prepare(source, tmp_path / "c", seed=1).fingerprint != FaceSet.open(tmp_path / "a").fingerprint


def test_other_contents_are_never_replaced_silently(make_folder: Make, tmp_path: Path) -> None:
    source, out = make_folder(10), tmp_path / "fs"
    first = prepare(source, out)
    write_picture(source / "real" / "new.png", 777)
    with pytest.raises(DataError, match="another face set"):
        prepare(source, out)
    assert FaceSet.open(out).fingerprint == first.fingerprint
    assert len(prepare(source, out, overwrite=True)) == 21
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_folder_that_is_no_face_set_is_never_touched(make_folder: Make, tmp_path: Path) -> None:
    source, out = make_folder(10), tmp_path / "thesis"
    out.mkdir()
    (out / "thesis.tex").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(DataError, match="not a face set"):
            prepare(source, out, overwrite=overwrite)
    prepare(source, tmp_path / "fs")
    (tmp_path / "fs" / "notes.md").write_text("mine")
    with pytest.raises(DataError, match="also holds 'notes.md'"):
        prepare(source, tmp_path / "fs", overwrite=True)
    with pytest.raises(DataError, match="not a folder"):
        prepare(source, out / "thesis.tex")


def test_a_damaged_face_set_is_said_and_can_be_replaced(make_folder: Make, tmp_path: Path) -> None:
    source, out = make_folder(10), tmp_path / "fs"
    prepare(source, out)
    next(out.glob("*.parquet")).write_bytes(b"PAR1")
    with pytest.raises(DataError, match="another size"):
        prepare(source, out)
    assert prepare(source, out, overwrite=True).created


def test_source_and_target_inside_each_other(make_folder: Make, tmp_path: Path) -> None:
    source = make_folder(3)
    for out in (source, source / "fs", tmp_path):
        with pytest.raises(UsageError, match="inside each other"):
            prepare(source, out)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("at", [("reading", 3), ("writing", 5), ("writing", 17)])
def test_a_stop_at_any_moment_leaves_nothing(
    make_folder: Make, tmp_path: Path, error: type[BaseException], at: tuple[str, int]
) -> None:
    source = make_folder(10)

    def stop(step: Step) -> None:
        if (step.what, step.done) == at:
            raise error

    with pytest.raises(error):
        prepare(source, tmp_path / "fs", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
    assert prepare(source, tmp_path / "fs").created


def test_a_stop_leaves_the_old_face_set(make_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_folder(10)
    prepare(source, tmp_path / "fs")
    before = tree(tmp_path / "fs")
    write_picture(source / "real" / "new.png", 777)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing, "write_csv", fail)
    with pytest.raises(DataError, match="disk is full"):
        prepare(source, tmp_path / "fs", overwrite=True)
    assert tree(tmp_path / "fs") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fs", "pictures"]


def test_leftovers_of_a_killed_run_are_removed(make_folder: Make, tmp_path: Path) -> None:
    for left in (".fs.partial", ".fs.old"):
        (tmp_path / left).mkdir()
    (tmp_path / ".fs.lock").touch()
    (tmp_path / ".other.partial").mkdir()
    prepare(make_folder(10), tmp_path / "fs")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.partial", "fs", "pictures"], (
        "others' may be alive"
    )


def test_a_picture_that_changes_meanwhile_is_told(make_folder: Make, tmp_path: Path) -> None:
    source = make_folder(10)

    def change(step: Step) -> None:
        if step.what == "reading" and step.done == step.total:
            write_picture(source / "real" / "00004.png", 4711)

    with pytest.raises(DataError, match=r"00004.png changed while"):
        prepare(source, tmp_path / "fs", progress=change)


def test_unreadable_target(make_folder: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write"):
        prepare(make_folder(10), tmp_path / "file" / "fs")


def test_shards_and_row_groups_stay_small(make_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_folder(60)
    faceset = prepare(source, tmp_path / "a", rows_per_shard=32)
    assert [shard["rows"] for shard in faceset.info["shards"]] == [32, 32, 20, 18, 18]
    monkeypatch.setattr(writing, "ROW_GROUP_BYTES", 3000)
    monkeypatch.setattr(writing, "SHARD_BYTES", 20_000)
    small = prepare(source, tmp_path / "b")
    assert small.fingerprint == faceset.fingerprint
    for shard in small.info["shards"]:
        meta = pq.ParquetFile(small.path / shard["file"]).metadata
        assert all(meta.row_group(i).num_rows <= 4 for i in range(meta.num_row_groups))
    small.verify()
    assert [small.image(i) for i in range(120)] == [faceset.image(i) for i in range(120)]


def test_progress_counts_every_file_twice(make_folder: Make, tmp_path: Path) -> None:
    steps: list[Step] = []
    prepare(make_folder(10), tmp_path / "fs", progress=steps.append)
    calls = [(step.what, step.done, step.total) for step in steps]
    assert calls == [(what, i, 20) for what in ("reading", "writing") for i in range(1, 21)]


def test_open_or_prepare(make_folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))
    source = make_folder(10)
    first = open_or_prepare(source)
    monkeypatch.setattr(ready_crops, "_look_at", lambda path: pytest.fail("read again"))
    assert open_or_prepare(source).path == first.path
    assert open_or_prepare(first.path).fingerprint == first.fingerprint, "a face set is opened as it is"
    monkeypatch.undo()
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))
    write_picture(source / "real" / "new.png", 777)
    assert len(open_or_prepare(source)) == 21
    one, other = (source / "real" / f"{name}.bmp" for name in ("one", "other"))
    for number, path in enumerate((one, other)):
        Image.new("RGB", (24, 20), (number, 0, 0)).save(path)
    found = open_or_prepare(source)
    times = one.stat()
    one.write_bytes(other.read_bytes())
    os.utime(one, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert open_or_prepare(source).fingerprint != found.fingerprint, "of the same size and time, as some copies make it"
    one.unlink()
    other.unlink()
    assert len(open_or_prepare(source, split="test").rows("test")) == 21


def test_info_says_how_it_was_made(make_folder: Make, tmp_path: Path) -> None:
    prepare(make_folder(10), tmp_path / "fs", seed=5)
    info = json.loads((tmp_path / "fs" / "faceset.json").read_text())
    assert (info["format"], info["version"], info["seed"], info["rows"]) == ("facetell.faceset", 2, 5, 20)
    assert info["counts"]["train"] == {"real": {"pictures": 7}, "fake": {"pictures": 7}}
    assert info["splits_made"]["fractions"] == {"train": 0.7, "validation": 0.15, "test": 0.15}


PEAK = """
import resource, sys
from pathlib import Path
from facetell.ingest.prepare import prepare
prepare(Path(sys.argv[1]), Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_whole_photos_taken_as_crops_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    needs_media()
    for folder in ("crops", "photos"):
        for number in range(8):
            photo = with_head(background(number, 320, 240), 60, 60, 120, gain=0.7 + number / 20)
            picture = photo[85:155, 85:155] if folder == "crops" else photo
            save_photo(tmp_path / folder / ("real", "fake")[number % 2] / f"{number}.png", picture)
        caplog.clear()
        prepare(tmp_path / folder, tmp_path / f"{folder}-set")
        assert ("--faces find" in caplog.text) == (folder == "photos")
    assert "of 8 looked at, 8 show smaller faces or several, and 0 show no face" in caplog.text
    caplog.clear()
    prepare(tmp_path / "photos", tmp_path / "as-they-are", faces="crops")
    assert not caplog.text


@pytest.mark.slow
def test_ten_times_the_pictures_need_no_more_memory(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(100_000)
    picture = picture_bytes(0, (64, 64), "JPEG")
    peaks = []
    for n in (60, 600):
        for label in ("real", "fake"):
            folder = tmp_path / str(n) / label
            folder.mkdir(parents=True)
            for i in range(n // 2):  # bytes after the end of a JPEG are ignored: 100 kB each, 60 MB in all
                (folder / f"{i}.jpg").write_bytes(picture + noise + f"{label}{i}".encode())
        done = subprocess.run(
            [sys.executable, "-c", PEAK, tmp_path / str(n), tmp_path / f"fs{n}"],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.1 * peaks[0]
