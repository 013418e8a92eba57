"""What every strategy of adapting provides, and what it is given."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from facetell.networks.beside import Beside
from facetell.training.replay import Lesson

__all__ = ["Known", "Strategy", "head_of", "no_head", "norms_of"]


@dataclass(frozen=True)
class Known:
    """A detector's network, and the method and settings that build it."""

    method: str
    settings: Any
    network: nn.Module

    def copied(self) -> nn.Module:
        """A copy of the network in which everything may learn, but for an older one within it."""
        network = copy.deepcopy(self.network).requires_grad_(True)
        if isinstance(network, Beside):
            network.old.requires_grad_(False)
        return network


@dataclass(frozen=True)
class Strategy:
    """One way to learn a new kind of fake.

    ``obstacle(known, lesson)`` says in words why it cannot be used, or None. ``learn(known, lesson)`` returns the
    network that has learned; the old one stays as it is. ``mixes``: the result has the old network's tensors, so that a
    weighted mean of both is a network as well (WiSE-FT: Wortsman et al. 2022).
    """

    name: str
    summary: str
    obstacle: Callable[[Known, Lesson], str | None]
    learn: Callable[[Known, Lesson], Known]
    mixes: bool = True


def head_of(network: Any) -> list[nn.Parameter]:
    """The parameters of what stands behind the backbone and learns by gradients; empty for trees and kernels."""
    return list(network.head.parameters())


def norms_of(network: nn.Module) -> Sequence[nn.Module]:
    """Batch norms that keep running statistics: few images must not move those."""
    return [part for part in network.modules() if isinstance(part, nn.modules.batchnorm._NormBase)]


def no_head(known: Known, _lesson: Lesson) -> str | None:
    """Why a strategy that trains the head cannot: the head is a classical classifier."""
    return None if head_of(known.network) else f"the classifier of {known.method} does not learn by gradients"
