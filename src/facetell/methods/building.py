"""From a detector's description and weights to its network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from facetell.errors import DataError
from facetell.methods import get_method
from facetell.networks.seeding import seeded
from facetell.networks.tensors import compact, misfit, take_sizes
from facetell.settings import resolve

__all__ = ["arrays_of", "network_of"]


def network_of(description: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> nn.Module:
    """Build the network that ``description`` (``method`` and ``settings``) names and give it exactly ``weights``.

    Raises ``DataError`` for weights that are not its own, ``UsageError`` or ``SettingsError`` for a bad description.
    """
    method = get_method(description["method"])
    with seeded(0):  # initial weights are drawn, and then replaced
        network = method.build(resolve(method.settings, description["settings"]))
    tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
    take_sizes(network, tensors)
    wrong = misfit(network, tensors)
    if wrong:
        raise DataError(f"the weights do not fit {method.name}: {wrong}")
    network.load_state_dict(tensors)
    return network


def arrays_of(network: nn.Module) -> dict[str, NDArray[Any]]:
    """The tensors of a network as a bundle holds them: in half precision where that loses nothing of a large one."""
    return {name: compact(tensor.detach().cpu().contiguous().numpy()) for name, tensor in network.state_dict().items()}
