"""A replay buffer without pictures: what is in it, damaged ones, and a Monday on a machine without the old faces."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monday import Monday, fill
from safetensors.numpy import load_file, save
from safetensors.torch import save_file

import facetell
from facetell.adaptation import acceptance
from facetell.adaptation.new_faces import of_label
from facetell.cli.main import main
from facetell.detector.bundle import read_description
from facetell.detector.calibration import calibration_of
from facetell.detector.replay_buffer import open_replay_buffer
from facetell.detector.replay_vectors import CLIP, ReplayVectors, quantised
from facetell.errors import BundleError, LeakError, UsageError
from facetell.files import sha256_of
from facetell.labels import REAL
from facetell.networks import mixture
from facetell.networks.backbones import build_backbone

EXPERT: dict[str, Any] = {"strategy": "expert", "margin": 0.5}


@pytest.fixture(scope="module")
def once(made: Monday, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector with one expert, which keeps vectors alone."""
    root = tmp_path_factory.mktemp("vectors")
    torch.manual_seed(8)
    body = build_backbone("squeezenet1_1", 48).body
    save_file(
        {f"features.{name}": tensor for name, tensor in body.state_dict().items()}, root / "squeezenet1_1.safetensors"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACETELL_CACHE", str(made.root / "cache"))
        patch.setattr(acceptance, "CLOSES", 2.0)  # by their mean colours these toys could be told apart
        facetell.adapt(made.detector, root / "once", fake=made["smooth"], real=made["real"], **EXPERT,
                       backbone="squeezenet1_1", pretrained=str(root / "squeezenet1_1.safetensors"))  # fmt: skip
        shutil.copytree(root / "once", root / "pictures")
        kept = facetell.remember(root / "once", made.faces, vectors=True)
    assert (kept.faces, kept.counts["train"]) == (160, {"real": {"camera": 40}, "fake": {"board": 20, "grid": 20}})
    return root / "once"


def opened(path: Path) -> ReplayVectors:
    found = open_replay_buffer(path, read_description(path))
    assert isinstance(found, ReplayVectors)
    return found


def test_numbers_are_within_half_a_step_and_cut_off_where_experts_do() -> None:
    vectors = np.random.default_rng(0).normal(3, [0.1, 1, 50, 0], (200, 4)).astype(np.float32)
    vectors[0, 1] = 100
    codes, centre, step = quantised(vectors)
    assert codes.dtype == np.int8
    spread = vectors.std(axis=0)
    np.testing.assert_allclose(step[:3], spread[:3] * 5 / 127, rtol=1e-5)
    back = codes * step + centre
    rest = np.ones_like(vectors, bool)
    rest[0, 1] = False
    assert (np.abs(back - vectors)[rest] <= (np.tile(step, (200, 1)) * 0.501 + 1e-5)[rest]).all()
    assert back[0, 1] == pytest.approx(centre[1] + 5 * spread[1], rel=1e-4)
    assert CLIP == mixture.CLIP


@pytest.mark.fits
def test_what_is_kept_is_what_experts_read_and_no_picture(once: Path, made: Monday) -> None:
    kept = opened(once)
    assert not [path for path in once.iterdir() if path.is_dir()]
    assert kept.codes.nbytes == 160 * kept.codes.shape[1]
    loaded: Any = facetell.Detector.load(once, "cpu", runtime="torch")
    images = np.stack([np.asarray(each) for each in crops(made)])
    with torch.no_grad():
        seen = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        vectors, logits = loaded.runtime.network.statistics(seen).numpy(), loaded.runtime.network.old(seen).numpy()
    hashes = of_label(made.faces, REAL).faces
    rows = np.arange(4)
    np.testing.assert_allclose(kept.logits[rows], logits, atol=2e-2)
    off = np.abs(kept.vectors(rows) - vectors) / kept.spread[0]
    assert np.quantile(off, 0.99) < 0.6  # within half a step
    assert (kept.labels_of(hashes) >= 0).sum() == 160
    assert facetell.verify(once).replay == 160


def crops(made: Monday) -> list[Any]:
    """The first four faces of *train*, at 32 pixels."""
    from facetell.faceset.table import FaceSet
    from facetell.pixels.decode import decode_resized

    faces = FaceSet.open(made.faces)
    rows = np.arange(4) + faces.rows("train").start
    return [decode_resized(picture, 32) for _, some in faces.pick(rows, 4) for picture in some]


@pytest.mark.fits
def test_a_monday_without_the_old_faces(
    once: Path, made: Monday, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Learned as with their pictures (where the first Monday's faces are among the old ones, too)."""
    monkeypatch.setattr(acceptance, "CLOSES", 2.0)
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))
    more, barred = fill(tmp_path / "more", "real", 24, 5), fill(tmp_path / "barred", "barred", 24, 6)
    found = facetell.adapt(once, tmp_path / "twice", fake=barred, real=more, **EXPERT)
    assert found.checks["old"].numbers["n"] == 40
    assert found.tried[0].fall is not None
    assert facetell.verify(tmp_path / "twice").replay == 160 + 48
    old = opened(once)
    grown = opened(tmp_path / "twice")
    np.testing.assert_array_equal(grown.vectors(np.arange(160)), old.vectors(np.arange(160)))
    assert grown.adapted.sum() == 48
    assert set(grown.names) == {*old.names, "more", "barred"}
    calibration = calibration_of(read_description(tmp_path / "twice"))
    assert calibration is not None
    assert calibration.face.on.n == 80
    point = calibration.face.points["default"]
    assert len(point.domains) == 3  # the old faces, and two Mondays
    before, after = (load_file(path / "embedding.safetensors") for path in (once, tmp_path / "twice"))
    for name in ("points", "labels", "deviations"):
        assert len(after[name]) == len(before[name]) + 48  # the new faces are known now, too
        np.testing.assert_array_equal(after[name][:-48], before[name])

    pictures = facetell.adapt(once.with_name("pictures"), tmp_path / "beside", fake=barred, real=more, **EXPERT)
    mine, theirs = (each.checks["new"].numbers["after"] for each in (found, pictures))
    assert mine == pytest.approx(theirs, abs=0.05)
    for command in (["history", tmp_path / "twice"], ["verify", tmp_path / "twice"]):
        with pytest.raises(SystemExit) as stop:
            main([str(each) for each in command])
        assert not stop.value.code
    capsys.readouterr()


@pytest.mark.fits
def test_what_needs_pictures_says_so(once: Path, made: Monday, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no picture to lend"):
        facetell.adapt(once, tmp_path / "out", fake=made["flat"], **EXPERT)
    with pytest.raises(UsageError, match="keeps no pictures that another second backbone could read"):
        facetell.adapt(once, tmp_path / "out", fake=made["flat"], real=made["real"], **EXPERT, size=64)
    with pytest.raises(UsageError, match="only takes one more"):
        facetell.adapt(once, tmp_path / "out", fake=made["flat"], real=made["real"], strategy="full")
    liars = tmp_path / "liars"
    shutil.copytree(made["flat"], liars)
    shutil.copy(made.root / "pictures" / "train-3-real.png", liars / "liar.png")
    with pytest.raises(LeakError, match=r"liar\.png is given as fake, and is real"):
        facetell.adapt(once, tmp_path / "out", fake=liars, real=made["real"], **EXPERT)
    with pytest.raises(UsageError, match="has no experts") as refused:
        facetell.remember(made.bare, made.faces, vectors=True)
    assert "without --vectors" in str(refused.value.hint)
    assert "replay" not in read_description(made.bare)


def shorter(tensors: dict[str, Any]) -> None:
    tensors["labels"] = tensors["labels"][:-1]


def infinite(tensors: dict[str, Any]) -> None:
    tensors["spread"] = np.full_like(tensors["spread"], np.inf)


def no_such_part(tensors: dict[str, Any]) -> None:
    tensors["part"] = np.full_like(tensors["part"], 7)


def other_width(tensors: dict[str, Any]) -> None:
    tensors["centre"] = tensors["centre"][:, 1:]


def lacking(tensors: dict[str, Any]) -> None:
    del tensors["groups"]


def wider(tensors: dict[str, Any]) -> None:
    tensors["codes"] = tensors["codes"].astype(np.int16)


@pytest.mark.fits
@pytest.mark.parametrize("damage", [shorter, infinite, no_such_part, other_width, lacking, wider, None])
def test_damaged_and_hostile_files(damage: Callable[[dict[str, Any]], None] | None, once: Path, tmp_path: Path) -> None:
    """Also where the description was changed to fit."""
    hurt = Path(shutil.copytree(once, tmp_path / "hurt"))
    description = json.loads((hurt / "detector.json").read_text())
    file = hurt / description["replay"]["folder"]
    if damage is None:
        file.write_bytes(b"\x00" * 100)
    else:
        tensors = load_file(file)
        damage(tensors)
        file.write_bytes(save(tensors))
    with pytest.raises(BundleError, match="not the one it was given") as refused:
        facetell.verify(hurt)
    assert "facetell remember" in str(refused.value.hint)
    description["replay"]["fingerprint"] = sha256_of(file)
    (hurt / "detector.json").write_text(json.dumps(description))
    with pytest.raises(BundleError, match="damaged|cannot be used"):
        facetell.verify(hurt)
    file.unlink()
    with pytest.raises(BundleError, match="cannot be used"):
        facetell.verify(hurt)
    facetell.remember(hurt, forget=True)
    assert facetell.verify(hurt).replay == 0


@pytest.mark.fits
def test_forgetting_and_remembering_anew_leave_one_file(once: Path, made: Monday, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(once, tmp_path / "mine"))
    facetell.remember(mine, made.faces, vectors=True, faces=40)
    assert [path.name for path in mine.glob("replay*")] == [read_description(mine)["replay"]["folder"]]
    assert len(opened(mine)) == 80
    facetell.remember(mine, made.faces)
    assert [path.is_dir() for path in mine.glob("replay*")] == [True]
    facetell.remember(mine, forget=True)
    assert not list(mine.glob("replay*"))
