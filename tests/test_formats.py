"""Files that an earlier facetell wrote open in this one: see tests/fixtures/v1/README.md."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from schema import errors

import facetell
from facetell.detector.verdict_file import VerdictFile, latest_lines
from facetell.faceset.table import FaceSet

V1 = Path(__file__).parent / "fixtures" / "v1"
LINES = [json.loads(line) for line in (V1 / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("v1")
    with tarfile.open(V1 / "detector.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "detector"


def test_a_face_set() -> None:
    faces = FaceSet.open(V1 / "faceset")
    faces.verify()
    table = faces.columns(["image", "label", "group", "source", "split", "path", "sha256"])
    rows = {row["path"]: row for row in table.to_pylist()}
    assert len(rows) == 52
    row = rows["test-0-fake.png"]
    assert (row["label"], row["group"], row["source"], row["split"]) == (1, "test-0", "grid", "test")
    assert row["image"] == (V1 / "crop.png").read_bytes()
    assert row["sha256"] == hashlib.sha256(row["image"]).hexdigest()


@pytest.mark.slow
def test_a_detector_says_what_it_said(detector: Path) -> None:
    facetell.verify(detector)
    said = facetell.Detector.load(detector, device="cpu").detect(V1 / "crop.png", faces="crops")
    assert said.logit == pytest.approx(LINES[0]["logit"], abs=0.02)  # processors round differently
    assert said.threshold == pytest.approx(LINES[0]["threshold"])
    assert said.detector == LINES[0]["detector"]


def test_verdicts_are_valid_and_gone_on_with(tmp_path: Path) -> None:
    schema = json.loads((files("facetell.detector") / "verdict.schema.json").read_text("utf-8"))
    for line in LINES:
        assert list(errors(line, schema, schema)) == []
    copy = Path(shutil.copy(V1 / "verdicts.jsonl", tmp_path))
    VerdictFile(copy).close()
    assert [json.loads(line)["path"] for _, line in latest_lines(copy)] == [line["path"] for line in LINES]
    assert copy.read_bytes() == (V1 / "verdicts.jsonl").read_bytes()


@pytest.mark.slow
def test_a_report() -> None:
    found = facetell.compare([V1 / "report", V1 / "report"])
    assert found.counts["n"] == 12
    assert found.comparisons[0]["difference"] == 0
