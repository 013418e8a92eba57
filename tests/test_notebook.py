"""A face set as the objects of other libraries, and as a notebook shows it."""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facetell.errors import DataError, MissingExtraError
from facetell.faceset.table import FaceSet
from facetell.pixels.decode import decode_resized


def test_pandas(faces: FaceSet) -> None:
    table = faces.to_pandas("validation")
    assert list(table.index) == list(faces.rows("validation"))
    assert "image" not in table
    assert (table["label"] == faces.labels("validation")).all()
    assert (table["split"] == "validation").all()
    whole = faces.to_pandas(images=True)
    assert len(whole) == len(faces)
    assert whole["image"][3] == faces.image(3)


def test_datasets(faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    sets = faces.to_datasets()
    assert {name: len(each) for name, each in sets.items()} == faces.info["splits"]
    first, row = sets["validation"][0], faces.rows("validation").start
    assert np.array_equal(first["image"].convert("RGB"), Image.open(io.BytesIO(faces.image(row))).convert("RGB"))
    assert sets["validation"].features["label"].names == ["real", "fake"]
    assert sets["validation"]["label"][:] == faces.labels("validation").tolist()


@pytest.mark.parametrize(("module", "way"), [("pandas", "to_pandas"), ("datasets", "to_datasets")])
def test_missing_libraries_are_named(faces: FaceSet, module: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match="notebook"):
        getattr(faces, way)()


def test_torch(faces: FaceSet) -> None:
    found = faces.to_torch("validation", 16)
    assert isinstance(found, torch.utils.data.Dataset)
    assert len(found) == len(faces.rows("validation"))
    pixels, label = found[2]
    row = faces.rows("validation")[2]
    assert pixels.dtype == torch.uint8
    assert np.array_equal(pixels.permute(1, 2, 0), decode_resized(faces.image(row), 16))
    assert label == faces.labels("validation")[2]
    assert torch.equal(pickle.loads(pickle.dumps(found))[2][0], pixels)  # as a DataLoader's workers get it
    batch, labels = next(iter(torch.utils.data.DataLoader(found, batch_size=4)))
    assert batch.shape == (4, 3, 16, 16)
    assert labels.tolist() == found.labels[:4].tolist()
    with pytest.raises(IndexError):
        found[len(found)]
    with pytest.raises(DataError, match="no split"):
        faces.to_torch("tset", 16)


def test_what_a_notebook_shows(faces: FaceSet) -> None:
    train = faces.info["splits"]["train"]
    assert f"train {train:,}" in repr(faces)
    assert f"{len(faces):,} faces" in repr(faces)
    page = faces._repr_html_()
    real = int((faces.labels("train") == 0).sum())
    assert f"<th>train</th><td>{real:,}</td><td>{train - real:,}</td>" in page


def test_names_are_escaped(faces: FaceSet) -> None:
    shown = FaceSet(Path("<b>x"), faces.info)._repr_html_()
    assert "<b>x" not in shown
    assert "&lt;b&gt;x" in shown
