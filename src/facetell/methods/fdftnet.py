"""``fdftnet``: a pretrained backbone with MB blocks beside a Fine-Tune Transformer, fine-tuned on few images."""

from __future__ import annotations

from dataclasses import dataclass

from facetell.methods.method import Method, Task
from facetell.methods.pretrained import start_backbone
from facetell.networks.backbones import Backbone, build_backbone
from facetell.networks.ftt import FDFtNet, FineTuneTransformer
from facetell.networks.mbblock import MobileNetHead
from facetell.settings import setting
from facetell.training.fabric import make_fabric
from facetell.training.loop import train
from facetell.training.recipe import FEW_SHOT, PAPER, Recipe, parameter_groups

__all__ = ["METHOD", "FDFtNetSettings"]


@dataclass(frozen=True)
class FDFtNetSettings(Recipe):
    """The paper's M, N and widths, what the backbone starts from, and whether it learns; then the recipe."""

    epochs: int = setting(FEW_SHOT["epochs"], "passes over the training images", low=1)
    batch_size: int = setting(FEW_SHOT["batch_size"], "images per step, of all processes together", low=2)
    lr: float = setting(FEW_SHOT["lr"], "peak learning rate of what is new", low=0)
    averaging: float = setting(
        FEW_SHOT["averaging"], "decay of the running average that is kept; 0 = off", low=0, high=1
    )
    select: str = setting("last", "which epoch is kept, judged on validation", choices=("auroc", "loss", "last"))
    backbone: str = setting("squeezenet1_0", "squeezenet1_0, shallownetv3, resnetv2_50, xception, or any timm name")
    pretrained: str = setting("library", "what the backbone starts from: library, none, FILE.safetensors or a detector")
    size: int = setting(64, "side of the input in pixels", low=16, high=1024)
    train_backbone: bool = setting(True, "true: the backbone learns too, at backbone_lr times the rate")
    backbone_lr: float = setting(1.0, "factor on the learning rate for the backbone", low=0)
    ftt_stages: int = setting(3, "M, attention stages of the Fine-Tune Transformer; 0 leaves it out", low=0, high=5)
    ftt_width: int = setting(32, "channels of its first stage; each further stage doubles them", low=8)
    ftt_start: float = setting(
        0.1, "first scale of the Transformer's vector beside the backbone's; 1 in the paper", low=0.01, high=1
    )
    mb_blocks: int = setting(
        0, "N, MobileNet blocks on the backbone (paper: 2 or 4); 0 leaves a 1×1 convolution", low=0
    )
    mb_kernel: int = setting(5, "depthwise kernel of blocks 2 to N (5: the authors' code, 3: Table 3)", low=1, high=7)
    mb_width: int = setting(128, "channels between MobileNet blocks", low=8)
    mb_expanded: int = setting(576, "channels inside a MobileNet block", low=8)
    features: int = setting(576, "length of the two vectors that are added before the last layer", low=8)


def _assemble(settings: FDFtNetSettings, backbone: Backbone) -> FDFtNet:
    channels, _, _ = backbone.map_shape(settings.size)
    mb = MobileNetHead(
        channels, settings.mb_blocks, settings.mb_width, settings.mb_expanded, settings.mb_kernel, settings.features
    )
    ftt = (
        FineTuneTransformer(settings.ftt_stages, settings.ftt_width, settings.features, settings.ftt_start)
        if settings.ftt_stages
        else None
    )
    return FDFtNet(backbone, mb, ftt, settings.features)


def build(settings: FDFtNetSettings) -> FDFtNet:
    """The network, no weights loaded."""
    return _assemble(settings, build_backbone(settings.backbone, settings.size))


def fit(settings: FDFtNetSettings, task: Task) -> FDFtNet:
    """Fine-tune on ``task.training``; the epoch is chosen on ``task.validation``."""
    network = _assemble(settings, start_backbone(settings.backbone, settings.size, settings.pretrained, task.start))
    if not settings.train_backbone:
        network.backbone.freeze()
    added = [(module, 1.0) for module in (network.mb, network.ftt, network.head) if module is not None]
    groups = parameter_groups((network.backbone, settings.backbone_lr), *added)
    train(network, task, settings, groups=groups, fabric=make_fabric(settings.precision, task.device))
    return network


METHOD = Method(
    name="fdftnet",
    summary="FDFtNet: frozen or trainable backbone + MobileNet-V3 blocks + Fine-Tune Transformer, for few images",
    settings=FDFtNetSettings,
    build=build,
    fit=fit,
    presets={
        "paper": {
            **PAPER,
            "train_backbone": False,
            "ftt_stages": 3,
            "ftt_start": 1.0,
            "mb_blocks": 4,
            "cutout_size": 10,
        }
    },
)
