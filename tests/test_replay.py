"""Training with replay: what keeps the old, and what is in a batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lessons import SIZE, School, school, tensors
from torch import Tensor, nn

from facetell.adaptation import replay as module
from facetell.adaptation.replay import Plan, replay_loss, train_with_replay
from facetell.networks.backbones import Backbone
from facetell.training.augment import NO_AUGMENTATION, Augmentation
from facetell.training.fabric import make_fabric
from facetell.training.feature_maps import FeatureMaps, Views
from facetell.training.loop import predict

PLAN = Plan(lr=2e-3, least=30, most=30, fresh=8, old=8, averaging=0.0)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("school")
        patch.setenv("FACETELL_CACHE", str(root / "cache"))
        yield school(root, "squeezenet1_1")


def replayed(given: School, plan: Plan, buffer: bool = True) -> nn.Module:
    network = given.model.copy()
    train_with_replay(network, [{"params": list(network.parameters())}], given.task(replay=buffer), plan, still=[])
    return network


@pytest.mark.slow
def test_holding_keeps_the_old_logits_nearer(given: School) -> None:
    fabric = make_fabric("32-true", "cpu")
    before = predict(given.model.network, given.old, fabric)
    moved = {}
    for hold in (0.0, 20.0):
        network = replayed(given, dataclasses.replace(PLAN, hold=hold))
        moved[hold] = float(np.abs(predict(network, given.old, fabric) - before).mean())
    assert moved[20.0] < moved[0.0] / 2


@pytest.mark.slow
def test_pulling_keeps_the_weights_nearer(given: School) -> None:
    before = tensors(given.model)
    moved = {}
    for pull in (0.0, 10.0):
        after = replayed(given, dataclasses.replace(PLAN, pull=pull)).state_dict()
        moved[pull] = sum(float((after[name] - before[name]).square().sum()) for name in before)
    assert moved[10.0] < moved[0.0] / 2


def test_the_loss_by_hand() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, -0.5])
    labels = [torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0])]
    entropy = [torch.log1p(torch.exp(torch.tensor(-sign * value))) for sign, value in
               ((1, 2.0), (-1, -1.0), (1, 0.5), (-1, -0.5))]  # fmt: skip
    alone = (entropy[0] + entropy[1]) / 2
    torch.testing.assert_close(replay_loss(logits[:2], labels[:1], None, PLAN), alone)
    known = torch.tensor([1.5, -0.5])
    both = alone + (entropy[2] + entropy[3]) / 2 + PLAN.hold * (1.0**2 + 0.0) / 2
    torch.testing.assert_close(replay_loss(logits, labels, known, PLAN), both)


@pytest.mark.slow
def test_half_of_each_label_in_every_batch(given: School, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of new and of old images, though the labels of the new ones are lopsided; old logits belong to the old images."""
    task = given.task()
    few = np.concatenate([np.flatnonzero(given.new.labels == 0), np.flatnonzero(given.new.labels == 1)[:3]])
    task = task.subset(few)
    seen: list[list[Tensor]] = []
    known_ones: list[Tensor] = []

    def watching(logits: Tensor, labels: list[Tensor], known: Tensor | None, plan: Plan) -> Tensor:
        assert known is not None
        seen.append(labels)
        known_ones.append(known)
        assert len(logits) == 16
        return replay_loss(logits, labels, known, plan)

    network = given.model.copy()
    plan = dataclasses.replace(PLAN, least=7, most=7)
    monkeypatch.setattr(module, "replay_loss", watching)
    train_with_replay(network, [{"params": list(network.parameters())}], task, plan, still=[])
    assert len(seen) == 7
    assert {int(each.sum()) for labels in seen for each in labels} == {4}
    assert {len(each) for labels in seen for each in labels} == {8}
    assert task.replay is not None
    pairs = {(float(logit), int(label)) for logit, label in zip(task.replay.logits, given.old.labels, strict=True)}
    shown = {
        (float(logit), int(label))
        for labels, known in zip(seen, known_ones, strict=True)
        for logit, label in zip(known, labels[1], strict=True)
    }
    assert shown <= pairs
    assert len(shown) == len(pairs)  # 7 steps go through all twenty


def test_there_are_passes_over_the_new_images_within_bounds() -> None:
    plan = Plan(lr=1e-3, passes=12, least=30, most=400, fresh=32)
    labels = [np.repeat([0, 1], [n // 2, n // 2]).astype(np.int8) for n in (10, 80, 400, 100_000)]
    assert [plan.steps(each) for each in labels] == [30, 30, 150, 400]
    assert plan.steps(np.repeat([0, 1], [5000, 200]).astype(np.int8)) == 150  # as many as for 200 of each


def test_frozen_parts_evaluate_and_the_rest_trains(given: School) -> None:
    network = given.model.copy()
    parts: Any = network.get_submodule("backbone")
    modes = []
    hook = network.register_forward_pre_hook(lambda *_: modes.append((parts.training, network.training)))
    plan = dataclasses.replace(PLAN, least=2, most=2)
    train_with_replay(network, [{"params": list(network.parameters())}], given.task(), plan, still=[parts])
    hook.remove()
    assert set(modes) == {(False, True)}
    assert not network.training


@pytest.mark.slow
def test_a_frozen_backbone_learns_from_its_maps_as_from_the_images(
    given: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without augmentation the maps are those of the images, in half precision: the head ends at the same place."""
    monkeypatch.setattr(module, "AUGMENTATION", NO_AUGMENTATION)
    fabric = make_fabric("32-true", "cpu")
    backbone = given.model.network.get_submodule("backbone")
    assert isinstance(backbone, Backbone)
    maps = tuple(
        FeatureMaps(backbone, part.images, part.rows, Views(), fabric, tmp_path) for part in (given.new, given.old)
    )
    task = dataclasses.replace(given.task(), maps=(maps[0], maps[1]))
    ends = []
    for frozen in (True, False):
        network = given.model.copy().requires_grad_(False)
        head = list(network.get_submodule("head").parameters())
        for parameter in head:
            parameter.requires_grad_(True)
        train_with_replay(network, [{"params": head}], task, PLAN, still=[network], frozen=frozen)
        ends.append(torch.cat([parameter.detach().flatten() for parameter in head]))
    start = torch.cat(
        [parameter.detach().flatten() for parameter in given.model.network.get_submodule("head").parameters()]
    )
    assert (ends[0] - ends[1]).norm() < 0.05 * (ends[0] - start).norm()


def test_maps_are_those_of_the_pixels(given: School, tmp_path: Path) -> None:
    fabric = make_fabric("32-true", "cpu")
    backbone = given.model.network.get_submodule("backbone")
    assert isinstance(backbone, Backbone)
    rows = given.new.rows[3:15]
    maps = FeatureMaps(backbone, given.new.images, rows, Views(Augmentation(), 0, 2), fabric, tmp_path)
    for turn in (0, 1, 2):
        some = rows[[4, 1, 7]]
        pixels = maps.pixels(some, turn)
        assert pixels.shape == (3, 3, SIZE, SIZE)
        with torch.no_grad():
            torch.testing.assert_close(maps.maps(some, turn), backbone(pixels), rtol=2e-3, atol=2e-3)
    assert torch.equal(maps.pixels(rows, 0), maps.pixels(rows, 2))
    assert not torch.equal(maps.pixels(rows, 0), maps.pixels(rows, 1))
    plain = FeatureMaps(backbone, given.new.images, rows, Views(), fabric, tmp_path)
    images = torch.from_numpy(given.new.images.gather(rows)).permute(0, 3, 1, 2).float() / 255
    torch.testing.assert_close(plain.pixels(rows, 0), images, atol=2e-5, rtol=0)
