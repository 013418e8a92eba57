"""An old network and a second one beside it: the mixture's formula, and its way to disk and back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import toy_detector

import facetell
from facetell.adapting.contract import Known
from facetell.cli.main import main
from facetell.detector.bundle import read_bundle, write_bundle
from facetell.errors import BundleError, SettingsError, UsageError
from facetell.methods import METHODS, get_method
from facetell.networks.backbones import build_backbone
from facetell.networks.beside import Beside
from facetell.settings import as_dict, resolve

SIZE = 32


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("beside")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACETELL_CACHE", str(root / "cache"))
        return toy_detector(root)


def mixture(fitted: Path) -> Known:
    detector = facetell.Detector.load(fitted, "cpu")
    given = {
        "backbone": "squeezenet1_1",
        "weights": "none",
        "size": SIZE,
        "old_method": detector.description["method"],
        "old_settings": json.dumps(detector.description["settings"]),
    }
    settings: Any = resolve(get_method("beside").settings, given)
    torch.manual_seed(5)
    network = Beside(detector.network, build_backbone("squeezenet1_1", SIZE), SIZE)
    return Known("beside", settings, network.eval())


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def test_the_formula_face_by_face(fitted: Path) -> None:
    network: Any = mixture(fitted).network
    network.gate.dense.weight.normal_(std=2)
    batch = images(6)
    found = network(batch)
    for k in range(6):
        vector = network.backbone(batch[k : k + 1]).mean(dim=(2, 3))[0].double()
        gate = 1 / (
            1 + np.exp(-(float(vector @ network.gate.dense.weight[0].double()) + float(network.gate.dense.bias)))
        )
        new = float(vector @ network.head.dense.weight[0].double()) + float(network.head.dense.bias)
        old = float(network.old(batch[k : k + 1]))
        assert float(found[k]) == pytest.approx((1 - gate) * old + gate * new, abs=1e-4)


@torch.no_grad()
def test_a_shut_gate_is_the_old_network_and_an_open_one_the_new(fitted: Path) -> None:
    network: Any = mixture(fitted).network
    batch = images(5)
    network.gate.dense.weight.zero_()
    network.gate.dense.bias.fill_(-60)
    torch.testing.assert_close(network(batch), network.old(batch), rtol=0, atol=1e-6)
    network.gate.dense.bias.fill_(60)
    torch.testing.assert_close(network(batch), network.head(network.backbone(batch)), rtol=0, atol=1e-6)


def test_the_old_part_learns_nothing_and_always_evaluates(fitted: Path) -> None:
    network: Any = mixture(fitted).network.train()
    assert network.training
    assert network.backbone.training
    assert not any(part.training for part in network.old.modules())
    network(images(4)).sum().backward()
    assert all(parameter.grad is None for parameter in network.old.parameters())
    assert network.head.dense.weight.grad.abs().sum() > 0


def written(fitted: Path, out: Path) -> tuple[Known, np.ndarray, np.ndarray]:
    known = mixture(fitted)
    parent = read_bundle(fitted)[0]
    description = {key: value for key, value in parent.items() if key not in ("format", "version", "files")}
    description |= {"method": "beside", "settings": as_dict(known.settings)}
    pictures = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    logits = facetell.Detector(known.network, description, "cpu").logits(pictures)
    selftest = {"images": torch.from_numpy(pictures), "logits": torch.from_numpy(logits)}
    write_bundle(out, description, known.network.state_dict(), selftest, {}, "a card", {})
    return known, pictures, logits


def test_to_disk_and_back(fitted: Path, tmp_path: Path) -> None:
    known, pictures, logits = written(fitted, tmp_path / "detector")
    again = facetell.Detector.load(tmp_path / "detector", "cpu")
    np.testing.assert_array_equal(again.logits(pictures), logits)
    for name, tensor in known.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor), name
    assert facetell.verify(tmp_path / "detector")["method"] == "beside"
    verdict = again.detect(fitted.parent / "pictures" / "test-0-real.png", faces="crops")
    assert verdict.decision in ("real", "fake")


DEEP = 100_000


@pytest.mark.parametrize(
    "settings",
    ["{", "[1]", "3", "null", '"text"', '{"lr": "fast"}', '{"nothing": 1}', "[" * DEEP, '{"size": {"size": 1}}'],
    ids=["cut", "list", "number", "null", "text", "value", "unknown", "deep", "nested"],
)
def test_damaged_old_settings_are_said(settings: str, fitted: Path, tmp_path: Path) -> None:
    written(fitted, tmp_path / "detector")
    file = tmp_path / "detector" / "detector.json"
    description = json.loads(file.read_text())
    description["settings"]["old_settings"] = settings
    file.write_text(json.dumps(description))
    with pytest.raises(BundleError):
        facetell.Detector.load(tmp_path / "detector", "cpu")
    with pytest.raises(SettingsError):
        get_method("beside").build(resolve(get_method("beside").settings, {"old_settings": settings}))


@pytest.mark.parametrize("text", ["[" * DEEP, '{"format": ' * DEEP], ids=["lists", "tables"])
def test_a_description_nested_too_deep_is_damaged(text: str, fitted: Path, tmp_path: Path) -> None:
    shutil.copytree(fitted, tmp_path / "detector")
    (tmp_path / "detector" / "detector.json").write_text(text)
    with pytest.raises(BundleError, match="damaged"):
        facetell.Detector.load(tmp_path / "detector", "cpu")


def test_an_unknown_old_method_is_said(fitted: Path, tmp_path: Path) -> None:
    written(fitted, tmp_path / "detector")
    file = tmp_path / "detector" / "detector.json"
    description = json.loads(file.read_text())
    description["settings"]["old_method"] = "magic"
    file.write_text(json.dumps(description))
    with pytest.raises(BundleError, match="magic"):
        facetell.Detector.load(tmp_path / "detector", "cpu")


def test_it_is_made_by_adapt_and_not_by_fit(fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "beside" not in METHODS
    with pytest.raises(UsageError, match="adapt"):
        facetell.fit("beside", fitted.parent / "faces", tmp_path / "out")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "beside", str(fitted.parent / "faces"), "-o", str(tmp_path / "out")])
    assert stop.value.code == UsageError.exit_code
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
