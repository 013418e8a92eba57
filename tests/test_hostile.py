"""Hundreds of damaged, lying, odd and enormous files: nothing crashes, nothing hangs, none is lost."""

from __future__ import annotations

import csv
import json
import os
import time
from collections import Counter
from pathlib import Path

import hostile
import pytest
from faceclips import needs_media

import facetell
from facetell.detector.verdict import STATUSES, Verdict
from facetell.ingest.extract import Extraction
from facetell.ingest.prepare import prepare
from facetell.media.frame_choice import Spread

needs_media()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="makes pipes and odd names")]

SECONDS = 300
"""For all files together, on two busy cores; it takes a fifth of that."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile.make(tmp_path_factory.mktemp("hostile") / "media")


@pytest.fixture(scope="module")
def verdicts(corpus: Path, fitted: Path) -> list[Verdict]:
    began = time.monotonic()
    found = list(facetell.detect(fitted, [corpus], faces="find", frames="4", workers=2, device="cpu"))
    assert time.monotonic() - began < SECONDS
    return found


def named(path: Path, root: Path) -> str:
    """A path as face sets and `skipped.csv` write it."""
    name = path.relative_to(root).as_posix()
    return name if name.isprintable() else ascii(name)


def test_there_are_many(corpus: Path) -> None:
    assert len(hostile.entries(corpus)) >= 400


def test_prepare_accounts_for_every_file(corpus: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    faces = prepare(corpus, tmp_path / "faces", faces="find", workers=2, extraction=Extraction(frames=Spread(4)))
    assert time.monotonic() - began < SECONDS
    with (faces.path / "skipped.csv").open(newline="", encoding="utf-8") as file:
        skipped = list(csv.DictReader(file))
    said = Counter(row["path"] for row in skipped)
    used = set(faces.columns(["path"])["path"].to_pylist())
    every = {named(path, corpus) for path in hostile.entries(corpus)}
    links = {"real/names/up"}
    assert every - used - set(said) == set()
    assert (used | set(said)) - every == links

    account = faces.info["media"]
    assert account["files"] == account["with_faces"] + account["without_faces"] + sum(account["unusable"].values())
    # Left out before anything was opened: pipes, broken links, names that are no text.
    before = [row for row in skipped if row["detail"].startswith(("not a regular", "its name", "a link to"))]
    assert account["files"] + len(before) == len(every | links)
    assert {row["path"].split("/")[-1].strip("'") for row in before} == {
        "loop.png", "nowhere.png", "pipe.mp4", "up", "new\\nline.png", "new\\nline.mp4", "tab\\there.png",
        "tab\\there.mp4", "not \\udcff text.png", "not \\udcff text.mp4",
    }  # fmt: skip
    by_reason = Counter(row["reason"] for row in skipped)
    assert {"empty", "unreadable", "unsupported", "no_face", "face_too_small", "truncated", "duplicate"} <= set(
        by_reason
    )
    assert not {"crashed", "timeout"} & set(by_reason)
    assert faces.info["skipped"] == dict(sorted(by_reason.items()))
    faces.verify()
    for label in hostile.LABELS:
        crowd = [path for path in faces.columns(["path"])["path"].to_pylist() if path == f"{label}/twenty.png"]
        assert len(crowd) == 20


def test_detect_gives_each_file_one_verdict(corpus: Path, verdicts: list[Verdict]) -> None:
    paths = Counter(verdict.path for verdict in verdicts)
    assert set(paths.values()) == {1}
    expected = {str(path) for path in hostile.entries(corpus)}
    assert expected - set(paths) == set()
    assert set(paths) - expected <= {str(corpus / "real/names/up")}
    for verdict in verdicts:
        assert verdict.status in STATUSES
        assert verdict.judged == (verdict.score is not None) == (verdict.threshold is not None)
        assert verdict.judged or verdict.reason, verdict.path
        assert json.loads(json.dumps(verdict.as_dict(), allow_nan=False))["path"] == verdict.path
    statuses = Counter(verdict.status for verdict in verdicts)
    assert set(STATUSES) - {"fake", "real", "uncalibrated"} <= set(statuses), (
        "each is reached; what is fake is up to the detector"
    )
    assert not [verdict for verdict in verdicts if "crashed" in (verdict.reason or "")]


def test_each_kind_gets_the_verdict_it_deserves(corpus: Path, verdicts: list[Verdict]) -> None:
    by_name = {f"{Path(v.path).parent.name}/{Path(v.path).name}": v for v in verdicts}
    for name, status in {
        "bombs/claims.png": "unsupported",
        "bombs/grey.png": "unsupported",
        "bombs/large.jpg": "unsupported",
        "bombs/large.tiff": "unsupported",
        "bombs/allowed.png": "no_face",
        "empty/a.jpg": "unreadable",
        "text/c.mp4": "unsupported",
        "lying/list.m3u8": "unsupported",
        "lying/list.mp4": "unsupported",
        "real/nobody.jpg": "no_face",
        "real/far.png": "face_too_small",
        "sizes/1x1.png": "no_face",
        "clips/only sound.mp4": "unsupported",
        "clips/black.mp4": "no_face",
        "names/pipe.mp4": "unsupported",
        "names/nowhere.png": "missing",
        "names/loop.png": "unreadable",
        "cut/50 percent.png": "truncated",
        "cut/90 percent.ts": "truncated",
    }.items():
        assert by_name[name].status == status, (name, by_name[name])
    for name in ("lying/a.mp4", "lying/b.png", "lying/c.avi", "lying/d.jpg", "lying/e.heic"):
        assert by_name[name].judged, (name, by_name[name])
    good = [v for v in verdicts if Path(v.path).parent.name in ("modes", "turned", "names") and not v.judged]
    assert {Path(v.path).name for v in good} <= {
        "F.tiff", "I.tiff", "1.png", "1.tiff", "1.ppm", "LAB.tiff", "loop.png", "nowhere.png", "pipe.mp4", "locked.png",
    }  # fmt: skip
    assert len(by_name["real/twenty.png"].tracks) == 20
    for name in ("variable.mkv", "slow.mp4", "old.mpg", "raw.m1v", "plain.y4m", "fragments.mp4", "motion.avi"):
        verdict = by_name[f"clips/{name}"]
        assert verdict.judged, verdict
        assert verdict.status in ("fake", "real"), verdict


def test_a_file_without_permission_costs_one_line(corpus: Path, verdicts: list[Verdict]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (verdict,) = (verdict for verdict in verdicts if verdict.path.endswith("locked.png"))
    assert (verdict.status, verdict.reason) == ("unreadable", "cannot be read: Permission denied")


def test_pictures_of_odd_files(corpus: Path, fitted: Path, verdicts: list[Verdict], tmp_path: Path) -> None:
    odd = [
        verdict.path
        for verdict in verdicts
        if Path(verdict.path).parent.name in ("names", "sizes", "clips", "modes", "turned") and verdict.frames
    ]
    assert len(odd) > 60
    again = list(facetell.detect(fitted, odd, faces="find", frames="4", workers=2, annotate=tmp_path / "drawn"))
    assert [verdict.path for verdict in again] == odd
    assert all(verdict.status in STATUSES and verdict.frames for verdict in again), again
    pictures = sum(verdict.kind == "picture" for verdict in again)
    names = [path.name for path in (tmp_path / "drawn").iterdir()]
    assert not [name for name in names if name.startswith(".")]
    drawn = Counter("clip" if name.endswith(".mp4") else "strip" if name.endswith(".strip.jpg") else "plot"
                    if name.endswith(".scores.png") else "picture" for name in names)  # fmt: skip
    assert drawn["picture"] == pictures
    assert drawn["clip"] == len(again) - pictures
    assert drawn["plot"] == sum(bool(verdict.tracks) for verdict in again if verdict.kind == "video")
