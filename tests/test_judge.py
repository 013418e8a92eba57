"""A verdict on photos and clips: every status, every way to ask, what is written, and going on after a kill."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import sys
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

import inline
import numpy as np
import pytest
from faceclips import background, needs_media, portrait, save_clip, save_photo, two_people, walk, with_head
from PIL import Image
from schema import errors

import facetell
from facetell.cli.main import main
from facetell.declared.declared import Claim, Credentials, Declared
from facetell.detector import many
from facetell.detector import verdict as verdicts
from facetell.detector.judge import Judge
from facetell.detector.verdict import STATUSES, FaceVerdict, FileStamp, TrackVerdict, Verdict
from facetell.errors import BundleError, UsageError
from facetell.media.frame_choice import All, Spread
from facetell.media.frames import frames
from facetell.media.limits import Limits
from facetell.media.walk import find_files
from facetell.pixels.decode import read_picture
from facetell.reporting.annotate import annotate, annotated_names

needs_media()

SCHEMA = json.loads((Path(verdicts.__file__).parent / "verdict.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def bundles(fitted: Path, found_faces: Path) -> dict[str, Path]:
    """Two detectors: of ready crops, and of faces that were found."""
    return {"crops": fitted, "found": found_faces}


@pytest.fixture(scope="module")
def found(bundles: dict[str, Path]) -> facetell.Detector:
    return facetell.Detector.load(bundles["found"], "cpu")


@pytest.fixture(scope="module")
def ready(bundles: dict[str, Path]) -> facetell.Detector:
    return facetell.Detector.load(bundles["crops"], "cpu")


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file for each status."""
    root = tmp_path_factory.mktemp("inbox")
    save_photo(root / "photo.png", portrait(50))
    save_photo(root / "nobody.png", background(51))
    save_photo(root / "far.png", with_head(background(52), 20, 20, 50))
    blurred = Image.fromarray(portrait(53, 400, 400, 380)).resize((24, 24)).resize((400, 400))
    save_photo(root / "blurred.png", np.asarray(blurred))
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff" + bytes(100))
    (root / "notes.txt").write_text("nothing to see")
    data = (root / "photo.png").read_bytes()
    (root / "cut.png").write_bytes(data[: len(data) * 95 // 100])
    save_clip(root / "clip.mp4", walk(54, 12))
    save_clip(root / "cut.ts", walk(55, 12))
    data = save_clip(root / "whole.mkv", walk(55, 40, width=300)).read_bytes()
    (root / "cut.mkv").write_bytes(data[: len(data) * 3 // 4])
    save_clip(root / "pair.mp4", two_people(56, 12))
    return root


def run(capsys: pytest.CaptureFixture[str], *arguments: object, stdin: bytes | None = None) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        if stdin is not None:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Judge in this process, which is quick; gives the paths that were judged."""

    def here(*arguments: Any, **options: Any) -> Any:
        many._Worker.judge = None  # it may be of another detector
        return inline.here(*arguments, **options)

    inline.worked.clear()
    monkeypatch.setattr(many, "guarded_map", here)
    return inline.worked


@pytest.mark.slow
def test_every_status_is_reached(found: facetell.Detector, inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = {path.name: found.detect(path).status for path in sorted(inbox.iterdir())}
    decided = {name: status.pop(name) for name in ("photo.png", "clip.mp4", "pair.mp4", "whole.mkv", "cut.ts")}
    assert set(decided.values()) <= {"fake", "real"}
    assert status == {
        "nobody.png": "no_face",
        "far.png": "face_too_small",
        "blurred.png": "unsure",
        "broken.jpg": "unreadable",
        "notes.txt": "unsupported",
        "cut.png": "truncated",
        "cut.mkv": "truncated",
    }
    assert found.detect(inbox / "nothing.png").status == "missing"
    photo = found.detect(inbox / "photo.png")
    assert photo.score is not None
    for threshold, word in ((photo.score, "fake"), (float(np.nextafter(photo.score, 2)), "real")):
        with monkeypatch.context() as patch:
            patch.setattr(found, "_deciders", (dataclasses.replace(found.decider, threshold=threshold),) * 2)
            verdict = found.detect(inbox / "photo.png")
        assert (verdict.status, verdict.decision, verdict.threshold) == (word, word, threshold)
    assert {*status.values(), "fake", "real", "missing"} == set(STATUSES) - {"uncalibrated"}


def test_what_is_there_of_a_truncated_file_is_judged(found: facetell.Detector, inbox: Path) -> None:
    picture, video = found.detect(inbox / "cut.png"), found.detect(inbox / "cut.mkv")
    assert picture.decision in ("fake", "real")
    assert "of the picture is missing" in (picture.reason or "")
    assert video.decision in ("fake", "real")
    assert "truncated: ends after" in (video.reason or "")
    assert video.frames


def test_a_file_is_judged_by_the_rule(found: facetell.Detector, inbox: Path) -> None:
    verdict = found.detect(inbox / "clip.mp4", frames=Spread(4))
    assert [face.frame for face in verdict.faces] == [1, 4, 7, 10]
    assert verdict.frames == 4
    assert verdict.seconds == pytest.approx(1.2, abs=0.01)
    temperature = found.decider.curve.temperature
    logits = [temperature * np.log(face.score / (1 - face.score)) for face in verdict.faces]
    expected = 1 / (1 + np.exp(-np.mean(logits) / found.video_decider.curve.temperature))
    assert verdict.score == pytest.approx(expected, abs=1e-5)
    (track,) = verdict.tracks
    assert (track.faces, track.start, track.end) == (4, verdict.faces[0].time, verdict.faces[-1].time)
    assert track.score == verdict.score


def test_faces_are_cut_as_in_training(found: facetell.Detector, inbox: Path) -> None:
    """The crop is the recorded one, at the detector's size: its logit by hand is the verdict's."""
    from facetell.faces.centerface import CenterFace
    from facetell.faces.crop import CropGeometry, crop
    from facetell.pixels.decode import resize

    pixels = read_picture((inbox / "photo.png").read_bytes()).pixels
    (face,) = CenterFace().detect(pixels)
    geometry = CropGeometry.from_dict(found.description["input"]["crop"]["geometry"])
    logits = found.logits(resize(crop(pixels, face, geometry), found.size)[None])
    assert found.detect(inbox / "photo.png").score == pytest.approx(float(found.scores(logits)[0]), abs=1e-5)


def test_two_people_are_two_tracks(found: facetell.Detector, inbox: Path) -> None:
    verdict = found.detect(inbox / "pair.mp4", frames=All())
    assert [track.track for track in verdict.tracks] == [0, 1]
    assert [track.faces for track in verdict.tracks] == [12, 12]
    for face in verdict.faces:
        assert face.box is not None
        assert face.track == int(face.box[0] > 160), "left is 0, right is 1"
    assert verdict.corrected_for == 8, "by what was measured on faces, a track with stretches is four"
    assert verdict.logit is not None
    assert verdict.logit < max(track.logit for track in verdict.tracks)


def test_the_faces_of_a_photo_are_shown_alone_and_the_photo_is_corrected(
    found: facetell.Detector, tmp_path: Path
) -> None:
    photo, drawn = save_photo(tmp_path / "two.png", two_people(3, 1)[0]), tmp_path / "drawn"
    verdict = found.detect(photo)
    assert (len(verdict.faces), verdict.corrected_for) == (2, 2)
    assert [track.logit for track in verdict.tracks] == [face.logit for face in verdict.faces]
    assert verdict.logit is not None
    assert verdict.logit < max(face.logit for face in verdict.faces)
    (picture,) = annotate(verdict, drawn)
    (alone,) = annotate(dataclasses.replace(verdict, corrected_for=1), tmp_path / "alone")
    assert np.asarray(Image.open(picture)).tolist() != np.asarray(Image.open(alone)).tolist(), "the file has a line"


def same(one: Verdict, other: Verdict) -> None:
    """Equal but for the path, and for what batches of another size do to the last digits."""
    first, second = one.as_dict(), other.as_dict()
    for each in (first, second):
        del each["path"], each["settings"], each["file"]
    for number in ("score", "logit"):
        assert first.pop(number) == pytest.approx(second.pop(number), abs=1e-6)
    for name in ("faces", "tracks"):
        for a, b in zip(first[name], second[name], strict=True):
            for number in ("score", "logit"):
                assert a.pop(number) == pytest.approx(b.pop(number), abs=1e-6)
    assert first == second


@pytest.mark.parametrize("mode", ["auto", "find", "crops"])
def test_path_picture_and_array_get_one_verdict(found: facetell.Detector, inbox: Path, mode: str) -> None:
    path = inbox / "photo.png"
    by_path = found.detect(path, faces=mode)
    with Image.open(path) as image:
        same(found.detect(image, faces=mode), by_path)
        same(found.detect(np.asarray(image), faces=mode), by_path)
    same(found.detect(str(path), faces=mode), by_path)


@pytest.mark.slow
def test_workers_give_the_same_verdicts(bundles: dict[str, Path], found: facetell.Detector, inbox: Path) -> None:
    for number in (1, 2):
        for verdict in facetell.detect(bundles["found"], [inbox], workers=number, device="cpu"):
            same(verdict, found.detect(verdict.path))


def test_an_array_that_is_no_picture(found: facetell.Detector) -> None:
    with pytest.raises(UsageError, match="is no picture"):
        found.detect(np.zeros((4, 4), np.float32))


def test_crops_find_auto(found: facetell.Detector, ready: facetell.Detector, inbox: Path, tmp_path: Path) -> None:
    photo, close = inbox / "photo.png", save_photo(tmp_path / "close.png", portrait(60, 120, 120, 120)[25:95, 25:95])
    for detector in (found, ready):
        (whole,) = detector.detect(photo, faces="crops").faces
        assert (whole.box, whole.used) == (None, True)
        (face,) = detector.detect(photo, faces="find").faces
        assert face.box is not None
        assert detector.detect(inbox / "nobody.png", faces="crops").judged
        assert detector.detect(inbox / "nobody.png", faces="find").status == "no_face"
        (face, *_) = detector.detect(inbox / "clip.mp4", faces="crops").faces
        assert face.box is not None, "in a video faces are always looked for"
    # A detector of found faces looks for them. One of crops does so where the picture is no crop.
    assert found.detect(close).faces[0].box is not None
    assert found.detect(inbox / "nobody.png").status == "no_face"
    assert ready.detect(photo).faces[0].box is not None
    assert ready.detect(close).faces[0].box is None
    strip = background(61, 800, 70)
    strip[:, 300:370] = np.asarray(Image.open(close))
    for long in (strip, np.ascontiguousarray(strip.transpose(1, 0, 2))[:, ::-1]):  # a scan, and one on its side
        box = ready.detect(np.ascontiguousarray(long)).faces[0].box
        assert box is not None, "a face as high as a strip does not fill it"
    nobody = ready.detect(inbox / "nobody.png")
    assert (nobody.status, nobody.faces) == ("no_face", [])
    assert "--faces crops" in (nobody.reason or "")
    with pytest.raises(UsageError, match="unknown choice of faces"):
        found.detect(photo, faces="all")


@pytest.mark.parametrize(
    ("recorded", "given", "said"),
    [
        ({"model": "mtcnn"}, None, "needs the package facenet-pytorch"),
        ({"model": "yunet"}, None, "found by yunet, which is a file of its own"),
        ({"model_fingerprint": "0" * 64}, None, "another face detector than the centerface of training"),
        ({"model": "yunet"}, "centerface", ""),
    ],
)
def test_faces_are_found_as_in_training_or_not_at_all(
    bundles: dict[str, Path], inbox: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    recorded: dict[str, str], given: str | None, said: str,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)
    detector = facetell.Detector.load(bundles["found"], "cpu")
    detector.description["input"]["crop"].update({"model_fingerprint": "0" * 64} | recorded)
    if said:
        with pytest.raises(UsageError, match=said):
            detector.detect(inbox / "photo.png", face_model=given)
    else:
        assert detector.detect(inbox / "photo.png", face_model=given).judged
        assert "another face detector" in caplog.text, "whoever asks for another one gets it, and is told"


def test_what_shows_no_face_that_can_be_judged_gets_no_decision(ready: facetell.Detector) -> None:
    crowd = background(61, 640, 480)
    for number in range(12):
        crowd = with_head(crowd, 20 + 150 * (number % 4), 20 + 150 * (number // 4), 36)
    for pixels, status in (
        (crowd, "face_too_small"),
        (np.zeros((480, 640, 3), np.uint8), "no_face"),
        (np.zeros((1, 1, 3), np.uint8), "no_face"),
        (background(62, 800, 600), "no_face"),
    ):
        verdict = ready.detect(pixels)
        assert (verdict.status, verdict.decision, verdict.score) == (status, None, None)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_picture_on_its_side_is_judged_as_its_twin(
    found: facetell.Detector, ready: facetell.Detector, tmp_path: Path, turn: int
) -> None:
    upright = portrait(63, 240, 160)
    lying = save_photo(tmp_path / "lying.png", np.rot90(upright, turn // 90))
    for detector in (found, ready):
        twin, verdict = detector.detect(upright), detector.detect(lying)
        assert (twin.turned, verdict.turned) == (0, turn)
        assert verdict.faces[0].box == twin.faces[0].box
        assert verdict.logit == pytest.approx(twin.logit, abs=1e-6)
    (drawn,) = annotate(verdict, tmp_path / "drawn")
    with Image.open(drawn) as image:
        assert image.size == (240, 160)


def test_a_clip_on_its_side_is_judged_as_its_twin(found: facetell.Detector, tmp_path: Path) -> None:
    frames_ = [np.zeros((160, 240, 3), np.uint8)] * 2 + walk(64, 8, 240, 160)
    upright = found.detect(save_clip(tmp_path / "up.mkv", frames_, codec="ffv1", options={}), frames=All())
    clip = save_clip(tmp_path / "side.mkv", [np.rot90(each).copy() for each in frames_], codec="ffv1", options={})
    verdict = found.detect(clip, frames=All())
    assert (upright.turned, verdict.turned, verdict.frames) == (0, 90, upright.frames)
    assert "turned by 90°" in (verdict.note or "")
    assert [face.frame for face in verdict.faces] == [face.frame for face in upright.faces]
    assert verdict.logit == pytest.approx(upright.logit, abs=0.05)
    assert len(annotate(verdict, tmp_path / "drawn")) >= 2
    nobody = found.detect(save_clip(tmp_path / "nobody.mp4", [background(k, 240, 160) for k in range(5)]))
    assert (nobody.status, nobody.turned, nobody.frames) == ("no_face", 0, 5)


# --- the command


@pytest.mark.slow
@pytest.mark.usefixtures("one_process")
def test_lines_are_as_the_schema_says(
    capsys: pytest.CaptureFixture[str], bundles: dict[str, Path], inbox: Path
) -> None:
    lines = []
    for bundle in bundles.values():
        code, out, _ = run(capsys, "detect", bundle, inbox, inbox / "nothing.png", "--json", "--frames", 4)
        assert code == 6
        lines += [json.loads(line) for line in out.splitlines()]
    assert len(lines) == 2 * (len(list(inbox.iterdir())) + 1)
    for line in lines:
        assert list(errors(line, SCHEMA, SCHEMA)) == [], line["path"]
        assert line["facetell"] == facetell.__version__
    assert {line["detector"] for line in lines if line["path"].endswith("photo.png")} != {""}
    for wrong in ({"status": "empty"}, {"score": 1.1}, {"frames": True}, {"more": 1}, {"faces": [{}]}, {"box": None}):
        assert list(errors({**lines[0], **wrong}, SCHEMA, SCHEMA)), wrong
    del lines[0]["note"]
    assert list(errors(lines[0], SCHEMA, SCHEMA)) == ["$: note is missing"]


def test_the_schema_has_the_fields_and_types_of_the_classes() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["properties"]["status"]["enum"] == list(STATUSES)
    words = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
    for schema, kind in (
        (SCHEMA, Verdict),
        (SCHEMA["$defs"]["face"], FaceVerdict),
        (SCHEMA["$defs"]["track"], TrackVerdict),
        (SCHEMA["properties"]["file"], FileStamp),
    ):
        hints = get_type_hints(kind)
        assert set(schema["properties"]) == set(hints)
        assert set(hints) - set(schema["required"]) <= {"facetell"}, "earlier versions wrote lines without it"
        assert schema["additionalProperties"] is False
        for name, hint in hints.items():
            said = schema["properties"][name]
            parts = get_args(hint) if type(hint) is UnionType else (hint,)
            expected = {words.get(part, "object" if dataclasses.is_dataclass(part) else "array") for part in parts}
            if "enum" in said:
                found = {words[type(value)] for value in said["enum"]}
            else:
                found = {said["type"]} if isinstance(said["type"], str) else set(said["type"])
            assert found == expected, name
    declared = SCHEMA["properties"]["declared"]
    for schema, kind in (
        (declared, Declared),
        (declared["properties"]["credentials"], Credentials),
        (SCHEMA["$defs"]["claim"], Claim),
    ):
        assert set(schema["properties"]) == set(schema["required"]) == set(get_type_hints(kind))
        assert schema["additionalProperties"] is False


@pytest.mark.slow
def test_stdin_patterns_and_folders(
    capsys: pytest.CaptureFixture[str], bundles: dict[str, Path], inbox: Path, tmp_path: Path, one_process: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = tmp_path / "in"
    for name in ("a b.png", "deep/er/c.png", ".hidden.png", "ü.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((inbox / "photo.png").read_bytes())
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png"))
    odd.write_bytes((inbox / "photo.png").read_bytes())
    (folder / "link").symlink_to(folder / "deep")
    (folder / "deep" / "up").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    names = ["in/a b.png", "in/ü.png", os.fsdecode(b"in/\xff.png"), "in/deep/er/c.png", "in/link/er/c.png"]

    code, out, _ = run(capsys, "detect", bundles["found"], "in", "--json")
    assert code == 0
    assert [json.loads(line)["path"] for line in out.splitlines()] == one_process == names
    one_process.clear()
    (folder / "deep" / "up").unlink()
    run(capsys, "detect", bundles["found"], "in/*.png", "in/**/c.png", "nowhere/*.jpg", "--json")
    assert one_process == [*names, "nowhere/*.jpg"]
    one_process.clear()
    listed = b"in/a b.png\r\n\nin/\xff.png\nin/deep\n"
    code, out, _ = run(capsys, "detect", bundles["found"], "-", "--json", stdin=listed)
    assert one_process == [names[0], names[2], names[3]]
    code, out, _ = run(capsys, "detect", bundles["found"], odd)
    assert code == 0
    assert "\\udcff" in out


def test_a_name_that_no_file_can_have(found: facetell.Detector) -> None:
    for name in ("x" * 5000, "a\0b"):
        (path,) = find_files([name])
        assert found.detect(path).status in ("missing", "unreadable")


@pytest.mark.slow
def test_an_interrupted_run_goes_on(
    capsys: pytest.CaptureFixture[str], bundles: dict[str, Path], inbox: Path, tmp_path: Path, one_process: list[str]
) -> None:
    out = tmp_path / "new" / "verdicts.jsonl"
    paths = [inbox / name for name in ("photo.png", "far.png", "nobody.png")]
    code, shown, _ = run(capsys, "detect", bundles["found"], *paths, "-o", out)
    assert (code, shown) == (6, "")
    whole = out.read_bytes()
    assert [json.loads(line)["path"] for line in whole.splitlines()] == [str(path) for path in paths]
    # As a kill leaves it: two lines and half of the third.
    lines = whole.splitlines(keepends=True)
    for torn in (b"", lines[2][:40], lines[2][:-1]):
        out.write_bytes(lines[0] + lines[1] + torn)
        one_process.clear()
        _, _, err = run(capsys, "detect", bundles["found"], *paths, "-o", out)
        assert one_process == [str(path) for path in paths[1:]], "the second had no decision"
        assert "1 were judged before" in err
        assert out.read_bytes() == whole
    one_process.clear()
    out.write_bytes(lines[0] + b"nonsense\n")
    code, _, err = run(capsys, "detect", bundles["found"], *paths, "-o", out)
    assert code == 2
    assert "line 2 is no verdict" in err
    code, _, err = run(capsys, "detect", bundles["found"], *paths, "-o", tmp_path)
    assert (code, "is not a regular file" in err) == (2, True)
    assert one_process == []


def test_the_list_of_verdicts_is_not_judged(
    capsys: pytest.CaptureFixture[str], bundles: dict[str, Path], inbox: Path, tmp_path: Path, one_process: list[str]
) -> None:
    (tmp_path / "a.png").write_bytes((inbox / "photo.png").read_bytes())
    for _ in range(2):
        code, _, _ = run(capsys, "detect", bundles["found"], tmp_path, "-o", tmp_path / "verdicts.jsonl")
        assert code == 0
    assert one_process == [str(tmp_path / "a.png")]


def test_patterns_in_a_folder_with_brackets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("clips [HD]/x.jpg", "clips [HD]/deep/y.jpg", "a1.jpg", "a2.jpg", "a[1].jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    for pattern, expected in (
        ("clips [HD]/*.jpg", ["clips [HD]/x.jpg"]),
        ("clips [HD]/**/*.jpg", ["clips [HD]/deep/y.jpg", "clips [HD]/x.jpg"]),
        ("a[12].jpg", ["a1.jpg", "a2.jpg"]),
        ("a[1].jpg", ["a[1].jpg"]),
        ("no [HD]/*.jpg", ["no [HD]/*.jpg"]),
    ):
        assert [str(path) for path in find_files([pattern])] == expected


def test_nothing_to_judge_is_said(capsys: pytest.CaptureFixture[str], bundles: dict[str, Path], tmp_path: Path) -> None:
    code, out, err = run(capsys, "detect", bundles["crops"], tmp_path)
    assert (code, out) == (3, "")
    assert "no file to judge" in err
    code, out, err = run(capsys, "detect", bundles["crops"], "-", stdin=b"\n")
    assert (code, out, err) == (0, "", "no file is listed on standard input\n")


def test_a_detector_that_is_none_is_said_even_without_files(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        list(facetell.detect(tmp_path / "nowhere", [tmp_path]))


# --- pictures of verdicts


def test_pictures_of_a_clip(found: facetell.Detector, inbox: Path, tmp_path: Path) -> None:
    verdict = found.detect(inbox / "pair.mp4", frames=Spread(6))
    written = annotate(verdict, tmp_path)
    names = annotated_names(verdict.path)
    assert sorted(path.name for path in written) == sorted(names[kind] for kind in ("strip", "clip", "plot"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in written)
    shown, source = (list(frames(path, All(), Limits())) for path in (tmp_path / names["clip"], inbox / "pair.mp4"))
    assert [frame.time for frame in shown] == pytest.approx([frame.time for frame in source], abs=1e-3)
    assert shown[0].pixels.shape == source[0].pixels.shape
    with Image.open(tmp_path / names["strip"]) as strip:
        assert strip.size == (4 * 320 + 3 * 4, 2 * 120 + 4)
    with Image.open(tmp_path / names["plot"]) as plot:
        assert min(plot.size) > 300
    # A box is where the face is: the frame differs from its source along the edge, and hardly in the middle.
    face = verdict.faces[0]
    assert face.box is not None
    left, top, width, height = (round(value) for value in face.box)
    frame = next(i for i, one in enumerate(source) if one.index == face.frame)
    change = np.abs(shown[frame].pixels.astype(int) - source[frame].pixels).mean(axis=2)
    middle = change[top + height // 4 : top + height * 3 // 4, left + width // 4 : left + width * 3 // 4]
    edge = change[top + height // 4 : top + height * 3 // 4, left - 1 : left + 2]
    assert edge.max(axis=1).mean() > 4 * middle.mean()


def test_a_box_goes_with_its_face(found: facetell.Detector, tmp_path: Path) -> None:
    leaves = [*walk(57, 20)[:10], *(background(57) for _ in range(10))]
    verdict = found.detect(save_clip(tmp_path / "leaves.mp4", leaves), frames=Spread(10))
    assert [face.frame for face in verdict.faces] == [1, 3, 5, 7, 9]
    annotate(verdict, tmp_path)
    shown = list(frames(tmp_path / annotated_names(verdict.path)["clip"], All(), Limits()))
    change = [np.abs(one.pixels.astype(int) - leaf).max() for one, leaf in zip(shown, leaves, strict=True)]
    assert min(change[1:12]) > 80
    assert max(change[13:]) < 60


def test_picture_of_a_photo(found: facetell.Detector, inbox: Path, tmp_path: Path) -> None:
    (path,) = annotate(found.detect(inbox / "photo.png"), tmp_path)
    with Image.open(path) as image:
        assert (image.format, image.size) == ("JPEG", (160, 120))


@pytest.mark.slow
def test_the_command_writes_pictures(
    capsys: pytest.CaptureFixture[str], bundles: dict[str, Path], inbox: Path, tmp_path: Path, one_process: list[str]
) -> None:
    run(capsys, "detect", bundles["found"], inbox, "--annotate", tmp_path / "drawn", "--frames", 2)
    drawn = {path.name for path in (tmp_path / "drawn").iterdir()}
    for path in one_process:
        names = annotated_names(path)
        kind = "video" if path.endswith((".mp4", ".ts", ".mkv")) else "picture"
        expected = {"video": {"strip", "clip", "plot"}, "picture": {"picture"}}[kind]
        if path.endswith((".txt", "broken.jpg")):
            expected = set()
        assert {kind for kind, name in names.items() if name in drawn} == expected, path


@pytest.mark.usefixtures("one_process")
def test_pictures_that_cannot_be_written_are_said(
    capsys: pytest.CaptureFixture[str], bundles: dict[str, Path], inbox: Path
) -> None:
    photo = inbox / "photo.png"
    code, _, err = run(capsys, "detect", bundles["found"], photo, "--annotate", photo)
    assert (code, "cannot draw" in err) == (3, True)


def test_a_picture_that_cannot_be_drawn_costs_no_verdict(
    capsys: pytest.CaptureFixture[str], bundles: dict[str, Path], inbox: Path, tmp_path: Path, one_process: list[str]
) -> None:
    """One picture's place is taken by a folder; the other has the longest name a disk takes: 81 signs, 243 bytes."""
    long = tmp_path / ("\u9577" * 81 + ".png")
    blocked = tmp_path / "b.png"
    for path in (blocked, long):
        path.write_bytes((inbox / "photo.png").read_bytes())
    (tmp_path / "pictures" / annotated_names(str(blocked))["picture"] / "in the way").mkdir(parents=True)
    code, out, err = run(
        capsys, "detect", bundles["found"], blocked, long, "--annotate", tmp_path / "pictures", "--json"
    )
    assert code == 0, err
    first, second = (json.loads(line) for line in out.splitlines())
    assert "no picture was drawn" in first["note"]
    assert (first["score"], second["note"]) == (second["score"], None)
    with Image.open(tmp_path / "pictures" / annotated_names(str(long))["picture"]) as picture:
        assert picture.format == "JPEG"


def test_the_page_shows_a_valid_line_and_every_status() -> None:
    page = (Path(__file__).parent.parent / "docs" / "detect.md").read_text(encoding="utf-8")
    example = json.loads(page.split("```json\n")[1].split("```")[0])
    assert list(errors(example, SCHEMA, SCHEMA)) == []
    table = page.split("## Status")[1].split("##")[0]
    assert {word for word in STATUSES if f"`{word}`" in table} == set(STATUSES)


@pytest.mark.slow
def test_files_judged_together_are_judged_as_alone(found: facetell.Detector, inbox: Path) -> None:
    """Pictures with many faces, one and none, clips, and broken files: the network sees all at once."""
    judge = Judge(found, frames=Spread(4))
    inside = sorted(inbox.iterdir())
    paths = [*inside, inbox / "missing.png", inside[0]]
    for together, path in zip(judge.files(paths), paths, strict=True):
        alone = judge.file(path)
        assert (together.path, together.status, together.reason) == (alone.path, alone.status, alone.reason)
        assert [face.logit for face in together.faces] == pytest.approx([face.logit for face in alone.faces], abs=1e-3)
        assert [face.box for face in together.faces] == [face.box for face in alone.faces]
