"""``finetune``: what is frozen stays, rates fall towards the stem, and a chain of steps survives a stop anywhere."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn
from toy import TINY

import facetell
from facetell.errors import SettingsError, UsageError
from facetell.faceset.table import FaceSet
from facetell.methods import get_method
from facetell.methods.finetune import Classifier, FinetuneSettings, begin
from facetell.networks.backbones import NAMED, build_backbone, default_head
from facetell.progress import Step
from facetell.settings import resolve
from facetell.training.recipe import Recipe, build_optimizer
from facetell.training.run import CHECKPOINT

NORMED = {**TINY, "backbone": "resnet10t", "epochs": 1}
"""A small backbone with batch norms."""


@pytest.fixture(scope="module")
def base(faces: FaceSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("base") / "base"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACETELL_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        facetell.fit("finetune", faces.path, out, settings=NORMED)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("averaging", [0.0, 0.9])
@pytest.mark.parametrize(("train", "learning"), [("head", ()), ("last-block", ("backbone.body.model.layer4.",))])
def test_the_frozen_part_stays_and_the_rest_learns(
    train: str, learning: tuple[str, ...], averaging: float, faces: FaceSet, base: Path, tmp_path: Path
) -> None:
    settings = {
        "pretrained": str(base),
        "epochs": 2,
        "batch_size": 16,
        "lr": 0.01,
        "averaging": averaging,
        "train": train,
    }
    tuned = facetell.fit("finetune", faces.path, tmp_path / "tuned", settings=settings)
    before = facetell.Detector.load(base, "cpu", runtime="torch").runtime.network.state_dict()
    after = tuned.runtime.network.state_dict()
    learned = {name for name in before if name.startswith(("head.", *learning))}
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed == learned  # batch norms' statistics on both sides
    assert ("backbone.body.model.layer4.0.bn1.running_mean" in changed) == bool(learning)


@pytest.mark.parametrize("name", [*NAMED, "deit_tiny_patch16_224", "convnext_atto", "rdnet_tiny", "pit_ti_224"])
def test_blocks_partition_the_parameters_stem_first(name: str) -> None:
    backbone = build_backbone(name, 224 if name == "pit_ti_224" else 64)
    place = {id(parameter): index for index, parameter in enumerate(backbone.parameters())}
    blocks = [[place[id(parameter)] for parameter in block] for block in backbone.blocks()]
    assert len(blocks) >= 3
    assert sorted(index for block in blocks for index in block) == list(range(len(place)))
    assert [min(block) for block in blocks] == sorted(min(block) for block in blocks)
    assert 0 in blocks[0]
    assert len(place) - 1 in blocks[-1]  # with it a norm after the last stage


def test_blocks_of_cffn_are_the_stages_of_both_streams() -> None:
    blocks = build_backbone("cffn", 64).blocks()
    assert [len(block) for block in blocks] == [2, *(2 * 8 * units for units in (2, 4, 3, 6))]  # 8 tensors per unit
    assert [block[-1].shape[0] for block in blocks] == [64, 96, 128, 256, 256]


def test_dropout_is_still_only_where_nothing_before_it_learns() -> None:
    backbone = build_backbone("shallownetv3", 64)
    backbone.freeze(backbone.blocks()[-1])
    backbone.train()
    assert [m.training for m in backbone.modules() if isinstance(m, nn.Dropout)] == [False] * 7 + [True]
    backbone.thaw()
    assert all(module.training for module in backbone.modules())
    assert all(parameter.requires_grad for parameter in backbone.parameters())
    backbone.freeze()
    backbone.train()
    assert not any(module.training for module in backbone.body.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_layer_decay_is_timms(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = timm.create_model("resnet50", num_classes=1)
    matcher = whole.group_matcher
    monkeypatch.setattr(whole, "group_matcher", lambda coarse: matcher(coarse=True))  # stages, where timm takes blocks
    names = {id(parameter): name for name, parameter in whole.named_parameters()}
    expected = {
        names[id(parameter)]: group["lr_scale"]
        for group in param_groups_layer_decay(whole, layer_decay=0.7)
        for parameter in group["params"]
    }
    backbone = build_backbone("resnet50", 64)
    network = Classifier(backbone, default_head(backbone, 64))
    optimizer = build_optimizer(Recipe(), begin(network, "all", FinetuneSettings(layer_decay=0.7)).groups)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = {
        names[id(parameter)].replace("backbone.body.model.", "").replace("head.dense", "fc"): group["factor"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert found == pytest.approx(expected)
    assert [found[name] for name in ("fc.weight", "layer4.0.bn1.bias", "conv1.weight")] == pytest.approx(
        [1, 0.7, 0.7**5]
    )
    assert {group["weight_decay"] for group in optimizer.param_groups} == {Recipe().weight_decay}


@pytest.mark.slow
def test_layer_decay_reaches_the_training(faces: FaceSet, base: Path, tmp_path: Path) -> None:
    settings = {
        "pretrained": str(base),
        "epochs": 1,
        "batch_size": 8,
        "averaging": 0.0,
        "weight_decay": 0.0,
        "layer_decay": 0.2,
        "lr": 0.01,
    }
    tuned = facetell.fit("finetune", faces.path, tmp_path / "tuned", settings=settings).runtime.network.state_dict()
    before = facetell.Detector.load(base, "cpu", runtime="torch").runtime.network.state_dict()
    moved = [
        (tuned[f"backbone.body.model.{name}"] - before[f"backbone.body.model.{name}"]).abs().mean().item()
        for name in ("conv1.0.weight", "layer2.0.conv1.weight", "layer4.0.conv1.weight")
    ]
    # Adam's steps are about as long as the rate, two blocks apart 0.04 times as long; they cancel differently.
    assert all(0.01 < first / second < 0.16 for first, second in itertools.pairwise(moved))


CHAIN = {**NORMED, "epochs": 3, "train": "all,last-block,head", "optimizer": "adamw", "dropout": 0.2}


class _StopError(Exception):
    pass


@pytest.fixture(scope="module")
def whole(faces: FaceSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[facetell.Detector, list[Step]]:
    """A chain that was left alone, and what it showed."""
    shown: list[Step] = []
    out = tmp_path_factory.mktemp("chain") / "whole"
    return facetell.fit("finetune", faces.path, out, settings=CHAIN, seed=1, progress=shown.append), shown


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [2, 3, 5])
def test_a_chain_stopped_in_any_step_ends_with_the_same_weights(
    stop_at: int, whole: tuple[facetell.Detector, list[Step]], faces: FaceSet, tmp_path: Path
) -> None:
    detector, shown = whole
    assert detector.path is not None
    training = [step for step in shown if step.what == "training"]
    assert {step.total for step in training} == {3 * 3 * 3}
    assert [step.done for step in training] == sorted(step.done for step in training)
    assert (training[-1].done, training[-1].note) == (27, "part 3 of 3, epoch 3/3")
    assert [(step.done, step.total) for step in shown if step.what == "epoch"] == [(i + 1, 9) for i in range(9)]

    def stop(step: Step) -> None:
        if step.what == "epoch" and step.done == stop_at:
            raise _StopError

    cut = tmp_path / "cut"
    with pytest.raises(_StopError):
        facetell.fit("finetune", faces.path, cut, settings=CHAIN, seed=1, progress=stop)
    assert (tmp_path / "cut.partial" / "step-2" / CHECKPOINT).exists() == (stop_at > 3)
    with pytest.raises(UsageError, match="interrupted fit"):
        facetell.fit("finetune", faces.path, cut, settings=CHAIN, seed=1)
    later: list[Step] = []
    facetell.fit("finetune", faces.path, cut, settings=CHAIN, seed=1, resume=True, progress=later.append)
    assert [step.done for step in later if step.what == "epoch"] == list(range(stop_at + 1, 10))
    for name in ("metrics.json", "weights.safetensors", "selftest.safetensors"):
        assert (detector.path / name).read_bytes() == (cut / name).read_bytes()
    with (cut / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["step"]) for row in rows] == [(str(1 + i), str(1 + i // 3)) for i in range(9)]
    assert detector.description["settings"]["train"] == "all,last-block,head"


@pytest.mark.slow
def test_each_step_begins_with_what_the_one_before_kept(faces: FaceSet, tmp_path: Path) -> None:
    """The last step teaches the head alone, so the backbone is what the step before kept; and it is free again after."""
    settings = {**CHAIN, "epochs": 1}
    one, two, three = (
        facetell.fit("finetune", faces.path, tmp_path / train.replace(",", "-"), settings={**settings, "train": train})
        .runtime.network.state_dict()
        for train in ("all", "all,head", "all,head,all")
    )  # fmt: skip
    assert all(torch.equal(one[name], two[name]) for name in one if name.startswith("backbone."))
    assert not torch.equal(one["head.dense.weight"], two["head.dense.weight"])
    weights = [name for name in two if name.endswith("conv1.weight")]
    assert weights
    assert not any(torch.equal(two[name], three[name]) for name in weights)
    assert "step" not in (tmp_path / "all" / "training.csv").read_text()


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("all,last-blok", "did you mean 'last-block'"),
        ("all,,head", "'' is none of"),
        ("", "'' is none of"),
        ("hed", "did you mean 'head'"),
        ("lorra", "did you mean 'lora'"),
    ],
)
def test_a_bad_chain_is_said(train: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        resolve(FinetuneSettings, {"train": train})


def test_a_rank_that_nothing_has_is_said() -> None:
    with pytest.raises(SettingsError, match="nothing has a rank"):
        resolve(FinetuneSettings, {"train": "all,head", "rank": 4})


def test_the_resnet50_papers_network() -> None:
    method = get_method("finetune")
    settings: Any = resolve(method.settings, method.presets["resnet50"])
    assert (settings.size, settings.optimizer, settings.lr, settings.weight_decay) == (299, "adamw", 1e-3, 0)
    assert settings.steps == ["all"]
    network = method.build(settings)
    assert [p.numel() for p in network.head.parameters()] == [2048 * 10 * 10, 1]
    assert sum(p.numel() for p in network.backbone.parameters()) == 25_557_032 - 2_049_000  # torchvision's minus fc
    progressive: Any = resolve(method.settings, method.presets["progressive"])
    assert progressive.steps == ["all", "last-block", "head"]
