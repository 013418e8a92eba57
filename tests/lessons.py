"""A small detector, a few new pictures and a memory of the old, for tests of how strategies learn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from toy import toy_picture

from facetell.adaptation.replay import RANGES, Lesson, Memory
from facetell.adaptation.second_backbone import Second
from facetell.adaptation.task import Known
from facetell.faceset.decoded import decoded
from facetell.faceset.samples import Samples
from facetell.ingest.prepare import prepare
from facetell.methods import get_method
from facetell.networks.backbones import Backbone, build_backbone
from facetell.networks.depth import DepthStatistics
from facetell.settings import resolve
from facetell.training.fabric import make_fabric
from facetell.training.feature_maps import FeatureMaps, Views
from facetell.training.loop import predict
from facetell.training.recipe import VIEWS

SIZE = 32


@dataclass(frozen=True)
class School:
    """What a strategy is given; ``lesson(seed)`` makes it anew."""

    known: Known
    new: Samples
    old: Samples
    folder: Path

    def lesson(self, seed: int = 0, memory: bool = True) -> Lesson:
        fabric = make_fabric("32-true", "cpu")
        kept = Memory(self.old, predict(self.known.network, self.old, fabric)) if memory else None
        backbone = self.known.network.get_submodule("backbone")
        assert isinstance(backbone, Backbone)
        maps = [
            FeatureMaps(backbone, part.images, part.rows, Views(RANGES, seed, VIEWS), fabric, self.folder)
            for part in (self.new, self.old)
        ]
        views = {part.images.path: part.images for part in (self.new, self.old)}
        second = Second("squeezenet1_1", "general weights", SIZE, DepthStatistics(general(), SIZE), views, fabric)
        return Lesson(self.new, kept, seed, fabric, (maps[0], maps[1] if memory else None), second)


def general() -> Backbone:
    torch.manual_seed(77)
    return build_backbone("squeezenet1_1", SIZE)


def school(folder: Path, backbone: str = "resnet10t", method: str = "finetune", **settings: object) -> School:
    """``backbone`` with random weights and statistics; 12 new pictures of each label, 10 old ones."""
    chosen = get_method(method)
    built: Any = resolve(chosen.settings, {"backbone": backbone, "pretrained": "none", "size": SIZE, **settings})
    torch.manual_seed(11)
    network = chosen.build(built)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.1)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    for name, parameter in network.named_parameters():
        if name.endswith("weight") and not parameter.any():  # timm's last norm of a block, which would stop gradients
            nn.init.uniform_(parameter, 0.5, 1.5)
    samples = [pictures(folder / name, count, seed) for name, count, seed in (("new", 12, 1), ("old", 10, 2))]
    (folder / "maps").mkdir()
    return School(Known(method, built, network.eval()), samples[0], samples[1], folder / "maps")


def pictures(folder: Path, each: int, seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    for label in ("real", "fake"):
        (folder / label).mkdir(parents=True)
        for k in range(each):
            toy_picture(rng, label == "fake").save(folder / label / f"{k}.png")
    faces = prepare(folder, folder.with_name(f"{folder.name}-faces"), split="train")
    images, labels = decoded(faces, "train", SIZE), faces.labels("train")
    return Samples(images, np.arange(len(labels)), labels, np.arange(len(labels)))


def tensors(known: Known) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in known.network.state_dict().items()}
