"""``finetune``: train a backbone with a plain head. The FDFtNet paper's pre-trained model, its baseline, our control."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from facetell.methods.contract import Method, Task
from facetell.methods.start import start_backbone
from facetell.networks.backbones import Backbone, build_backbone, default_head
from facetell.settings import setting
from facetell.training.fabric import make_fabric
from facetell.training.loop import train
from facetell.training.recipe import FEW_SHOT, PAPER, Recipe, parameter_groups

__all__ = ["METHOD", "Classifier", "FinetuneSettings"]


@dataclass(frozen=True)
class FinetuneSettings(Recipe):
    """A backbone, what it starts from, and which part of it learns; then the recipe."""

    backbone: str = setting("squeezenet1_0", "squeezenet1_0, shallownetv3, resnetv2_50, xception, or any timm name")
    weights: str = setting("library", "what the backbone starts from: library, none, FILE.safetensors or a detector")
    size: int = setting(64, "side of the input in pixels", low=16, high=1024)
    train_backbone: bool = setting(True, "false: only the head learns")
    dropout: float = setting(0.0, "dropout before the last layer", low=0, high=0.9)


class Classifier(nn.Module):
    """Backbone, then head: images (N, 3, S, S) in [0, 1] to logits (N,)."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        logit: Tensor = self.head(self.backbone(images))
        return logit


def _assemble(settings: FinetuneSettings, backbone: Backbone) -> Classifier:
    return Classifier(backbone, default_head(backbone, settings.size, settings.dropout))


def build(settings: FinetuneSettings) -> Classifier:
    """The network, no weights loaded."""
    return _assemble(settings, build_backbone(settings.backbone, settings.size))


def fit(settings: FinetuneSettings, task: Task) -> Classifier:
    """Train on ``task.training``; the epoch is chosen on ``task.validation``."""
    network = _assemble(settings, start_backbone(settings.backbone, settings.size, settings.weights, task.start))
    if not settings.train_backbone:
        network.backbone.freeze()
    train(network, task, settings, groups=parameter_groups((network, 1.0)), fabric=make_fabric(settings.precision))
    return network


METHOD = Method(
    name="finetune",
    summary="a pretrained backbone with one output neuron, trained on the face set",
    settings=FinetuneSettings,
    build=build,
    fit=fit,
    presets={"few-shot": {**FEW_SHOT, "lr": 2e-4}, "paper": PAPER},
)
