"""``audit`` finds planted leaks and shortcuts, stays quiet on clean data, and ``fit`` passes on what it finds."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy import TINY

import facetell
from facetell.cli.main import main
from facetell.errors import DataError, UsageError
from facetell.faceset.table import FaceSet
from facetell.pixels.decode import decode
from facetell.pixels.image_statistics import STATISTICS, image_statistics

Encode = Callable[[np.ndarray, bool, np.random.Generator], bytes]
COUNTS = {"train": 50, "validation": 24, "test": 50}


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def clean(pixels: np.ndarray, fake: bool, rng: np.random.Generator) -> bytes:
    return encoded(pixels, "JPEG", quality=int(rng.integers(60, 96)))


def by_quality(pixels: np.ndarray, fake: bool, rng: np.random.Generator) -> bytes:
    return encoded(pixels, "JPEG", quality=85 if fake else 92)


def by_border(pixels: np.ndarray, fake: bool, rng: np.random.Generator) -> bytes:
    if fake:
        pixels = pixels.copy()
        pixels[:, -1] = pixels[-1] = 0
    return clean(pixels, fake, rng)


def by_metadata(pixels: np.ndarray, fake: bool, rng: np.random.Generator) -> bytes:
    options = {} if fake else {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}
    return encoded(pixels, "JPEG", quality=int(rng.integers(60, 96)), **options)


def source(folder: Path, encode: Encode, seed: int = 0) -> Path:
    """Pictures with an index; every one a group of its own, nothing tells its label but what ``encode`` does."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group", "source", "split"])
        for split, count in COUNTS.items():
            for i in range(count):
                for label in ("real", "fake"):
                    coarse = Image.fromarray(rng.integers(30, 225, (12, 12, 3), dtype=np.uint8))
                    pixels = np.asarray(coarse.resize((48, 48), Image.Resampling.BICUBIC))
                    name = f"{split}-{i}-{label}.bin"
                    (folder / name).write_bytes(encode(pixels, label == "fake", rng))
                    writer.writerow([name, label, f"{split}-{i}-{label}", label, split])
    return folder


def add(folder: Path, name: str, data: bytes, label: str, split: str) -> None:
    (folder / name).write_bytes(data)
    with (folder / "index.csv").open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow([name, label, name, label, split])


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_planted_leaks_are_found(tmp_path: Path) -> None:
    folder = source(tmp_path / "pictures", clean)
    pixels = decode((folder / "train-3-real.bin").read_bytes())
    add(folder, "copy.png", encoded(pixels), "real", "test")  # the same pixels in other bytes
    smaller = np.asarray(Image.fromarray(decode((folder / "train-5-fake.bin").read_bytes())).resize((36, 36)))
    add(folder, "near.jpg", encoded(smaller, "JPEG", quality=60), "fake", "test")
    both = decode((folder / "train-7-real.bin").read_bytes())
    add(folder, "twice.png", encoded(both), "fake", "train")
    leaks = (found := facetell.audit(folder, tmp_path / "audit")).leaks

    assert leaks["groups"] == {"count": 0, "examples": []}
    across = leaks["identical"]["across_splits"]
    assert (across["rows"], across["same_file"]) == (2, 0)
    assert {row["path"] for row in across["examples"][0]} == {"train-3-real.bin", "copy.png"}
    assert {row["path"] for row in leaks["identical"]["both_labels"]["examples"][0]} == {
        "train-7-real.bin",
        "twice.png",
    }
    assert [{row["path"] for row in pair["rows"]} for pair in leaks["near"]["examples"]] == [
        {"train-5-fake.bin", "near.jpg"}
    ]
    assert leaks["near"]["by_split"]["test"] == {"rows": 1, "of": 102}
    assert len(found.findings) == 3
    with Image.open(tmp_path / "audit" / "near-duplicates.png") as sheet:
        assert sheet.height > 100


@pytest.mark.parametrize(
    ("encode", "family"), [(by_quality, "compression"), (by_border, "border"), (by_metadata, "metadata")]
)
def test_a_planted_shortcut_is_found(encode: Encode, family: str, tmp_path: Path) -> None:
    found = facetell.audit(source(tmp_path / "pictures", encode))
    families = {one["family"]: one for one in found.shortcuts["families"]}
    assert families[family]["verdict"] == "strong"
    assert families[family]["low"] > 0.8
    assert any(line.startswith(f"{family} alone tells real from fake") for line in found.findings)
    assert families["mean colour"]["verdict"] == families["resolution"]["verdict"] == "none"
    assert (found.shortcuts["learned_on"], found.shortcuts["measured_on"]) == ("train", "test")


@pytest.mark.parametrize("seed", range(4))
def test_clean_data_is_quiet(seed: int, tmp_path: Path) -> None:
    assert facetell.audit(source(tmp_path / "pictures", clean, seed), seed=seed).findings == []


def test_one_split_alone_and_too_few_groups(tmp_path: Path) -> None:
    faces = facetell.prepare(source(tmp_path / "pictures", by_quality), tmp_path / "faces")
    found = facetell.audit(faces.path, split="train").shortcuts
    assert found["learned_on"] == "train"
    assert {one["family"]: one["verdict"] for one in found["families"]}["compression"] == "strong"
    with pytest.raises(DataError, match="no split 'finetune'"):
        facetell.audit(faces.path, split="finetune")
    small = tmp_path / "small"
    for i in range(12):
        for label in ("real", "fake"):
            (small / label).mkdir(parents=True, exist_ok=True)
            Image.fromarray(
                np.random.default_rng([i, label == "fake"]).integers(0, 255, (9, 9, 3), dtype=np.uint8)
            ).save(small / label / f"{i}.png")
    assert facetell.audit(small).shortcuts["families"] == []


def test_features_by_hand() -> None:
    pixels = np.full((4, 8, 3), 20, np.uint8)
    pixels[0] = 100
    data = encoded(pixels)
    found = dict(zip(STATISTICS, image_statistics(data, pixels), strict=True))
    assert found["bytes"] == pytest.approx(np.log(len(data)))
    assert found["bytes per pixel"] == pytest.approx(np.log(len(data) / 32))
    assert (found["jpeg"], found["png"], found["luma table"]) == (0, 1, 0)
    assert found["aspect"] == pytest.approx(np.log(2))
    assert found["red"] == pytest.approx(pixels[..., 0].mean())
    assert found["green spread"] == pytest.approx(pixels[..., 1].std())
    assert found["top step"] == pytest.approx(np.log(1 + 80))
    assert found["bottom step"] == pytest.approx(0)
    one = np.zeros((1, 1, 3), np.uint8)
    assert len(image_statistics(encoded(one), one)) == len(STATISTICS)


def test_jpeg_tables_tell_quality_and_subsampling() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    at = {name: STATISTICS.index(name) for name in ("luma table", "subsampling", "progressive")}
    rows = [
        image_statistics(encoded(pixels, "JPEG", **options), pixels)
        for options in ({"quality": 95}, {"quality": 50}, {"subsampling": 0, "progressive": True})
    ]
    assert rows[0][at["luma table"]] < rows[1][at["luma table"]]
    assert [row[at["subsampling"]] for row in rows] == [4, 4, 1]
    assert [row[at["progressive"]] for row in rows] == [0, 0, 1]


def test_picked_pictures_are_those_rows(tmp_path: Path) -> None:
    faces = facetell.prepare(source(tmp_path / "pictures", clean), tmp_path / "faces", rows_per_shard=70)
    rows = np.array([0, 3, 63, 64, 69, 70, 150, len(faces) - 1])
    picked = {row: data for at, part in faces.pick(rows, 2) for row, data in zip(at.tolist(), part, strict=True)}
    assert picked == {row: faces.image(row) for row in rows.tolist()}


@pytest.mark.slow
def test_fit_passes_it_on(tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    """From fit to detector.json, card and report; and the audit of that detector by the command."""
    faces = facetell.prepare(source(tmp_path / "pictures", by_quality), tmp_path / "faces")
    with caplog.at_level(logging.WARNING, "facetell"):
        detector = facetell.fit("finetune", faces.path, tmp_path / "detector", settings={**TINY, "epochs": 1})
    stored = {one["family"]: one for one in detector.description["data"]["shortcuts"]}
    assert stored["compression"]["verdict"] == "strong"
    assert stored["compression"]["n"] == 100
    said = "compression alone tells real from fake in the training data: AUROC 1.00"
    assert said in caplog.text
    assert said in (tmp_path / "detector" / "README.md").read_text("utf-8")
    report = facetell.evaluate(tmp_path / "detector", faces.path, tmp_path / "report")
    assert any(said in line for line in report.warnings)

    out = tmp_path / "audit"
    with pytest.raises(SystemExit) as ended:
        main(["audit", str(faces.path), str(tmp_path / "detector"), "-o", str(out), "--json"])
    assert ended.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "audit.json").read_text("utf-8"))
    assert {file.name for file in out.iterdir()} == {"audit.json", "audit.md", "shortcuts.png"}
    assert printed["detector"]["n"] == 100
    assert [one["family"] for one in printed["detector"]["follows"]] == [
        one["family"] for one in printed["shortcuts"]["families"]
    ]
    with pytest.raises(SystemExit) as ended:
        main(["audit", str(faces.path), "-o", str(out)])  # an earlier audit is replaced
    assert ended.value.code == 0
    text = capsys.readouterr()
    assert "warning: compression alone tells real from fake" in text.err
    assert "audit.md" in text.out


def test_the_face_set_stays_as_it_is_and_nothing_of_others_is_touched(tmp_path: Path) -> None:
    faces = facetell.prepare(source(tmp_path / "pictures", clean), tmp_path / "faces")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not a audit|not an audit"):
        facetell.audit(faces.path, tmp_path / "mine")
    before = sorted((file.name, file.stat().st_mtime_ns) for file in faces.path.iterdir())
    facetell.audit(faces.path, tmp_path / "audit")
    assert sorted((file.name, file.stat().st_mtime_ns) for file in faces.path.iterdir()) == before
    FaceSet.open(faces.path).verify()
