"""How a network is trained: the settings that every trainable method shares."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from facetell.settings import setting
from facetell.training.augment import Augmentation

__all__ = ["FEW_SHOT", "PAPER", "VIEWS", "Recipe", "build_optimizer", "learning_rate_factor", "parameter_groups"]

PAPER: dict[str, object] = {
    "optimizer": "sgd",
    "lr": 0.3,
    "epochs": 300,
    "epoch_images": 0,
    "batch_size": 128,
    "warmup": 0.0,
    "weight_decay": 0.0,
    "clip": 0.0,
    "averaging": 0.0,
    "select": "loss",
    "patience": 20,
    "translate": 2.0,
    "zoom": 0.2,
    "rotate": 0.2,
    "cutout_holes": 3,
    "cutout_size": 5,
    "views": 0,
}
"""FDFtNet, section 4.1: SGD with momentum 0.9, rate 0.3 on a cosine, 300 epochs, early stop after 20 stale epochs."""


FEW_SHOT: dict[str, object] = {"epochs": 16, "batch_size": 32, "lr": 4e-4, "averaging": 0.99, "select": "last"}
"""For tens to hundreds of images, chosen on validation data of StyleGAN faces: few passes (more only memorise), and the
running average of the last weights instead of an epoch picked on validation images that such a user may not have."""


VIEWS = 8
"""Augmented views of each image where the backbone is frozen: heads learned on 4, 8, 16 and on new ones every time differ
by less than the seeds do (``docs/speed.md``)."""


@dataclass(frozen=True)
class Recipe:
    """Optimiser, schedule, selection of the epoch, augmentation, precision."""

    epochs: int = setting(28, "epochs; one is a pass over the training images", low=1)
    epoch_images: int = setting(0, "repeat a smaller training set up to this many images per epoch (few-shot)", low=0)
    balance: str = setting(
        "none",
        "sources: every generator and data set as often as the others of its label, and as many reals as fakes",
        choices=("none", "sources"),
    )
    batch_size: int = setting(96, "images per step, of all processes together", low=2)
    optimizer: str = setting("adamw", "optimiser", choices=("adamw", "sgd"))
    lr: float = setting(6e-4, "peak learning rate", low=0)
    momentum: float = setting(0.9, "momentum of sgd", low=0, high=1)
    weight_decay: float = setting(0.05, "weight decay", low=0)
    clip: float = setting(1.0, "largest norm of a step's gradient, longer ones are cut to it; 0 = off", low=0)
    warmup: float = setting(0.1, "part of all steps in which the rate rises; a cosine to 0 follows", low=0, high=1)
    averaging: float = setting(
        0.998, "decay of the running average of the weights that is kept; 0 = off", low=0, high=1
    )
    select: str = setting("auroc", "which epoch is kept, judged on validation", choices=("auroc", "loss", "last"))
    patience: int = setting(0, "stop after this many epochs without improvement on validation; 0 = never", low=0)
    flip: bool = setting(True, "mirror half of the images")
    translate: float = setting(2.0, "shift by up to this many pixels (at 64×64), border repeated", low=0)
    zoom: float = setting(0.15, "scale each axis by 1 ± this", low=0, high=0.9)
    rotate: float = setting(8.0, "turn by up to this many degrees", low=0, high=180)
    cutout_holes: int = setting(0, "Cutout α: up to this many black squares", low=0)
    cutout_size: int = setting(5, "Cutout β: squares of 4·k px (at 64×64), k up to this", low=1, high=16)
    views: int = setting(
        VIEWS,
        "augmented views of each image that the epochs of a frozen backbone take in turn, computed once; 0 = new ones",
        low=0,
    )
    precision: str = setting(
        "auto", "arithmetic of the training step", choices=("auto", "32-true", "bf16-mixed", "16-mixed")
    )

    @property
    def augmentation(self) -> Augmentation:
        """The part of the recipe that changes images."""
        return Augmentation(self.flip, self.translate, self.zoom, self.rotate, self.cutout_holes, self.cutout_size)


def build_optimizer(recipe: Recipe, groups: Iterable[dict[str, object]]) -> torch.optim.Optimizer:
    """Build the optimiser. Each group holds ``params`` and a ``factor`` on the recipe's learning rate."""
    groups = [
        {"params": [p for p in group["params"] if p.requires_grad], "factor": group.get("factor", 1.0)}  # type: ignore[attr-defined]
        for group in groups
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    return torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Factor on the peak rate at ``step`` (from 0) of ``steps``: linear rise over ``warmup``, then a cosine to 0."""
    rise = warmup * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1.0, steps - rise)))


def parameter_groups(*parts: tuple[nn.Module, float]) -> list[dict[str, object]]:
    """Groups for ``build_optimizer`` from (module, factor) pairs."""
    return [{"params": list(module.parameters()), "factor": factor} for module, factor in parts]
