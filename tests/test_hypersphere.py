"""Losses on features of unit length against slow loops, and what of them a fit feels."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from toy import TINY

import facetell
from facetell.errors import SettingsError
from facetell.faceset.table import FaceSet
from facetell.methods.finetune import METHOD, FinetuneSettings, begin
from facetell.settings import resolve
from facetell.training.hypersphere import alignment, uniformity


def on_sphere(count: int, length: int = 5) -> Tensor:
    return F.normalize(torch.randn(count, length, generator=torch.Generator().manual_seed(count)), dim=1)


def pairs(features: Tensor) -> list[tuple[int, int, float]]:
    rows = [[float(value) for value in row] for row in features]
    distance = {(i, j): sum((a - b) ** 2 for a, b in zip(rows[i], rows[j], strict=True))
                for i, j in itertools.combinations(range(len(rows)), 2)}  # fmt: skip
    return [(i, j, squared) for (i, j), squared in distance.items()]


@pytest.mark.parametrize("labels", [[0, 1, 1, 0, 1, 0, 0], [1, 1, 1], [0, 1]])
def test_both_losses_are_the_mean_over_pairs(labels: list[int]) -> None:
    features = on_sphere(len(labels))
    same = [squared for i, j, squared in pairs(features) if labels[i] == labels[j]]
    expected = sum(same) / len(same) if same else 0.0
    assert alignment(features, torch.tensor(labels).float()).item() == pytest.approx(expected, abs=1e-6)
    potentials = [math.exp(-2 * squared) for _, _, squared in pairs(features)]
    expected = math.log(sum(potentials) / len(potentials))
    assert uniformity(features).item() == pytest.approx(expected, abs=1e-5)


def test_their_limits() -> None:
    poles = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    labels = torch.ones(2)
    assert alignment(poles, labels).item() == pytest.approx(4)  # the farthest on a sphere
    assert uniformity(poles).item() == pytest.approx(-8)
    same = torch.tensor([[0.6, 0.8], [0.6, 0.8]], requires_grad=True)
    found = alignment(same, labels) + uniformity(same)
    assert found.item() == pytest.approx(0, abs=1e-6)
    (gradient,) = torch.autograd.grad(found, same)
    assert gradient.isfinite().all()


def test_the_logit_is_a_neuron_on_the_unit_vector() -> None:
    settings = FinetuneSettings(**{**TINY, "normalise": True})
    network = METHOD.build(settings).eval()
    network.head.dense.weight.data.normal_()
    network.head.dense.bias.data.fill_(0.3)
    images = torch.rand(3, 3, 32, 32)
    pooled = network.backbone(images).mean(dim=(2, 3)).detach()
    weight = network.head.dense.weight[0].detach()
    by_hand = [float(torch.dot(weight, vector) / vector.norm()) + 0.3 for vector in pooled]
    torch.testing.assert_close(network(images), torch.tensor(by_hand))


def test_what_is_lowered_is_the_weighted_sum() -> None:
    settings = FinetuneSettings(**{**TINY, "normalise": True, "alignment": 0.1, "uniformity": 0.5})
    network = METHOD.build(settings).eval()
    network.head.dense.weight.data.normal_()
    objective = begin(network, "all", settings).objective
    assert objective is not None
    images, labels = torch.rand(6, 3, 32, 32), torch.tensor([0.0, 1, 1, 0, 1, 0])
    features = F.normalize(network.backbone(images).mean(dim=(2, 3)), dim=1)
    entropy = F.binary_cross_entropy_with_logits(network(images), labels)
    expected = entropy + 0.1 * alignment(features, labels) + 0.5 * uniformity(features)
    torch.testing.assert_close(objective.loss(objective.module(images), labels), expected)


@pytest.mark.slow
@pytest.mark.parametrize("train", ["svd", "head"])
def test_a_fit_with_both_losses_gives_a_plain_detector(train: str, faces: FaceSet, tmp_path: Path) -> None:
    settings = {**TINY, "epochs": 1, "backbone": "resnet10t", "train": train, "normalise": True, "head": "vector"}
    losses = {"alignment": 0.1, "uniformity": 0.5}
    facetell.fit("finetune", faces.path, tmp_path / "one", settings=settings | losses)
    facetell.fit("finetune", faces.path, tmp_path / "two", settings=settings)
    one, two = (
        facetell.Detector.load(tmp_path / name, "cpu", runtime="torch").runtime.network.state_dict()
        for name in ("one", "two")
    )
    assert list(one) == list(two)
    backbone = [name for name in one if name.startswith("backbone.") and not torch.equal(one[name], two[name])]
    assert bool(backbone) == (train != "head")  # a frozen backbone feels nothing of them


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alignment": 0.1}, "features of length 1"),
        ({"uniformity": 0.5}, "features of length 1"),
        ({"normalise": True, "head": "flatten"}, "not scaled"),
        ({"normalise": True, "alignment": -1}, "0 or more"),
    ],
)
def test_what_does_not_go_together_is_said(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        resolve(FinetuneSettings, settings)
