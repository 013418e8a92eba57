"""What every strategy of adapting provides, and what it is given."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from facetell.adaptation.replay import Lesson
from facetell.faceset.samples import Samples
from facetell.training.loop import predict

__all__ = ["Known", "Strategy", "grown", "head_of", "no_head", "norms_of"]


@dataclass(frozen=True)
class Known:
    """A detector's network, and the method and settings that build it."""

    method: str
    settings: Any
    network: nn.Module

    def copied(self) -> nn.Module:
        """A copy of the network in which everything may learn."""
        return copy.deepcopy(self.network).requires_grad_(True)


def judge(known: Known, samples: Samples, lesson: Lesson) -> NDArray[np.float32]:
    """Logits (N,) of ``samples`` by the network."""
    return predict(known.network, samples, lesson.fabric)


@dataclass(frozen=True)
class Strategy:
    """One way to learn a new kind of fake.

    ``obstacle(known, lesson)`` says in words why it cannot be used, or None. ``learn(known, lesson)`` returns the
    network that has learned; the old one stays as it is. ``mixes``: the result has the old network's tensors, so that a
    weighted mean of both is a network as well (WiSE-FT: Wortsman et al. 2022). ``judge(learned, samples, lesson)`` gives
    the logits of faces while strategies are compared.
    """

    name: str
    summary: str
    obstacle: Callable[[Known, Lesson], str | None]
    learn: Callable[[Known, Lesson], Known]
    mixes: bool = True
    judge: Callable[[Known, Samples, Lesson], NDArray[np.float32]] = judge


def head_of(network: Any) -> list[nn.Parameter]:
    """The parameters of what stands behind the backbone and learns by gradients; empty for trees and kernels."""
    return list(network.head.parameters())


def norms_of(network: nn.Module) -> Sequence[nn.Module]:
    """Batch norms that keep running statistics: few images must not move those."""
    return [part for part in network.modules() if isinstance(part, nn.modules.batchnorm._NormBase)]


def grown(known: Known, _lesson: Lesson) -> str | None:
    """Why a strategy that changes a network cannot change one that has experts beside it."""
    return "the detector has experts beside it and takes another one: beside" if known.method == "beside" else None


def no_head(known: Known, lesson: Lesson) -> str | None:
    """Why a strategy that trains the head cannot: there are experts, or the head is a classical classifier."""
    why = grown(known, lesson)
    return why or (None if head_of(known.network) else f"the classifier of {known.method} does not learn by gradients")
