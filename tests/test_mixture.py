"""An old network and experts that correct it: the mixture's formula, and its way to disk and back."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn
from toy import toy_picture

import facetell
from facetell.adaptation.task import Model
from facetell.cli.main import main
from facetell.detector.bundle import hash_of_tensors, read_bundle, write_bundle
from facetell.detector.lineage import Lineage
from facetell.detector.runtimes.torch import TorchRuntime
from facetell.errors import BundleError, SettingsError, UsageError
from facetell.explanation.sanity import randomised
from facetell.faceset.table import FaceSet
from facetell.methods import METHODS, get_method
from facetell.methods.building import arrays_of
from facetell.networks.backbones import build_backbone
from facetell.networks.mixture import AtSize, MixtureOfExperts, Probe
from facetell.pixels.decode import resize
from facetell.settings import as_dict, resolve

SIZE = 32
PICTURES = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def untouched(fitted: Path) -> Model:
    detector = facetell.Detector.load(fitted, "cpu", runtime="torch")
    given = {
        "backbone": "squeezenet1_1",
        "pretrained": "none",
        "size": SIZE,
        "old_method": detector.description["method"],
        "old_settings": json.dumps(detector.description["settings"]),
    }
    settings: Any = resolve(get_method("experts").settings, given)
    torch.manual_seed(5)
    network = MixtureOfExperts(detector.runtime.network, SIZE, build_backbone("squeezenet1_1", SIZE), SIZE)
    return Model("experts", settings, network.eval())


@pytest.fixture
def mixture(untouched: Model) -> Model:
    """An old network and one expert that has not learned."""
    return untouched.having(copy.deepcopy(untouched.network))


def images(count: int, size: int = SIZE) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(3))


def learned_by_chance(probe: Probe, seed: int) -> Probe:
    torch.manual_seed(seed)
    with torch.no_grad():
        probe.centre.normal_()
        probe.spread.uniform_(0.05, 2)
        probe.dense.weight.normal_(std=0.05)
        probe.dense.bias.normal_()
    return probe


def neuron(probe: Probe, vector: torch.Tensor) -> float:
    total = float(probe.dense.bias)
    for x, centre, spread, weight in zip(vector, probe.centre, probe.spread, probe.dense.weight[0], strict=True):
        total += float(weight) * min(max((float(x) - float(centre)) / float(spread), -5.0), 5.0)
    return total


@pytest.mark.slow
@torch.no_grad()
def test_the_formula_face_by_face(mixture: Model) -> None:
    """Two experts: each moves the logit of what stands before it by its gate."""
    network = mixture.network.with_expert().eval()  # type: ignore[operator]
    for k, expert in enumerate(network.experts):
        learned_by_chance(expert.head, 2 * k)
        learned_by_chance(expert.gate, 2 * k + 1)
    batch = images(3)
    found = network(batch)
    for k in range(3):
        vector = network.statistics(batch[k : k + 1])[0]
        logit = float(network.old.network(batch[k : k + 1]))
        for expert in network.experts:
            gate = 1 / (1 + np.exp(-neuron(expert.gate, vector)))
            logit = (1 - gate) * logit + gate * neuron(expert.head, vector)
        assert float(found[k]) == pytest.approx(logit, abs=1e-3)


@pytest.mark.slow
@torch.no_grad()
def test_a_shut_gate_is_the_old_network_and_an_open_one_the_new(mixture: Model) -> None:
    network: Any = mixture.network
    expert = network.experts[0]
    learned_by_chance(expert.head, 0)
    batch = images(5)
    expert.gate.dense.bias.fill_(-60)
    torch.testing.assert_close(network(batch), network.old.network(batch), rtol=0, atol=1e-6)
    expert.gate.dense.bias.fill_(60)
    torch.testing.assert_close(network(batch), expert.head(network.statistics(batch)), rtol=0, atol=1e-6)


def test_the_old_network_sees_its_own_size_as_a_file_would_be_resized() -> None:
    rng = np.random.default_rng(4)
    large = np.stack([np.asarray(toy_picture(rng, fake=True, side=5 * SIZE // 2)) for _ in range(4)])
    small = np.stack([resize(each, SIZE) for each in large])
    seen, own = (torch.from_numpy(each).permute(0, 3, 1, 2).float() / 255 for each in (large, small))
    old = AtSize(nn.Identity(), SIZE)
    torch.testing.assert_close(old(seen), own, rtol=0, atol=1 / 255)  # pixels are rounded in between
    assert torch.equal(old(own), own)


def test_another_expert_changes_nothing_until_it_learns(mixture: Model) -> None:
    network: Any = mixture.network
    learned_by_chance(network.experts[0].head, 0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    grown = network.with_expert()
    assert len(grown.experts) == 2
    assert len(network.experts) == 1
    for name, tensor in before.items():
        assert torch.equal(grown.state_dict()[name], tensor), name
    added = sum(tensor.numel() for name, tensor in grown.state_dict().items() if name not in before)
    assert added == 2 * (3 * network.statistics.length + 1)


def test_random_heads_leave_what_experts_stand_on(mixture: Model) -> None:
    network = mixture.network
    learned_by_chance(network.experts[0].head, 1)  # type: ignore[index, union-attr]
    before = network.state_dict()
    after = randomised(network, "head", 0).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"experts.0.head.dense.weight"}


def test_the_old_part_and_the_backbone_learn_nothing_and_always_evaluate(mixture: Model) -> None:
    network: Any = mixture.network.train()
    assert network.training
    assert not any(part.training for part in (*network.old.modules(), *network.statistics.modules()))
    network(images(4)).sum().backward()
    learning = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert learning
    assert all(name.startswith("experts.0.") for name in learning)


@pytest.fixture(scope="module")
def written(untouched: Model, fitted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, network = tmp_path_factory.mktemp("written") / "detector", copy.deepcopy(untouched.network)
    parent = read_bundle(fitted)
    description = {key: value for key, value in parent.items() if key not in ("format", "version", "files")}
    weights = hash_of_tensors(arrays_of(network))
    calibration = {**parent["calibration"], "weights": weights, "embedding": None}
    description |= {
        "runtime": "torch",
        "method": "experts",
        "settings": as_dict(untouched.settings),
        "calibration": calibration,
    }
    logits = facetell.Detector(TorchRuntime(network, SIZE), description).logits(PICTURES)
    selftest = {"images": PICTURES, "logits": logits}
    write_bundle(out, description, arrays_of(network), selftest, {}, "a card", {}, lineage=Lineage.new("0" * 64))
    return out


def damaged(written: Path, out: Path, **settings: str) -> Path:
    """A copy of the detector whose description has other settings."""
    shutil.copytree(written, out)
    description = json.loads((out / "detector.json").read_text())
    description["settings"] |= settings
    (out / "detector.json").write_text(json.dumps(description))
    return out


@pytest.mark.slow
def test_to_disk_and_back(mixture: Model, written: Path, faces: FaceSet) -> None:
    again = facetell.Detector.load(written, "cpu")
    np.testing.assert_array_equal(again.logits(PICTURES), load_file(written / "selftest.safetensors")["logits"])
    for name, tensor in mixture.network.state_dict().items():
        assert torch.equal(again.runtime.network.state_dict()[name], tensor), name
    assert facetell.verify(written).method == "experts"
    verdict = again.detect(faces.path.parent / "pictures" / "test-0-real.png", faces="crops")
    assert verdict.decision in ("real", "fake")


DEEP = 100_000


@pytest.mark.parametrize(
    "settings",
    ["{", "[1]", "3", "null", '"text"', '{"lr": "fast"}', '{"nothing": 1}', "[" * DEEP, '{"size": {"size": 1}}'],
    ids=["cut", "list", "number", "null", "text", "value", "unknown", "deep", "nested"],
)
def test_damaged_old_settings_are_said(settings: str, written: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        facetell.Detector.load(damaged(written, tmp_path / "detector", old_settings=settings), "cpu")
    with pytest.raises(SettingsError):
        get_method("experts").build(resolve(get_method("experts").settings, {"old_settings": settings}))


@pytest.mark.parametrize("text", ["[" * DEEP, '{"format": ' * DEEP], ids=["lists", "tables"])
def test_a_description_nested_too_deep_is_damaged(text: str, fitted: Path, tmp_path: Path) -> None:
    shutil.copytree(fitted, tmp_path / "detector")
    (tmp_path / "detector" / "detector.json").write_text(text)
    with pytest.raises(BundleError, match="damaged"):
        facetell.Detector.load(tmp_path / "detector", "cpu")


def test_an_old_detector_of_larger_images_is_refused() -> None:
    settings = resolve(get_method("experts").settings, {"size": 32, "old_settings": '{"size": 64}'})
    with pytest.raises(SettingsError, match="64 pixels a side, more than 32"):
        get_method("experts").build(settings)


def test_an_unknown_old_method_is_said(written: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="magic"):
        facetell.Detector.load(damaged(written, tmp_path / "detector", old_method="magic"), "cpu")


def test_it_is_made_by_adapt_and_not_by_fit(faces: FaceSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "experts" not in METHODS
    with pytest.raises(UsageError, match="adapt"):
        facetell.fit("experts", faces.path, tmp_path / "out")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "experts", str(faces.path), "-o", str(tmp_path / "out")])
    assert stop.value.code == UsageError.exit_code
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
