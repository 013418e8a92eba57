"""A small model, a few new pictures and a replay buffer, for tests of how strategies learn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from toy import toy_picture

from facetell.adaptation.second_backbone import SecondBackbone
from facetell.adaptation.task import AdaptTask, Model, ReplayBuffer
from facetell.faceset.decoded import decoded
from facetell.faceset.samples import Samples
from facetell.faceset.table import FaceSet
from facetell.ingest.prepare import prepare
from facetell.methods import get_method
from facetell.networks.backbones import Backbone, build_backbone
from facetell.networks.depth import DepthStatistics
from facetell.settings import resolve
from facetell.training.fabric import make_fabric
from facetell.training.loop import predict

SIZE = 32


@dataclass(frozen=True)
class School:
    """What a strategy is given; ``task(seed)`` makes it anew."""

    model: Model
    new: Samples
    old: Samples
    faces: tuple[FaceSet, FaceSet]
    folder: Path

    def task(self, seed: int = 0, replay: bool = True) -> AdaptTask:
        fabric = make_fabric("32-true", "cpu")
        logits = predict(self.model.network, self.old, fabric)
        buffer = ReplayBuffer(self.faces[1], self.old, logits, self.old, self.old) if replay else None
        task = AdaptTask.of(self.model, self.new, buffer, seed, fabric, self.folder)
        second = SecondBackbone("squeezenet1_1", "pretrained weights", SIZE, DepthStatistics(general(), SIZE))
        for samples, faces in zip((self.new, self.old), self.faces, strict=True):
            second.show(samples, faces, "train")
        return replace(task, second=second)


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
    new, old = (drawn(folder / name, count, seed) for name, count, seed in (("new", 12, 1), ("old", 10, 2)))
    (folder / "maps").mkdir()
    faces = (new, old)
    return School(Model(method, built, network.eval()), *map(samples_of_all, faces), faces, folder / "maps")


def drawn(folder: Path, each: int, seed: int) -> FaceSet:
    rng = np.random.default_rng(seed)
    for label in ("real", "fake"):
        (folder / label).mkdir(parents=True)
        for k in range(each):
            toy_picture(rng, label == "fake").save(folder / label / f"{k}.png")
    return prepare(folder, folder.with_name(f"{folder.name}-faces"), split="train")


def samples_of_all(faces: FaceSet) -> Samples:
    images, labels = decoded(faces, "train", SIZE), faces.labels("train")
    return Samples(images, np.arange(len(labels)), labels, np.arange(len(labels)))


def pictures(folder: Path, each: int, seed: int) -> Samples:
    return samples_of_all(drawn(folder, each, seed))


def tensors(model: Model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
