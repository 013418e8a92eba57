"""Losses on features of unit length: alignment and uniformity (Wang and Isola 2020), as GenD uses them.

Yermakov et al. 2025, *Deepfake detection that generalizes across benchmarks*: faces of one label are positive pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["alignment", "uniformity"]


def alignment(features: Tensor, labels: Tensor) -> Tensor:
    """Mean squared distance of all pairs of features (N, D) with the same label (N,), 0 to 4; 0 without such a pair."""
    same = torch.triu(labels[:, None] == labels, diagonal=1)
    return (_squared_distances(features) * same).sum() / same.sum().clamp(min=1)


def uniformity(features: Tensor) -> Tensor:
    """Logarithm of the mean over all pairs of features (N, D) of exp(-2 · squared distance), -8 to 0."""
    first, second = torch.triu_indices(len(features), len(features), offset=1)
    return torch.logsumexp(-2 * _squared_distances(features)[first, second], 0) - torch.tensor(len(first)).log()


def _squared_distances(features: Tensor) -> Tensor:
    """(N, N), of unit vectors; unlike a distance it has a gradient where two are the same."""
    return 2 - 2 * features @ features.mT
