"""Reading a face set: rows, splits, streaming, foreign tools, and every kind of damage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import tiny_folder
from PIL import Image

from facetell.errors import DataError, UsageError
from facetell.faceset.inspection import contact_sheet, summarise
from facetell.faceset.table import FINGERPRINTED, SCHEMA, FaceSet, fingerprint
from facetell.ingest.prepare import prepare


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faceset")
    return prepare(tiny_folder(root / "pictures", 60), root / "faces", rows_per_shard=20).path


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def test_rows_of_a_split_are_contiguous(made: Path) -> None:
    faceset = FaceSet.open(made)
    assert faceset.splits == ["train", "validation", "test"]
    assert [faceset.rows(split) for split in faceset.splits] == [range(84), range(84, 102), range(102, 120)]
    splits = faceset.columns(["split"])["split"].to_pylist()
    assert splits == ["train"] * 84 + ["validation"] * 18 + ["test"] * 18
    with pytest.raises(DataError, match="no split 'tset'; did you mean 'test'"):
        faceset.rows("tset")


def test_columns_and_labels(made: Path) -> None:
    faceset = FaceSet.open(made)
    table = faceset.columns(["label", "path"], "test")
    assert table.column_names == ["label", "path"]
    assert table.num_rows == 18
    assert faceset.labels("test").dtype == np.int8
    np.testing.assert_array_equal(
        faceset.labels("test"), [path.startswith("fake") for path in table["path"].to_pylist()]
    )
    assert faceset.columns(SCHEMA.names).schema.types == SCHEMA.types
    with pytest.raises(UsageError, match="did you mean 'label'"):
        faceset.columns(["labels"])


@pytest.mark.parametrize("batch_rows", [1, 7, 64, 1000])
@pytest.mark.parametrize("split", [None, "train", "validation", "test"])
def test_images_stream_in_order(made: Path, batch_rows: int, split: str | None) -> None:
    faceset = FaceSet.open(made)
    rows, pictures = [], []
    for numbers, data in faceset.images(split, batch_rows):
        assert len(numbers) == len(data) <= batch_rows
        rows.extend(numbers.tolist())
        pictures.extend(data)
    assert rows == list(faceset.rows(split))
    expected = faceset.columns(["image"], split)["image"].to_pylist()
    assert pictures == expected


def test_single_images(made: Path) -> None:
    faceset = FaceSet.open(made)
    everything = faceset.columns(["image"])["image"].to_pylist()
    for row in (0, 19, 20, 63, 64, 83, 84, 119):
        assert faceset.image(row) == everything[row]
    for row in (-1, 120):
        with pytest.raises(IndexError):
            faceset.image(row)


def test_opens_in_pandas(made: Path) -> None:
    frame = pd.read_parquet(made / "train-00000.parquet")
    assert list(frame.columns) == SCHEMA.names
    assert frame["image"][0].startswith(b"\x89PNG")
    assert set(frame["label"]) <= {0, 1}


def edit(faceset: Path, **changes: object) -> None:
    info = json.loads((faceset / "faceset.json").read_text())
    (faceset / "faceset.json").write_text(json.dumps(info | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 1}, "version 1; this facetell reads version 2"),
        ({"format": "other"}, "does not describe a face set"),
        ({"rows": 119}, "damaged"),
        ({"splits": {"train": 100, "odd": 0}}, "damaged"),
        ({"splits": 3}, "damaged"),
        ({"shards": [{"file": "../../x.parquet", "rows": 100, "bytes": 1}]}, "damaged"),
        ({"shards": [{"rows": 100}]}, "damaged"),
    ],
)
def test_wrong_info(copy: Path, changes: dict[str, object], message: str) -> None:
    edit(copy, **changes)
    with pytest.raises(DataError, match=message):
        FaceSet.open(copy)


def test_no_face_set(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        FaceSet.open(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no faceset.json") as caught:
        FaceSet.open(tmp_path)
    assert "facetell prepare" in str(caught.value.hint)
    (copy / "faceset.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        FaceSet.open(copy)


def test_missing_extra_and_cut_shards(copy: Path) -> None:
    shard = copy / "test-00000.parquet"
    shutil.copy(shard, copy / "stray.parquet")
    with pytest.raises(DataError, match=r"stray.parquet does not belong"):
        FaceSet.open(copy)
    (copy / "stray.parquet").unlink()
    data = shard.read_bytes()
    shard.write_bytes(data[:-9])
    with pytest.raises(DataError, match="another size"):
        FaceSet.open(copy)
    shard.unlink()
    with pytest.raises(DataError, match="is missing"):
        FaceSet.open(copy)


def test_verify_finds_a_flipped_bit(copy: Path) -> None:
    shard = copy / "test-00000.parquet"
    data = bytearray(shard.read_bytes())
    data[1000] ^= 1
    shard.write_bytes(data)
    faceset = FaceSet.open(copy)
    with pytest.raises(DataError, match=r"test-00000.parquet was changed"):
        faceset.verify()


def test_a_shard_that_is_no_parquet_is_told(copy: Path) -> None:
    shard = copy / "test-00000.parquet"
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(DataError, match=r"shard test-00000.parquet cannot be read"):
        FaceSet.open(copy).labels("test")


def test_fingerprint_covers_what_it_says(made: Path, copy: Path) -> None:
    table = FaceSet.open(made).columns(FINGERPRINTED)
    rows = sorted(tuple(row.values()) for row in table.to_pylist())
    original = FaceSet.open(made).fingerprint
    assert fingerprint(rows) == original
    for column, other in enumerate(("0" * 64, 2, "x", "y", "z")):
        changed = [*rows[0]]
        changed[column] = other
        assert fingerprint([changed, *rows[1:]]) != original
    edit(copy, fingerprint="0" * 64)
    with pytest.raises(DataError, match="fingerprint does not fit"):
        FaceSet.open(copy).verify()


def test_summary(made: Path) -> None:
    summary = summarise(FaceSet.open(made))
    assert summary["rows"] == 120
    assert summary["by_split"] == {"train": 84, "validation": 18, "test": 18}
    assert summary["by_label"] == {"real": 60, "fake": 60}
    assert summary["by_source"] == {"pictures": 120}
    assert summary["groups"] == {"train": 84, "validation": 18, "test": 18}
    assert summary["sizes"] == {
        "width": {"min": 24, "median": 24.0, "max": 24},
        "height": {"min": 20, "median": 20.0, "max": 20},
    }
    assert summary["formats"] == {"PNG": 120}
    assert summary["skipped"] == {}
    json.dumps(summary)


def test_contact_sheet(made: Path, tmp_path: Path) -> None:
    out = contact_sheet(FaceSet.open(made), tmp_path / "new" / "sheet.png", per_cell=3)
    with Image.open(out) as sheet:
        sheet.load()
        assert sheet.format == "PNG"
        assert sheet.height > 6 * 100, "three splits with two labels each"
    assert [path.name for path in out.parent.iterdir()] == ["sheet.png"]
    again = contact_sheet(FaceSet.open(made), tmp_path / "again.png", per_cell=3)
    assert again.read_bytes() == out.read_bytes()
