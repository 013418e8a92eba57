"""What each strategy of adapting changes, and what it must leave alone."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

import lessons
import numpy as np
import pytest
import torch
from lessons import School, school, tensors
from torch import nn

from facetell.adaptation.selection import interpolated
from facetell.adaptation.strategies import STRATEGIES, get_strategy
from facetell.adaptation.task import Model
from facetell.errors import UsageError
from facetell.methods import get_method
from facetell.settings import as_dict, resolve
from facetell.training.loop import predict

pytestmark = pytest.mark.slow

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(autouse=True)
def quick(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps of each strategy; pictures in a cache of their own."""
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    for module in map(importlib.import_module, STRATEGIES.values()):
        if hasattr(module, "PLAN"):
            few = dataclasses.replace(module.PLAN, most=3, least=3, fresh=8, old=8, averaging=0.5)
            monkeypatch.setattr(module, "PLAN", few)


@pytest.fixture(scope="module")
def normed(tmp_path_factory: pytest.TempPathFactory) -> School:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("normed")
        patch.setenv("FACETELL_CACHE", str(root / "cache"))
        return school(root)


@pytest.fixture(scope="module")
def normless(tmp_path_factory: pytest.TempPathFactory) -> School:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("normless")
        patch.setenv("FACETELL_CACHE", str(root / "cache"))
        return school(root, "squeezenet1_1")


def changed(before: dict[str, torch.Tensor], after: Model) -> set[str]:
    return {name for name, tensor in tensors(after).items() if not torch.equal(before[name], tensor)}


def rebuilt(model: Model) -> nn.Module:
    """As ``Detector.load`` would: from the method's name, settings that went through JSON, and tensors."""
    method = get_method(model.method)
    network = method.build(resolve(method.settings, as_dict(model.settings)))
    network.load_state_dict(model.network.state_dict())
    return network.eval()


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("which", ["normed", "normless"])
def test_the_old_stays_and_the_new_can_be_built_again(name: str, which: str, request: pytest.FixtureRequest) -> None:
    given: School = request.getfixturevalue(which)
    model, strategy = given.model, get_strategy(name)
    assert strategy.obstacle(given.task()) is None
    before = tensors(model)
    first = learned(given, name)
    second = strategy.learn(given.task())
    assert changed(before, model) == set()
    assert not model.network.training
    assert not first.network.training
    probe = torch.rand(5, 3, lessons.SIZE, lessons.SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = first.network(probe)
        assert logits.shape == (5,)
        torch.testing.assert_close(rebuilt(first)(probe), logits)
        assert not torch.allclose(model.network(probe), logits)
    assert set(tensors(first)) == set(tensors(second))
    assert changed(tensors(first), second) == set()
    if (
        name not in ("classical", "expert") and given.model.settings.backbone == "squeezenet1_1"
    ):  # logistic regression has one solution
        assert changed(tensors(first), strategy.learn(given.task(5))) != set()


_LEARNED: dict[tuple[int, str], Model] = {}


def learned(given: School, name: str) -> Model:
    """What a strategy learns with seed 0, once for all tests that look at it."""
    key = (id(given), name)
    if key not in _LEARNED:
        _LEARNED[key] = get_strategy(name).learn(given.task())
    return _LEARNED[key]


def head_names(model: Model) -> set[str]:
    return {f"head.{name}" for name, _ in model.network.get_submodule("head").named_parameters()}


@pytest.mark.parametrize("which", ["normed", "normless"])
def test_a_linear_probe_changes_the_head_alone(which: str, request: pytest.FixtureRequest) -> None:
    given: School = request.getfixturevalue(which)
    found = learned(given, "linear-probe")
    assert changed(tensors(given.model), found) == head_names(given.model)


def test_norms_change_scales_and_shifts_and_the_head(normed: School) -> None:
    network = normed.model.network
    norms = {
        f"{name}.{leaf}"
        for name, part in network.get_submodule("backbone").named_modules(prefix="backbone")
        if isinstance(part, nn.BatchNorm2d)
        for leaf in ("weight", "bias")
    }
    assert len(norms) > 10
    found = learned(normed, "norms")
    assert changed(tensors(normed.model), found) == norms | head_names(normed.model)


def test_without_norms_the_biases_change(normless: School) -> None:
    found = learned(normless, "norms")
    names = {name for name in tensors(normless.model) if name.startswith("backbone.") and name.endswith(".bias")}
    assert names
    moved = changed(tensors(normless.model), found)
    assert moved <= names | head_names(normless.model)
    assert len(moved & names) > 0.8 * len(names)  # one behind dead units has no gradient


@pytest.mark.parametrize("which", ["normed", "normless"])
def test_full_changes_every_parameter_and_no_statistic(which: str, request: pytest.FixtureRequest) -> None:
    given: School = request.getfixturevalue(which)
    found = learned(given, "full")
    assert changed(tensors(given.model), found) == {name for name, _ in given.model.network.named_parameters()}


@pytest.mark.parametrize("which", ["normed", "normless"])
def test_lora_adds_thin_matrices_and_merges_them(which: str, request: pytest.FixtureRequest) -> None:
    given: School = request.getfixturevalue(which)
    before = tensors(given.model)
    found = learned(given, "lora")
    after = tensors(found)
    assert set(after) == set(before)  # no parametrisation is left
    layers = [
        f"backbone.{name}.weight"
        for name, part in given.model.network.get_submodule("backbone").named_modules()
        if isinstance(part, nn.Conv2d | nn.Linear)
    ]
    assert changed(before, found) == set(layers) | head_names(given.model)
    ranks = [int(torch.linalg.matrix_rank((after[name] - before[name]).flatten(1), rtol=1e-3)) for name in layers]
    assert max(ranks) <= 8
    assert max(min(before[name].flatten(1).shape) for name in layers) > 30  # a full one would have shown


@pytest.mark.parametrize("name", ["norms", "lora", "full", "linear-probe", "fdftnet", "classical"])
def test_running_statistics_of_the_backbone_stay(name: str, normed: School) -> None:
    before = tensors(normed.model)
    after = tensors(learned(normed, name))
    statistics = [key for key in before if key.startswith("backbone.") and key.endswith(STATISTICS)]
    assert statistics
    for key in statistics:
        assert torch.equal(before[key], after[key]), key


@pytest.mark.parametrize("name", ["fdftnet", "classical"])
def test_a_new_end_stands_on_the_same_backbone(name: str, normed: School) -> None:
    before = tensors(normed.model)
    found = learned(normed, name)
    assert found.method == {"fdftnet": "fdftnet", "classical": "features"}[name]
    after = tensors(found)
    names = [key for key in before if key.startswith("backbone.")]
    assert names
    for key in names:
        assert torch.equal(before[key], after[key]), key


def test_without_a_replay_buffer_all_but_an_expert_can_learn(normless: School) -> None:
    task = normless.task(replay=False)
    for name in STRATEGIES:
        why = get_strategy(name).obstacle(task)
        assert (why is None) is (name != "expert"), name
        if why is None:
            get_strategy(name).learn(task)
    assert "replay buffer" in str(get_strategy("expert").obstacle(task))
    no_second = dataclasses.replace(normless.task(), second=None)
    assert "--pretrained" in str(get_strategy("expert").obstacle(no_second))


def test_halfway_is_the_mean_of_the_weights(normed: School) -> None:
    found = learned(normed, "full")
    old, new, half = tensors(normed.model), tensors(found), tensors(interpolated(normed.model, found, 0.5))
    for name, tensor in half.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, (old[name] + new[name]) / 2)
    assert interpolated(normed.model, found, 1.0) is found


def test_an_unknown_strategy_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'norms'"):
        get_strategy("norm")


@pytest.mark.parametrize("method", ["siamese", "features"])
def test_detectors_of_other_methods_can_adapt_or_it_is_said_why(method: str, tmp_path: Path) -> None:
    given = school(tmp_path, method=method, backbone="squeezenet1_1")
    learned = 0
    for name in STRATEGIES:
        strategy, task = get_strategy(name), given.task()
        why = strategy.obstacle(task)
        if why is None:
            found = strategy.learn(task)
            assert np.isfinite(predict(found.network, given.new, task.fabric)).all(), name
            rebuilt(found)
            learned += 1
        else:
            assert len(why) > 20
    assert learned >= 3
