"""Triplet loss over a batch of two classes (Salpekar, equation 1): every valid triplet, or the hardest of each anchor.

A triplet is an anchor, another face of its class (positive) and a face of the other class (negative); its loss is
max(0, d(a, p) − d(a, n) + margin) with d the squared Euclidean distance.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["squared_distances", "triplet_loss"]


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances (A, B) between vectors (A, D) and (B, D)."""
    return a.square().sum(1)[:, None] + b.square().sum(1)[None, :] - 2 * a @ b.T


def triplet_loss(embeddings: Tensor, labels: Tensor, margin: float, triplets: str = "all") -> Tensor:
    """Mean loss of ``embeddings`` (N, D) with ``labels`` (N,) of 0 and 1; 0 where the batch holds no valid triplet.

    ``all``: mean over all valid triplets, satisfied ones included, so a collapsed embedding has exactly the loss
    ``margin``. ``hard``: mean over anchors, each with its farthest positive and its nearest negative. Differentiable,
    and in O(N²) memory: no (N, N, N) tensor is made.
    """
    total, count = embeddings.sum() * 0.0, 0  # keeps the graph where there is no triplet
    for label in (0, 1):
        own, other = embeddings[labels == label], embeddings[labels != label]
        if len(own) < 2 or not len(other):
            continue
        positive, negative = squared_distances(own, own), squared_distances(own, other)
        itself = torch.eye(len(own), dtype=torch.bool, device=own.device)
        if triplets == "hard":
            hardest = positive.masked_fill(itself, -torch.inf).amax(1) - negative.amin(1)
            total, count = total + (hardest + margin).relu().sum(), count + len(own)
        else:
            total = total + _sum_over_pairs(positive + margin, negative, itself)
            count += len(own) * (len(own) - 1) * len(other)
    return total / max(count, 1)


def _sum_over_pairs(reach: Tensor, negative: Tensor, itself: Tensor) -> Tensor:
    """Σ max(0, reach[a, p] − negative[a, n]) over anchors a, their positives p (not ``itself``) and negatives n.

    With an anchor's negatives sorted, the k that lie within a positive's reach are the first ones: their part of the
    sum is k · reach − (sum of the first k). Reach is (A, P), negatives (A, M): O(A · P · log M) instead of A · P · M.
    """
    ordered = negative.sort(dim=1).values
    sums = torch.nn.functional.pad(ordered.cumsum(dim=1), (1, 0))  # (A, M + 1): sums of the first 0..M
    within = torch.searchsorted(ordered.detach(), reach.detach().contiguous())
    return (within * reach - sums.gather(1, within)).masked_fill(itself, 0.0).sum()
