"""``depth``: statistics of a backbone's maps at every depth, and a perceptron that learns on them in a minute.

A backbone that was pretrained on pictures of everything tells more of how a picture was made in its early and middle
blocks than in the vector at its end, and training it further on few kinds of fakes makes it forget the rest. So it stays
as it is, or a copy is tuned and it is kept beside that; a new kind of fake costs `adapt` one more regression on the same
numbers (docs/methods/depth.md).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from facetell.errors import SettingsError
from facetell.faceset.samples import Samples
from facetell.methods.method import Method, Task
from facetell.methods.pretrained import start_backbone
from facetell.networks.backbones import Backbone, build_backbone
from facetell.networks.depth import DepthStatistics
from facetell.networks.perceptron import DepthClassifier
from facetell.progress import Progress, silent
from facetell.settings import setting
from facetell.training.end_to_end import train_end_to_end
from facetell.training.fabric import make_fabric
from facetell.training.kinds import even_shifts, kinds_of, realms_of
from facetell.training.perceptron import PerceptronPlan, row_weights, train_perceptron
from facetell.training.run import TABLE, write_table
from facetell.training.vectors import extract, logits_from

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["METHOD", "DepthSettings"]

TUNED_AT_ONCE = 128
"""Faces per step while the backbone learns."""
TUNED_DECAY = 0.05
"""Weight decay of these steps: most of the weights were learned on many more pictures."""


@dataclass(frozen=True)
class DepthSettings:
    """The backbone, the perceptron, and how that is trained."""

    backbone: str = setting("tf_efficientnet_lite2", "any timm name, or squeezenet1_0, mobilenet_v2_tf, …")
    pretrained: str = setting("library", "the backbone's weights: library, none, FILE.safetensors or a detector")
    size: int = setting(256, "side of the input in pixels", low=16, high=1024)
    width: int = setting(1024, "neurons of the first hidden layer; the second has half", low=2, high=16384)
    dropout: float = setting(0.5, "dropout before the second and the last layer", low=0, high=0.9)
    views: int = setting(2, "views of each face: the crop, and shrunk, compressed and mirrored ones", low=1, high=32)
    source_share: float = setting(
        1.0,
        "a source of n faces is drawn as n to this power: 1 = as large as it is, 0 = all sources alike",
        low=0,
        high=1,
    )
    kinds: str = setting(
        "",
        "kinds of fakes, each with a logit of its own: beginnings of source names, such as swap=dfdc,ffpp;gan=stylegan",
    )
    epochs: int = setting(60, "epochs; one draws as many faces as there are", low=1)
    batch_size: int = setting(256, "faces per step", low=2)
    lr: float = setting(5e-4, "peak learning rate of AdamW", low=0)
    weight_decay: float = setting(0.3, "weight decay", low=0)
    tune: int = setting(0, "epochs in which the backbone learns, too, once the perceptron has", low=0)
    tune_lr: float = setting(1e-3, "peak learning rate of these epochs", low=0)
    precision: str = setting(
        "auto", "arithmetic of the training steps", choices=("auto", "32-true", "bf16-mixed", "16-mixed")
    )

    @property
    def named_kinds(self) -> dict[str, tuple[str, ...]]:
        """The beginnings of source names of each kind; one kind of everything where none is named.

        Raises ``SettingsError`` for what is not written as ``name=beginning,beginning;name=…``.
        """
        found = dict[str, tuple[str, ...]]()
        for part in self.kinds.split(";") if self.kinds.strip() else ():
            name, _, begins = (word.strip() for word in part.partition("="))
            starts = tuple(word.strip() for word in begins.split(",") if word.strip())
            if not name or not starts or name in found:
                raise SettingsError(
                    f"kinds = '{self.kinds}': '{part.strip()}' is no kind with sources",
                    hint='such as --set kinds="swap=dfdc,ffpp;gan=stylegan,stargan"',
                )
            found[name] = starts
        return found or {"fake": ("",)}


def _assemble(settings: DepthSettings, backbone: Backbone) -> DepthClassifier:
    untuned = DepthStatistics(copy.deepcopy(backbone), settings.size) if settings.tune else None
    statistics = DepthStatistics(backbone, settings.size)
    return DepthClassifier(statistics, settings.width, settings.dropout, len(settings.named_kinds), untuned)


def build(settings: DepthSettings) -> DepthClassifier:
    """The network, no weights loaded."""
    return _assemble(settings, build_backbone(settings.backbone, settings.size))


def fit(settings: DepthSettings, task: Task) -> DepthClassifier:
    """Read every view once, then train the perceptron, then, if asked for, the backbone with it.

    The epoch is chosen on ``task.validation``, as it is. An interrupted fit that is started again finds what was read in the
    cache, and of the epochs of the backbone the last whole one.
    """
    task.check()
    network = _assemble(settings, start_backbone(settings.backbone, settings.size, settings.pretrained, task.start))
    _round(*filter(None, (network.statistics, network.untuned)))
    plain, fabric = make_fabric("32-true", task.device), make_fabric(settings.precision, task.device)
    reader = network.statistics.to(fabric.device)
    views = [extract(reader, task.training, plain, task.progress, view) for view in range(settings.views)]
    held = extract(reader, task.validation, plain, task.progress)
    kinds = kinds_of(settings.named_kinds, task.training)
    weights = row_weights(task.training.labels, task.training.sources, settings.source_share, kinds)
    plan = PerceptronPlan(settings.epochs, settings.batch_size, settings.lr, settings.weight_decay, task.seed)
    table = train_perceptron(
        network.head,
        views,
        task.training.labels,
        kinds,
        weights,
        (held, task.validation.labels),
        plan,
        fabric,
        task.progress,
    )
    if settings.tune:
        tuning = PerceptronPlan(settings.tune, TUNED_AT_ONCE, settings.tune_lr, TUNED_DECAY, task.seed)
        table = train_end_to_end(network, task, settings, tuning, (kinds, weights), table, fabric)
        _round(network.statistics)
        held = extract(network.statistics.to(fabric.device), task.validation, plain, task.progress)
    _make_even(network, settings, task, held)
    if fabric.is_global_zero:
        write_table(task.folder / TABLE, table)
    _round(network.head.dense, network.head.hidden)
    return network


def _round(*parts: nn.Module) -> None:
    """To numbers of half precision, so that a detector takes half the room on disk; it computes in single precision."""
    for part in parts:
        part.load_state_dict({name: tensor.half().to(tensor.dtype) for name, tensor in part.state_dict().items()})


def _make_even(network: DepthClassifier, settings: DepthSettings, task: Task, held: npt.NDArray[np.float32]) -> None:
    """Let a logit of each kind mean the same, on vectors ``held`` (N, D) of the validation faces."""
    network.eval()
    with torch.no_grad():
        seen = torch.from_numpy(held).to(network.head.centre.device)
        shifts = even_shifts(
            network.head.of_kinds(seen).cpu().numpy(), realms_of(settings.named_kinds, task.validation)
        )
        network.head.dense.bias.add_(torch.from_numpy(shifts).to(network.head.dense.bias))


def predict(
    network: nn.Module, samples: Samples, fabric: Fabric, progress: Progress = silent
) -> npt.NDArray[np.float32]:
    """Logits (N,) of ``samples`` in order, from statistics that the next head on this backbone finds in the cache."""
    assert isinstance(network, DepthClassifier)
    return logits_from(network.head, extract(network.statistics, samples, fabric, progress), fabric)


METHOD = Method(
    name="depth",
    summary="a frozen backbone read at every depth, and a perceptron: learned in minutes, ready for new kinds",
    settings=DepthSettings,
    build=build,
    fit=fit,
    predict=predict,
)
