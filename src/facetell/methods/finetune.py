"""``finetune``: train a backbone with a plain head. The FDFtNet paper's pre-trained model, its baseline, our control."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from facetell.errors import SettingsError, near_miss
from facetell.methods.method import Method, Task
from facetell.methods.pretrained import start_backbone
from facetell.networks.backbones import Backbone, build_backbone, default_head
from facetell.networks.tuning import Attached, low_rank, norm_parameters, residual_svd
from facetell.settings import setting
from facetell.training.fabric import make_fabric
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
        "pooled", "one neuron on the map's mean, or on every place of it", choices=("pooled", "flatten")
    )
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
    flatten = settings.head == "flatten"
    return Classifier(backbone, default_head(backbone, settings.size, settings.dropout, flatten=flatten))


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
    groups = _groups(network, settings.layer_decay)
    if attached is None:
        return Learning(groups)
    objective = Objective(network, partial(_with_penalty, attached)) if part == "svd" else None
    return Learning(groups, objective, attached.merge)


def _groups(network: Classifier, decay: float) -> Groups:
    if decay == 1:
        return parameter_groups((network, 1.0))
    blocks = reversed(network.backbone.blocks())
    groups: Groups = [{"params": block, "factor": decay**depth} for depth, block in enumerate(blocks, 1)]
    return [*parameter_groups((network.head, 1.0)), *groups]


def _with_penalty(attached: Attached, logits: Tensor, labels: Tensor) -> Tensor:
    """Equation 7 of Yan et al. 2025 with both factors 1, as in their code."""
    return F.binary_cross_entropy_with_logits(logits, labels) + attached.penalty()


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
    },
)
