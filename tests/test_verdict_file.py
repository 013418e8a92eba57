"""Going on with a file of verdicts: what is judged again, what is kept, and what a kill leaves."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from faceclips import needs_media, save_clip, walk
from inline import judge_here, worked
from test_judge import run

from facetell.detector.many import Judging
from facetell.detector.verdict import FileStamp, Verdict
from facetell.detector.verdict_file import VerdictFile, latest_lines
from facetell.errors import UsageError
from facetell.media.frame_choice import All
from facetell.media.walk import find_files

needs_media()

Detect = Callable[..., list[dict[str, object]]]


@pytest.fixture
def detect(fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Detect:
    """Run the command with ``-o``; gives the lines there are then. ``code`` is the exit code that is expected."""
    judge_here(monkeypatch)

    def call(*arguments: object, code: int = 0, out: str = "verdicts.jsonl") -> list[dict[str, object]]:
        worked.clear()
        found, shown, err = run(capsys, "detect", fitted, *arguments, "--faces", "crops", "-o", tmp_path / out)
        assert (found, shown) == (code, ""), err
        lines = [json.loads(line) for line in (tmp_path / out).read_text().splitlines()]
        assert len({line["path"] for line in lines}) == len(lines)
        return lines

    return call


@pytest.fixture
def pictures(faces: object, shared: Callable[..., Path], tmp_path: Path) -> list[Path]:
    """Three crops of the toy face set."""
    source = shared("toy", lambda _: None) / "pictures"
    copies = []
    for number, name in enumerate(("train-0-real.png", "train-0-fake.png", "train-1-real.png")):
        copies.append(tmp_path / "in" / f"{number}.png")
        copies[-1].parent.mkdir(exist_ok=True)
        copies[-1].write_bytes((source / name).read_bytes())
    return copies


def test_what_was_missing_or_half_there_is_judged_when_it_is_whole(detect: Detect, pictures: list[Path]) -> None:
    first, second, _ = pictures
    data = first.read_bytes()
    first.unlink()
    second.write_bytes((whole := second.read_bytes())[:40])
    lines = detect(first, second, code=6)
    assert [line["status"] for line in lines] == ["missing", "unreadable"]
    assert detect(first, second, code=6) == lines
    assert worked == [str(first), str(second)], "what has no decision is tried each time"
    first.write_bytes(data)
    second.write_bytes(whole)
    lines = detect(first, second)
    assert [line["decision"] is None for line in lines] == [False, False]
    for line, content in zip(lines, (data, whole), strict=True):
        assert line["file"]["bytes"] == len(content)  # type: ignore[index]
        assert line["file"]["sha256"] == hashlib.sha256(content).hexdigest()  # type: ignore[index]
    assert detect(first, second) == lines
    assert worked == []


@pytest.mark.parametrize("change", ["size", "time", "content"])
def test_another_file_in_the_place_of_one_is_judged(detect: Detect, pictures: list[Path], change: str) -> None:
    one, other, third = pictures
    before = detect(one, other)
    status = one.stat()
    content = one.read_bytes() if change == "time" else third.read_bytes()
    if change == "content":  # of the same length, with the time of the one before: rsync --times, cp --preserve
        length = max(len(content), len(one.read_bytes()))
        one.write_bytes(one.read_bytes().ljust(length, b"\0"))
        os.utime(one, ns=(status.st_atime_ns, status.st_mtime_ns))
        before = detect(one, other)
        content = content.ljust(length, b"\0")
    one.write_bytes(content)
    os.utime(one, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9 * (change == "time")))
    after = detect(one, other)
    assert worked == [str(one)]
    assert [line["path"] for line in after] == [str(one), str(other)], "in the place of the old line"
    assert after[1] == before[1]
    same = after[0]["score"] == pytest.approx(before[0]["score"], abs=1e-7)
    assert same == (change == "time")


def test_what_is_the_same_file_is_not_judged_again(detect: Detect, pictures: list[Path]) -> None:
    lines = detect(*pictures)
    pictures[0].chmod(0o600)  # its status has changed, and not its content
    pictures[1].unlink()  # what is gone is no other file: the verdict on it stays
    assert detect(*pictures) == lines
    assert worked == []


@pytest.mark.parametrize("setting", [["--prevalence", 0.1], ["--frames", 4], ["--face-model", "centerface"]])
def test_other_settings_judge_again(detect: Detect, pictures: list[Path], setting: list[object]) -> None:
    before = detect(*pictures)
    after = detect(pictures[0], *setting)
    assert worked == [str(pictures[0])]
    assert after[0]["settings"] != before[0]["settings"]
    assert after[1:] == before[1:], "those that were not asked for stay"


def test_settings_are_all_that_decides(fitted: Path, tmp_path: Path) -> None:
    """Hashes differ for each, a face model's by its content; where it is computed is no part of them."""
    (model := tmp_path / "faces.onnx").write_bytes(b"one")
    plain = Judging(str(fitted))
    changes = [("at", "strict"), ("prevalence", 0.1), ("faces", "find"), ("frames", All()), ("face_model", "mtcnn"),
               ("face_model", str(model))]  # fmt: skip
    others = [replace(plain, **{name: value}) for name, value in changes]
    found = {each.settings() for each in [plain, *others]}
    model.write_bytes(b"two")
    assert len(found | {others[-1].settings()}) == 8
    assert replace(plain, device="cpu").settings() == plain.settings()


def test_pictures_of_verdicts_are_drawn_later_and_never_judged(
    detect: Detect, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], fitted: Path
) -> None:
    inbox = tmp_path / "in"
    save_clip(inbox / "clip.mp4", walk(1, 4))
    (inbox / "mine-0a1b2c3d.jpg").write_bytes(pictures[0].read_bytes())  # called as a drawing is
    lines = detect(inbox)
    assert {Path(str(line["path"])).name for line in lines} == {
        "0.png", "1.png", "2.png", "clip.mp4", "mine-0a1b2c3d.jpg",
    }  # fmt: skip
    drawn = detect(inbox, "--annotate", inbox / "drawn")
    assert len(worked) == 5, "their pictures are not there"
    names = {name for line in drawn for name in line["pictures"]}  # type: ignore[attr-defined]
    assert names == {path.name for path in (inbox / "drawn").iterdir()}
    assert {path.suffix for path in (inbox / "drawn").iterdir()} >= {".jpg", ".mp4"}
    assert detect(inbox, "--annotate", inbox / "drawn") == drawn
    assert worked == []
    assert detect(inbox) == drawn, "and not without --annotate either"
    (inbox / "drawn" / drawn[0]["pictures"][0]).unlink()  # type: ignore[index]
    detect(inbox, "--annotate", inbox / "drawn")
    assert worked == [drawn[0]["path"]]
    code, _, err = run(capsys, "detect", fitted, inbox / "drawn")
    assert code == 3
    assert f"left out: {len(names)} pictures of verdicts" in err
    assert "no file to judge" in err


def test_an_empty_folder_among_others_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "photo.jpg").touch()
    with caplog.at_level("INFO", "facetell"):
        assert list(find_files([tmp_path / "a", tmp_path / "b"])) == [tmp_path / "b" / "photo.jpg"]
    assert caplog.messages == [f"{tmp_path / 'a'} holds no file"]


def test_after_a_kill_the_later_line_counts(tmp_path: Path) -> None:
    """As a kill between a new line and putting in order leaves it; and one within a line."""
    out = tmp_path / "verdicts.jsonl"
    odd = ['a "b", "status": c', "b\udcff", "c\\"]
    texts = [json.dumps(Verdict(path, "missing").as_dict()) for path in odd]
    texts.append(json.dumps(Verdict(odd[0], "real", decision="real", settings="s").as_dict()))
    out.write_text("\n".join(texts) + '\n{"path": "torn')
    assert [number for number, _ in latest_lines(out)] == [2, 3, 4, 5]
    VerdictFile(out).close()
    assert out.read_text().splitlines() == [texts[3], texts[1], texts[2]]
    out.write_text("\n".join(texts[:2]) + "\nnonsense\n")
    with pytest.raises(UsageError, match="line 3 is no verdict"):
        VerdictFile(out)


def test_lines_that_another_program_has_written_again_are_read(tmp_path: Path) -> None:
    out, photo = tmp_path / "verdicts.jsonl", tmp_path / "photo.jpg"
    photo.write_bytes(b"pixels")
    stamp = FileStamp.of(photo.stat(), photo)
    verdict = Verdict(str(photo), "real", decision="real", settings="s", file=stamp)
    out.write_text(json.dumps(verdict.as_dict(), sort_keys=True, separators=(",", ":")) + "\n")
    file = VerdictFile(out)
    assert file.holds(str(photo), "s")
    assert not file.holds(str(photo), "t")
    file.close()


@pytest.mark.slow
def test_many_lines_are_quick(tmp_path: Path) -> None:
    """Half a million take some ten seconds."""
    out, count = tmp_path / "verdicts.jsonl", 50_000
    (photo := tmp_path / "photo.jpg").write_bytes(b"pixels")
    verdict = Verdict("@", "real", decision="real", settings="s", file=FileStamp.of(photo.stat(), photo))
    before, after = json.dumps(verdict.as_dict()).split("@")
    out.write_text("".join(f"{before}{photo}?{i}{after}\n" for i in range(count)))
    began = time.process_time()
    file = VerdictFile(out)
    file.add(replace(verdict, path=f"{photo}?7", score=0.5))
    assert sum(file.holds(f"{photo}?{i}", "s") for i in range(count)) == count
    file.close()
    assert time.process_time() - began < 10
    assert out.read_bytes().count(b"\n") == count


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's disk that is always full")
def test_a_device_is_no_file_of_verdicts() -> None:
    """Reading that one gives zeros for ever."""
    with pytest.raises(UsageError, match="/dev/full is not a regular file"):
        VerdictFile(Path("/dev/full"))
