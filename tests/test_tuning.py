"""Norms, low-rank products and residual singular components: what learns, how it begins, and what is left when merged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from toy import TINY

import facetell
from facetell.faceset.table import FaceSet
from facetell.networks.backbones import build_backbone
from facetell.networks.tuning import LowRank, ResidualSVD, low_rank, norm_parameters, residual_svd
from facetell.progress import Step


def test_a_low_rank_product_begins_as_nothing() -> None:
    weight = torch.randn(12, 5, 3, 3)
    product = LowRank(weight, 4)
    assert torch.equal(product(weight), weight)
    product.up.data.normal_()
    by_hand = weight + torch.einsum("or,ri->oi", product.up, product.down).reshape(12, 5, 3, 3)
    torch.testing.assert_close(product(weight), by_hand)


def moved(weight: Tensor, rank: int, parts: int = 1) -> ResidualSVD:
    """Components some steps away from where they began."""
    residual = ResidualSVD(weight, rank, parts)
    for parameter in residual.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return residual


@pytest.mark.parametrize("shape", [(12, 5, 3, 3), (7, 20), (20, 7)])
def test_residual_components_begin_as_the_weight_and_leave_the_others(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    weight, rank = torch.randn(shape), 2
    assert torch.equal(ResidualSVD(weight, rank)(weight), weight)
    residual = moved(weight, rank)
    up, values, down = np.linalg.svd(weight.flatten(1).double().numpy(), full_matrices=False)
    kept = (up[:, :-rank] * values[:-rank]) @ down[:-rank]
    left = residual(weight).detach().flatten(1).double().numpy() - kept
    assert np.linalg.matrix_rank(left, tol=1e-4) == rank
    by_hand = residual.up[0] @ torch.diag(residual.values[0]) @ residual.down[0]
    np.testing.assert_allclose(left, by_hand.detach().numpy(), atol=1e-5)


def slow_penalty(weight: NDArray[np.float64], residual: ResidualSVD, rank: int) -> float:
    """Both terms of Yan et al. 2025 for one matrix, element by element."""
    up, values, down = np.linalg.svd(weight, full_matrices=False)
    signs = np.sign(
        np.sum(up[:, :-rank] * residual.kept_up[0].numpy(), axis=0)
    )  # a decomposition is unique up to signs
    new_up = np.concatenate([up[:, :-rank] * signs, residual.up[0].detach().numpy()], axis=1)
    new_down = np.concatenate([down[:-rank] * signs[:, None], residual.down[0].detach().numpy()])
    new_values = np.concatenate([values[:-rank], residual.values[0].detach().numpy()])
    total = 0.0
    for vectors in (new_up.T, new_down):
        for i, one in enumerate(vectors):
            for j, other in enumerate(vectors):
                total += (sum(a * b for a, b in zip(one, other, strict=True)) - (i == j)) ** 2
    return total + abs(np.sum(((new_up * new_values) @ new_down) ** 2) - np.sum(weight**2))


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_the_penalty_is_the_papers(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    weight = torch.randn(shape)
    assert ResidualSVD(weight, 2).penalty(weight).item() == pytest.approx(0, abs=1e-4)
    residual = moved(weight, 2)
    expected = slow_penalty(weight.double().numpy(), residual, 2)
    assert expected > 0.1
    assert residual.penalty(weight).item() == pytest.approx(expected, rel=1e-3)


def test_query_key_and_value_are_decomposed_each_for_itself() -> None:
    torch.manual_seed(2)
    weight = torch.randn(12, 4)
    together = moved(weight, 1, parts=3)
    for k, rows in enumerate(weight.split(4)):
        alone = ResidualSVD(rows, 1)
        for name in ("up", "values", "down"):
            alone.get_parameter(name).data = together.get_parameter(name).data[k : k + 1]
        torch.testing.assert_close(together(weight)[4 * k : 4 * k + 4], alone(rows))


def test_attached_layers_merge_into_a_plain_network() -> None:
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(36, 2)
    )
    images = torch.randn(2, 3, 7, 7)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    expected = network(images)
    for attach in (low_rank, residual_svd):
        attached = attach(network, 2)
        torch.testing.assert_close(network(images), expected)
        assert len(attached.added) == 3  # the depthwise convolution is no one matrix
        for parameter in attached.parameters:
            parameter.data += 0.1
        changed = network(images)
        assert not torch.allclose(changed, expected)
        attached.merge()
        assert set(network.state_dict()) == set(before)
        torch.testing.assert_close(network(images), changed)
        assert torch.equal(network[1].weight, before["1.weight"])
        network.load_state_dict(before)


def test_without_attention_every_matrix_is_decomposed_and_with_it_its_own() -> None:
    convolutional, transformer = build_backbone("mobilenetv2_100", 64), build_backbone("deit_tiny_patch16_224", 64)
    dense = [part for part in convolutional.modules() if isinstance(part, nn.Conv2d) and part.groups == 1]
    assert len(residual_svd(convolutional, 1).added) == len(dense) > 30
    parts = [added.parts for added in residual_svd(transformer, 1).added if isinstance(added, ResidualSVD)]
    assert parts == 12 * [3, 1]  # twelve blocks: query, key and value in one layer, and the output


def test_without_norms_the_biases_learn() -> None:
    backbone = build_backbone("squeezenet1_1", 64)
    biases = [parameter for name, parameter in backbone.named_parameters() if name.endswith("bias")]
    assert [id(parameter) for parameter in norm_parameters(backbone)] == [id(bias) for bias in biases]


SETTINGS = {**TINY, "backbone": "resnet10t", "epochs": 2, "lr": 0.01, "averaging": 0.5}


@pytest.fixture(scope="module")
def base(faces: FaceSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("base") / "base"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACETELL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        facetell.fit("finetune", faces.path, out, settings={**SETTINGS, "epochs": 1})
    return out


def tensors(path: Path) -> dict[str, Tensor]:
    return facetell.Detector.load(path, "cpu", runtime="torch").runtime.network.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("train", ["norms", "lora", "svd"])
def test_what_learns_and_what_stays(train: str, faces: FaceSet, base: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "train": train, "pretrained": str(base)}
    del settings["backbone"]
    tuned = facetell.fit("finetune", faces.path, tmp_path / "tuned", settings=settings)
    before, after = tensors(base), tensors(tmp_path / "tuned")
    assert list(before) == list(after)  # on disk it is a plain network
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    inside = tuned.runtime.network.get_submodule("backbone").named_modules(prefix="backbone")
    parts = {name: part for name, part in inside if isinstance(part, nn.Conv2d | nn.BatchNorm2d)}
    kind = nn.BatchNorm2d if train == "norms" else nn.Conv2d
    leaves = (
        ("weight", "bias", "running_mean", "running_var", "num_batches_tracked") if train == "norms" else ("weight",)
    )
    learned = {f"{name}.{leaf}" for name, part in parts.items() if isinstance(part, kind) for leaf in leaves}
    assert changed == learned | {"head.dense.weight", "head.dense.bias"}
    if train != "norms":
        ranks = [int(torch.linalg.matrix_rank((after[name] - before[name]).flatten(1), rtol=1e-3)) for name in learned]
        assert max(ranks) <= {"lora": 8, "svd": 2}[train]  # what a component was is taken away, what it is added


class _StopError(Exception):
    pass


@pytest.mark.slow
def test_a_chain_of_both_goes_on_after_a_stop(faces: FaceSet, tmp_path: Path) -> None:
    settings = {**SETTINGS, "train": "svd,lora", "rank": 3}
    facetell.fit("finetune", faces.path, tmp_path / "whole", settings=settings, seed=1)

    def stop(step: Step) -> None:
        if step.what == "epoch" and step.done == 3:
            raise _StopError

    cut = tmp_path / "cut"
    with pytest.raises(_StopError):
        facetell.fit("finetune", faces.path, cut, settings=settings, seed=1, progress=stop)
    facetell.fit("finetune", faces.path, cut, settings=settings, seed=1, resume=True)
    assert (cut / "weights.safetensors").read_bytes() == (tmp_path / "whole" / "weights.safetensors").read_bytes()


def test_a_parametrised_pointwise_convolution_takes_the_quick_way() -> None:
    conv = nn.Conv2d(6, 5, 1)
    x = torch.randn(2, 6, 4, 4).contiguous(memory_format=torch.channels_last)
    attached = low_rank(nn.Sequential(conv), 2)
    with torch.autograd.profiler.profile() as profile:
        found = conv(x)
    assert "aten::convolution" not in {event.key for event in profile.key_averages()}
    torch.testing.assert_close(found, F.conv2d(x, attached.added[0](conv.parametrizations.weight.original), conv.bias))
