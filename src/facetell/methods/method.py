"""What every detection method provides, and what it is given.

Whatever a method does to learn, it hands back one torch module: images (N, 3, S, S) with values in [0, 1] in, one
logit per image (N,) out, higher = more fake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from facetell.faceset.samples import Samples
from facetell.progress import Progress
from facetell.training.run import Run

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Method", "Start", "Task"]


@dataclass(frozen=True)
class Start:
    """Tensors a backbone begins with.

    ``kind`` is ``library`` (names of torchvision or timm, read from a file) or ``detector`` (names of our own backbone).
    """

    kind: str
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Task(Run):
    """What a method is given: a run to train in, and the tensors its backbone begins with, if any were read."""

    start: Start | None = None


@dataclass(frozen=True)
class Method:
    """One detection method.

    ``settings`` is a frozen dataclass with ``size``, ``backbone``, ``pretrained`` and ``precision`` among its fields.
    ``build(settings)`` makes the network without loading weights (a part whose size is learned is a ``LearnedSize``);
    ``fit(settings, task)`` returns a trained one and leaves ``training.csv`` in the task's folder (None: the method is
    made in another way). ``presets`` are named layers of settings. ``predict(network, samples, fabric, progress)`` gives
    the logits of samples in order, for a method that knows a shorter way to many of them than the network's forward pass
    (None: it knows none).
    """

    name: str
    summary: str
    settings: type
    build: Callable[[Any], nn.Module]
    fit: Callable[[Any, Task], nn.Module] | None
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    predict: Callable[[nn.Module, Samples, Fabric, Progress], npt.NDArray[np.float32]] | None = None

    @property
    def for_several(self) -> dict[str, object]:
        """Settings with which it learns from several face sets, unless others are given: every source counts alike."""
        balances = "balance" in {each.name for each in fields(self.settings)}
        return {"balance": "sources"} if balances else {}
