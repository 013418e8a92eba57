"""A network that can be built again: what ``adapt`` starts from and what a strategy gives back."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from facetell.networks.backbones import Backbone

__all__ = ["Model"]


@dataclass(frozen=True)
class Model:
    """A network, and the name of the method and the settings that build it."""

    method: str
    settings: Any
    network: nn.Module

    @property
    def backbone(self) -> Backbone:
        """The network's backbone."""
        found = self.network.get_submodule("backbone")
        assert isinstance(found, Backbone)
        return found

    def copy(self, learns: bool = True) -> nn.Module:
        """A copy of the network in which every parameter learns, or none."""
        return copy.deepcopy(self.network).requires_grad_(learns)

    def having(self, network: nn.Module) -> Model:
        """The same method and settings with a network that has learned."""
        return replace(self, network=network)
