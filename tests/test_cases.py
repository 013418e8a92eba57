"""Files that went wrong for people, in a folder beside the project: each against its twin, or against what is in it.

The files are of other people's faces, so they do not come with the project; without them these tests are skipped.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import inline
import numpy as np
import pytest
from faceclips import needs_media

import facetell
from facetell.cli.main import main
from facetell.detector import many
from facetell.detector.verdict import STATUSES, Verdict
from facetell.media.walk import find_files

CASES = Path(__file__).parents[2] / "shared" / "cases"
needs_media()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CASES.is_dir(), reason=f"needs the files in {CASES}")]


@pytest.fixture(scope="module")
def detectors(fitted: Path, found_faces: Path) -> dict[str, Path]:
    return {"crops": fitted, "found": found_faces}


@pytest.fixture(scope="module", params=["crops", "found"])
def verdicts(request: pytest.FixtureRequest, detectors: dict[str, Path]) -> dict[str, Verdict]:
    """Of every file, by its name, judged by a detector of ready crops and by one of found faces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(many, "guarded_map", inline.here)
        many._Worker.judge = None
        found = facetell.detect(detectors[request.param], [CASES], device="cpu")
        return {Path(verdict.path).name: verdict for verdict in found}


def test_every_file_has_a_verdict_or_a_reason(verdicts: dict[str, Verdict]) -> None:
    assert set(verdicts) == {path.name for path in find_files([CASES])}
    for verdict in verdicts.values():
        assert verdict.status in STATUSES
        assert verdict.judged or verdict.reason, verdict.path


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("A-crowd-72-faces-under-32px.jpg", "face_too_small"), ("A-no-face-black.png", "no_face"),
        ("A-no-face-landscape.jpg", "no_face"), ("A-one-pixel.png", "no_face"),
    ],
)  # fmt: skip
def test_without_a_face_to_judge_there_is_no_decision(verdicts: dict[str, Verdict], name: str, status: str) -> None:
    assert (verdicts[name].status, verdicts[name].decision) == (status, None)


@pytest.mark.parametrize(
    ("name", "count", "least", "most"),
    [
        ("B-panorama-9000x1100-eight-faces-115px.jpg", 8, 95, 140),
        ("B-photo-4K-eight-faces-70px.jpg", 8, 55, 85),
    ],
)
def test_every_face_of_a_photo_is_judged(
    verdicts: dict[str, Verdict], name: str, count: int, least: int, most: int
) -> None:
    verdict = verdicts[name]
    sides = [max(face.box[2:]) for face in verdict.faces if face.used and face.box]
    assert count <= sum(least < side < most for side in sides) <= count + 2, (
        "some have a bystander's face at their edge"
    )
    assert verdict.judged
    assert verdict.corrected_for == len(sides)


def test_every_face_of_a_group_photo_is_judged(verdicts: dict[str, Verdict]) -> None:
    """Eight by five portraits, 158 px apart; five bystanders stand at the portraits' edges (counted by eye)."""
    verdict = verdicts["C-group-photo-40-real-faces.jpg"]
    centres = [(face.box[0] + face.box[2] / 2, face.box[1] + face.box[3] / 2) for face in verdict.faces if face.used]
    assert {(int(x // 158), int(y // 158)) for x, y in centres} == {(x, y) for x in range(8) for y in range(5)}
    assert len(centres) <= 40 + 5
    assert verdict.judged
    assert verdict.corrected_for == len(centres)


@pytest.mark.parametrize(
    ("name", "twin", "within"),
    [
        ("J-png-colour-profile-over-1MB.png", "twin-plain-photo.png", 0.25),
        ("J-png-compressed-text-over-1MB.png", "twin-plain-photo.png", 1e-6),
        ("N-jpeg-without-end-marker.jpg", "N-twin-jpeg-whole.jpg", 1e-6),
        ("O-wide-gamut-profile.png", "O-twin-same-colours-srgb.png", 0.05),
        ("R-hdr-hlg-10bit.mov", "R-twin-sdr.mp4", 0.25),
        ("S-turned-90-no-orientation-tag.png", "S-twin-upright.png", 1e-6),
        ("S-turned-180-no-orientation-tag.png", "S-twin-upright.png", 1e-6),
        ("S-turned-270-no-orientation-tag.png", "S-twin-upright.png", 1e-6),
    ],
)
def test_a_file_is_judged_as_its_twin(verdicts: dict[str, Verdict], name: str, twin: str, within: float) -> None:
    verdict, plain = verdicts[name], verdicts[twin]
    assert verdict.judged
    assert verdict.decision == plain.decision
    assert verdict.logit == pytest.approx(plain.logit, abs=within)


def test_a_raw_photo_is_not_judged_by_its_thumbnail(verdicts: dict[str, Verdict]) -> None:
    verdict = verdicts["K-raw-thumbnail-in-first-directory.dng"]
    if verdict.judged:
        assert "preview" in (verdict.note or "")
        assert max(face.box[2] for face in verdict.faces if face.box) > 90
    else:
        assert verdict.status == "unsupported"


def test_animations_and_streams_are_looked_at_whole(verdicts: dict[str, Verdict]) -> None:
    for name in ("real-seven-frames-fake.gif", "real-seven-frames-fake.webp"):
        verdict = verdicts[f"F-animation-first-frame-{name}"]
        assert (verdict.kind, verdict.frames) == ("video", 8)
        assert len({face.frame for face in verdict.faces}) == 8
    assert verdicts["F-animation-blank-first-frame-then-face.gif"].judged
    both, second = verdicts["D-two-video-streams-real-then-fake.mkv"], verdicts["D-twin-second-stream-alone.mkv"]
    assert len(both.streams) == 2
    logits = [sorted(face.logit for face in each.faces) for each in (both, second)]
    assert np.isin(np.round(logits[1], 3), np.round(logits[0], 3)).all(), "the second stream's faces are among them"


def test_a_cut_ends_a_track(verdicts: dict[str, Verdict]) -> None:
    verdict = verdicts["E-27s-real-then-13s-fake.mp4"]
    assert any(26 < (track.start or 0) < 30 for track in verdict.tracks)
    assert verdict.window is not None
    assert verdict.window[1] <= 27.5 or verdict.window[0] >= 26.5, "what decides is of one part"


def test_a_list_in_utf16_and_a_long_name(
    detectors: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import io

    monkeypatch.chdir(CASES)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((CASES / "P-list-utf16.txt").read_bytes())))
    with pytest.raises(SystemExit):
        main(["detect", str(detectors["found"]), "-", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines
    assert not [line for line in lines if line["status"] == "missing"]
    with pytest.raises(SystemExit):
        main(["detect", str(detectors["found"]), "H-long-name", "--annotate", str(tmp_path / "drawn"), "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == len(list((CASES / "H-long-name").iterdir()))
    assert len(list((tmp_path / "drawn").iterdir())) == len(lines)


@pytest.mark.parametrize("name", ["G-names-unicode-spaces", "I-index-backslash", "I-index-semicolon", "I-index-utf16"])
def test_every_picture_becomes_a_row_and_persons_stay_together(name: str, tmp_path: Path) -> None:
    pictures = [path for path in (CASES / name).rglob("*") if path.suffix in (".jpg", ".png")]
    faceset = facetell.prepare(CASES / name, tmp_path / "faces", faces="crops")
    assert len(faceset) == len(pictures)
    rows = faceset.columns(["group", "split"])
    splits = Counter(
        group for group, _ in set(zip(*(rows[each].to_pylist() for each in ("group", "split")), strict=True))
    )
    assert set(splits.values()) == {1}
    if name.startswith("I"):
        assert len(splits) < len(pictures), "the index says who is who"


def test_every_file_is_in_the_account_of_prepare_and_left_as_it_was(tmp_path: Path) -> None:
    files = [path for path in CASES.rglob("*") if path.is_file() and path.name != "index.csv"]
    for path in files:
        label = ("real", "fake")[ord(path.relative_to(CASES).parts[0][0]) % 2]  # twins under one label
        # Folders in it are not called real and fake, for these are not the labels here.
        target = tmp_path / "cases" / label / path.parent.relative_to(CASES).as_posix().replace("/", "-") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cases").rglob("*")}
    faceset = facetell.prepare(tmp_path / "cases", tmp_path / "faces", faces="find", split="test")
    media = faceset.info["media"]
    assert (
        media["files"] == len(files) == media["with_faces"] + media["without_faces"] + sum(media["unusable"].values())
    )
    used = set(faceset.columns(["path"])["path"].to_pylist())
    for name in (
        "B-photo-4K",
        "F-animation",
        "D-two",
        "N-jpeg",
        "O-wide",
        "R-hdr",
        "S-t",
    ):  # each S gives the same crop
        assert any(name in path for path in used), name
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cases").rglob("*")} == before
