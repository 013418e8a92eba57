"""``siamese``: the two-phase CFFN. An embedding learned from triplets first, then a classifier on the same features."""

from __future__ import annotations

from dataclasses import dataclass

from facetell.methods.method import Method, Task
from facetell.methods.pretrained import start_backbone
from facetell.networks.backbones import Backbone, build_backbone
from facetell.networks.embedding import SiameseNet
from facetell.settings import setting
from facetell.training.fabric import make_fabric
from facetell.training.siamese_phases import PhasesRecipe, train_phases

__all__ = ["METHOD", "SiameseSettings"]


@dataclass(frozen=True)
class SiameseSettings(PhasesRecipe):
    """A backbone, what it starts from, and the embedding; then the recipe of both phases."""

    backbone: str = setting("cffn", "cffn (Salpekar), cffn_icip (Hsu et al.), or any other backbone")
    pretrained: str = setting("none", "what the backbone starts from: library, none, FILE.safetensors or a detector")
    size: int = setting(64, "side of the input in pixels", low=16, high=1024)
    embedding: str = setting(
        "l2", "embeddings of length 1 (l2), or softmax as in the sources, which collapses", choices=("l2", "softmax")
    )
    embedding_size: int = setting(128, "length of an embedding", low=2)


def _assemble(settings: SiameseSettings, backbone: Backbone) -> SiameseNet:
    return SiameseNet(backbone, settings.size, settings.embedding_size, settings.embedding)


def build(settings: SiameseSettings) -> SiameseNet:
    """The network, no weights loaded."""
    return _assemble(settings, build_backbone(settings.backbone, settings.size))


def fit(settings: SiameseSettings, task: Task) -> SiameseNet:
    """Train both phases on ``task.training``; the epoch is chosen on the whole of ``task.validation``."""
    network = _assemble(settings, start_backbone(settings.backbone, settings.size, settings.pretrained, task.start))
    train_phases(network, task, settings, make_fabric(settings.precision, task.device))
    return network


METHOD = Method(
    name="siamese",
    summary="two-phase CFFN: an embedding learned from triplets, then a classifier on its features",
    settings=SiameseSettings,
    build=build,
    fit=fit,
    presets={
        "paper": {
            "pair_epochs": 5,
            "epochs": 15,
            "batch_size": 128,
            "lr": 1e-4,
            "lr_step": 0.1,
            "step_epochs": 16,
            "step_accuracy": 0.89,
            "stop_accuracy": 0.94,
            "select": "last",
            "margin": 0.8,
            "triplets": "all",
            "embedding": "softmax",
            "l2": 1e-3,
            "balanced": False,
            "translate": 0.0,
            "zoom": 0.0,
            "rotate": 0.0,
            "colour": 0.2,
        }
    },
)
