"""``finetune``: train a backbone with a plain head. The FDFtNet paper's pre-trained model, its baseline, our control."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetell.errors import SettingsError, near_miss
from facetell.methods.method import Method, Task
from facetell.methods.pretrained import start_backbone
from facetell.networks.backbones import Backbone, build_backbone, default_head
from facetell.networks.heads import PooledLinear
from facetell.networks.tuning import Attached, low_rank, norm_parameters, residual_svd
from facetell.settings import setting
from facetell.training.fabric import make_fabric
from facetell.training.hypersphere import alignment, uniformity
from facetell.training.loop import Objective
from facetell.training.recipe import FEW_SHOT, PAPER, Recipe, parameter_groups
from facetell.training.steps import Groups, Learning, train_steps

__all__ = ["METHOD", "Classifier", "FinetuneSettings", "begin"]

LEARNING = ("all", "last-block", "head", "norms", "lora", "svd")
RANKS = {"lora": 8, "svd": 1}
"""Of rank 0: that of ``adapt``, and the paper's."""
RESNET50: dict[str, object] = {
    "backbone": "resnet50.tv_in1k",
    "size": 299,
    "head": "flatten",
    "train": "all",
    "optimizer": "adamw",
    "lr": 1e-3,
    "weight_decay": 0.0,
    "clip": 0.0,
    "averaging": 0.0,
    "epochs": 10,
    "batch_size": 32,
    "views": 0,
}
"""Kroiß and Reschke, sections II.A to II.C: ResNet-50 at 299, flatten, one neuron, Adam (AdamW without decay is Adam) at
1e-3, all layers. What they leave open is in ``docs/paper-and-code.md``."""


@dataclass(frozen=True)
class FinetuneSettings(Recipe):
    """A backbone, what it starts from, which part of it learns, and the head; then the recipe."""

    backbone: str = setting(
        "squeezenet1_0", "squeezenet1_0, mobilenet_v2_tf, shallownetv3, resnetv2_50, xception, or any timm name"
    )
    pretrained: str = setting("library", "what the backbone starts from: library, none, FILE.safetensors or a detector")
    size: int = setting(64, "side of the input in pixels", low=16, high=1024)
    train: str = setting(
        "all", "what learns: all, last-block, head, norms, lora, svd; or steps such as all,last-block,head"
    )
    rank: int = setting(0, "rank of what lora and svd learn in each matrix; 0 = 8 for lora, 1 for svd", low=0)
    layer_decay: float = setting(
        1.0, "factor on the learning rate for each block, counted from the head; 1 = off", low=0.01, high=1
    )
    head: str = setting(
        "pooled",
        "one neuron on the map's mean, on every place of it, or on the vector that the library's classifier reads",
        choices=("pooled", "flatten", "vector"),
    )
    normalise: bool = setting(False, "true: what the neuron reads is scaled to length 1")
    alignment: float = setting(0.0, "weight of the alignment loss of normalised features (GenD: 0.1)", low=0)
    uniformity: float = setting(0.0, "weight of their uniformity loss (GenD: 0.5)", low=0)
    dropout: float = setting(0.0, "dropout before the last layer", low=0, high=0.9)

    def __post_init__(self) -> None:
        for part in self.steps:
            if part not in LEARNING:
                raise SettingsError(
                    f"train = {self.train!r}: '{part}' is none of {', '.join(LEARNING)}{near_miss(part, LEARNING)}",
                    hint="one of them, or several with commas between: each begins where the one before ended",
                )
        if self.rank and not set(RANKS) & set(self.steps):
            raise SettingsError(
                f"rank = {self.rank}: with train = {self.train!r} nothing has a rank", hint="train=lora or train=svd"
            )
        if self.normalise and self.head == "flatten":
            raise SettingsError("every place of the map is not scaled to length 1", hint="head=pooled or head=vector")
        if self.on_sphere and not self.normalise:
            raise SettingsError("alignment and uniformity are of features of length 1", hint="add normalise=true")

    @property
    def on_sphere(self) -> bool:
        """Whether there is a loss on normalised features."""
        return self.alignment > 0 or self.uniformity > 0

    @property
    def steps(self) -> list[str]:
        """What learns in each step of training."""
        return [part.strip() for part in self.train.split(",")]


class Classifier(nn.Module):
    """Backbone, then head: images (N, 3, S, S) in [0, 1] to logits (N,)."""

    sees_only_maps = True

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        return self.head(self.backbone(images))


def _assemble(settings: FinetuneSettings, backbone: Backbone) -> Classifier:
    backbone.ends_in_vector = settings.head == "vector"
    flatten = settings.head == "flatten"
    head = default_head(backbone, settings.size, settings.dropout, flatten=flatten, normalise=settings.normalise)
    return Classifier(backbone, head)


def build(settings: FinetuneSettings) -> Classifier:
    """The network, no weights loaded."""
    return _assemble(settings, build_backbone(settings.backbone, settings.size))


def fit(settings: FinetuneSettings, task: Task) -> Classifier:
    """Train on ``task.training``; the epoch, of each step if there are several, is chosen on ``task.validation``."""
    network = _assemble(settings, start_backbone(settings.backbone, settings.size, settings.pretrained, task.start))
    steps: list[Callable[[], Learning]] = [partial(begin, network, part, settings) for part in settings.steps]
    train_steps(network, task, settings, steps=steps, fabric=make_fabric(settings.precision, task.device))
    return network


def begin(network: Classifier, part: str, settings: FinetuneSettings) -> Learning:
    """Let ``part`` of the network learn; the head at the full rate, a block at ``layer_decay`` times that of its follower."""
    backbone = network.backbone
    attached: Attached | None = None
    if part == "all":
        backbone.thaw()
    elif part == "norms":
        backbone.freeze(norm_parameters(backbone))
    elif part in RANKS:
        attach = low_rank if part == "lora" else residual_svd
        attached = attach(backbone, settings.rank or RANKS[part])
        backbone.freeze(attached.parameters)
    else:
        backbone.freeze(backbone.blocks()[-1] if part == "last-block" else ())
    module = _LogitsAndFeatures(network) if settings.on_sphere else network
    objective = Objective(module, partial(_loss, settings, attached if part == "svd" else None))
    finish = attached.merge if attached else lambda: None
    return Learning(_groups(network, settings.layer_decay), objective, finish)


def _groups(network: Classifier, decay: float) -> Groups:
    if decay == 1:
        return parameter_groups((network, 1.0))
    blocks = reversed(network.backbone.blocks())
    groups: Groups = [{"params": block, "factor": decay**depth} for depth, block in enumerate(blocks, 1)]
    return [*parameter_groups((network.head, 1.0)), *groups]


class _LogitsAndFeatures(nn.Module):
    """Images to (N, 1 + D): logits, and beside them the features that they are made of, for losses on both."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        head = self.network.head
        assert isinstance(head, PooledLinear)
        features = head.features(self.network.backbone(images))
        return torch.cat([head.logits(features)[:, None], features], dim=1)


def _loss(settings: FinetuneSettings, decomposed: Attached | None, answer: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy, and what is asked for beside it; Effort's penalty has the factor 1 of its code."""
    logits = answer[:, 0] if settings.on_sphere else answer
    loss = F.binary_cross_entropy_with_logits(logits, labels)
    if settings.on_sphere:
        features = answer[:, 1:]
        loss = loss + settings.alignment * alignment(features, labels) + settings.uniformity * uniformity(features)
    return loss if decomposed is None else loss + decomposed.penalty()


CLIP: dict[str, object] = {
    "backbone": "vit_large_patch14_clip_224.openai",
    "size": 224,
    "head": "vector",
    "averaging": 0.0,
}
GEND: dict[str, object] = {
    **CLIP,
    "train": "norms",
    "normalise": True,
    "alignment": 0.1,
    "uniformity": 0.5,
    "lr": 3e-4,
    "weight_decay": 0.0,
    "warmup": 0.0,
    "clip": 0.0,
    "epochs": 10,
    "batch_size": 512,
}
"""Yermakov et al. 2025: CLIP's norms, features of length 1, AdamW at 3e-4 without decay on a cosine."""
EFFORT: dict[str, object] = {
    **CLIP,
    "train": "svd",
    "lr": 2e-4,
    "weight_decay": 5e-4,
    "clip": 0.0,
    "epochs": 10,
    "batch_size": 32,
}
"""Yan et al. 2025: rank 1 of each matrix of CLIP's attention, at 2e-4."""


METHOD = Method(
    name="finetune",
    summary="a pretrained backbone with one output neuron, trained on the face set",
    settings=FinetuneSettings,
    build=build,
    fit=fit,
    presets={
        "few-shot": {**FEW_SHOT, "lr": 2e-4},
        "paper": PAPER,
        "resnet50": RESNET50,
        "progressive": {**RESNET50, "train": "all,last-block,head"},
        "gend": GEND,
        "effort": EFFORT,
    },
)
