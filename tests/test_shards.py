"""Shards that were damaged, swapped or lost: every verb names the shard and what to do, and none goes on with other rows."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import tiny_folder

import facetell
from facetell.errors import DataError
from facetell.faceset.join import Part, join
from facetell.faceset.table import SCHEMA, FaceSet
from facetell.ingest.prepare import prepare


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    return prepare(tiny_folder(root / "pictures", 10), root / "faces").path


def everything(path: Path) -> tuple[Any, ...]:
    faces = FaceSet.open(path)
    pictures = [data for _, some in faces.images() for data in some]
    return faces.columns(SCHEMA.names).to_pylist(), pictures, [faces.image(row) for row in range(len(faces))]


def test_a_flipped_bit_anywhere_is_found_or_changes_nothing(whole: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(whole, tmp_path / "faces")
    shard, expected = copy / "train-00000.parquet", everything(whole)
    data, rng, found = shard.read_bytes(), random.Random(0), 0
    for place in rng.sample(range(len(data)), 150):
        bad = bytearray(data)
        bad[place] ^= 1 << rng.randrange(8)
        shard.write_bytes(bad)
        try:
            assert everything(copy) == expected
            continue
        except DataError as error:
            said = f"{error.message} {error.hint}"
        found += 1
        assert "shard train-00000.parquet cannot be read" in said
        assert "copy it again" in said
    assert found > 100


def test_rows_of_another_shard_are_not_read(whole: Path, tmp_path: Path) -> None:
    """The same rows but for one label, written as before and filled up to the same length."""
    copy = shutil.copytree(whole, tmp_path / "faces")
    shard = copy / "train-00000.parquet"
    size = shard.stat().st_size
    table = pq.read_table(shard)
    labels = 1 - table["label"].to_numpy()
    place = SCHEMA.names.index("label")
    pq.write_table(
        table.set_column(place, SCHEMA.field("label"), [labels.astype(np.int8)]),
        shard,
        compression="zstd",
        write_statistics=False,
    )
    data = shard.read_bytes()
    assert len(data) < size
    shard.write_bytes(bytes(size - len(data)) + data)
    with pytest.raises(DataError, match=r"shard train-00000\.parquet cannot be read: it is another file"):
        FaceSet.open(copy).labels()


VERBS: dict[str, Callable[[Path, Path, Path], object]] = {
    "inspect": lambda faces, detector, out: facetell.inspect(faces, sheet=out),
    "fit": lambda faces, detector, out: facetell.fit("finetune", faces, out, settings={"pretrained": "none", "size": 32}),
    "evaluate": lambda faces, detector, out: facetell.evaluate(detector, faces, out),
    "audit": lambda faces, detector, out: facetell.audit(faces, out=out),
    "threshold": lambda faces, detector, out: facetell.threshold(detector, faces, at="f1", split="validation"),
    "calibrate": lambda faces, detector, out: facetell.calibrate(detector, faces),
    "stress": lambda faces, detector, out: facetell.stress(detector, faces, out),
    "explain": lambda faces, detector, out: facetell.explain(detector, faces, out),
    "blend": lambda faces, detector, out: facetell.blend(faces, out),
    "remember": lambda faces, detector, out: facetell.remember(detector, faces),
    "join": lambda faces, detector, out: join(out, [Part(FaceSet.open(faces), np.arange(4), "train", "")], {}),
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("damage", ["picture", "label", "cut", "lost"])
def test_every_verb_names_the_shard(
    verb: str,
    damage: str,
    faces: FaceSet,
    brief: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    copy = Path(shutil.copytree(faces.path, tmp_path / "faces"))
    detector = Path(shutil.copytree(brief("finetune"), tmp_path / "detector"))
    for shard in copy.glob("*.parquet"):
        column = (
            pq.ParquetFile(shard)
            .metadata.row_group(0)
            .column(SCHEMA.names.index("image" if damage == "picture" else "label"))
        )
        data = bytearray(shard.read_bytes())
        data[column.data_page_offset + column.total_compressed_size // 2] ^= 16
        shard.write_bytes(data if damage in ("picture", "label") else data[:-100])
        if damage == "lost":
            shard.unlink()
    with pytest.raises(DataError, match=r"shard [a-z]+-00000\.parquet") as caught:
        VERBS[verb](copy, detector, tmp_path / "out")
    assert "copy it again" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()
