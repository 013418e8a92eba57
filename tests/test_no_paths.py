"""A detector tells nobody where it was made: no file of it holds a path of its maker."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from monday import Monday
from safetensors.torch import save_file
from toy import tiny

import facetell
from facetell.faceset.table import FaceSet
from facetell.networks.backbones import build_backbone


def said(detector: Path) -> bytes:
    """All that is in a detector's files; Parquet packs its texts, so they are read."""
    assert list(detector.rglob("*.json"))
    parts = [file.read_bytes() for file in detector.rglob("*") if file.is_file()]
    parts += [
        str(pq.read_table(file).drop_columns(["image"]).to_pylist()).encode() for file in detector.rglob("*.parquet")
    ]
    return b"\n".join(parts)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (folder := tmp_path / "home" / "jane").mkdir(parents=True)
    return folder


@pytest.fixture
def weights(home: Path) -> Path:
    """A file with torchvision's names."""
    body = build_backbone("squeezenet1_1", 32).body
    save_file({f"features.{name}": tensor for name, tensor in body.state_dict().items()}, home / "imagenet.safetensors")
    return home / "imagenet.safetensors"


@pytest.mark.parametrize("method", ["finetune", "fdftnet", "features"])
def test_weights_are_named_and_not_located(method: str, faces: FaceSet, weights: Path, home: Path) -> None:
    settings = {**tiny(method, epochs=1), "pretrained": str(weights)}
    facetell.fit(method, faces.path, home / "detector", settings=settings)
    assert str(home).encode() not in said(home / "detector")
    kept = json.loads((home / "detector" / "detector.json").read_text())["settings"]["pretrained"]
    assert kept == f"imagenet.safetensors ({hashlib.sha256(weights.read_bytes()).hexdigest()[:16]})"
    assert facetell.Detector.load(home / "detector").description["settings"]["pretrained"] == kept


def test_a_detector_to_begin_with_too(
    faces: FaceSet, fitted: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is the folder that one is in."""
    start = Path(shutil.copytree(fitted, home / "baseline"))
    monkeypatch.chdir(start)
    settings = {**tiny("fdftnet", epochs=1), "pretrained": "."}
    facetell.fit("fdftnet", faces.path, home / "detector", settings=settings)
    text = said(home / "detector")
    assert str(home).encode() not in text
    digest = hashlib.sha256((start / "detector.json").read_bytes()).hexdigest()[:16]
    assert f"detector baseline ({digest})".encode() in text
    assert b"the backbone of detector baseline" in text


@pytest.mark.slow
def test_nor_do_adapted_ones_say_where_their_faces_lay(
    made: Monday, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))
    facetell.adapt(
        made.detector, tmp_path / "adapted", fake=made["smooth"], real=made["real"], strategy="linear-probe", seed=2
    )
    assert list((tmp_path / "adapted").rglob("*.parquet"))
    for place in (made.root, tmp_path):
        assert str(place).encode() not in said(tmp_path / "adapted")
