"""Whether a map depends on what was learned (Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018).

A map that looks the same for a network with random weights shows the picture's edges, not the detector's reasons.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facetell.evaluation.concentration import spearman
from facetell.explanation.explainer import Explainer
from facetell.explanation.maps import Maps
from facetell.reporting.result_folder import plain

__all__ = ["LEVELS", "LIMIT", "Similarity", "randomised", "sanity", "sanity_check"]

LEVELS = ("head", "all")
"""What is randomised: all but backbones, Transformer and a mixture's old network; everything."""

LIMIT = 0.5
"""Mean rank correlation from which on a map is not to be believed."""

_BODY = ("backbone.", "ftt.", "statistics.", "second.", "old.")
_KEPT = ("mean", "std", "scale", "running_mean", "running_var", "centre", "spread")
"""Statistics of the data, which are no weights."""


@dataclass(frozen=True)
class Similarity:
    """Rank correlation of maps with those of randomised networks: mean, mean of the absolute values, over ``n`` faces.

    ``flat``: faces left out because one of the two maps has the same value everywhere.
    """

    mean: float
    strength: float
    n: int
    flat: int


def randomised(network: nn.Module, level: str, seed: int) -> nn.Module:
    """A copy whose weights are shuffled, each tensor within itself: random, and of exactly the learned magnitudes."""
    copied = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in copied.state_dict().items():
        if not tensor.is_floating_point() or name.rpartition(".")[2] in _KEPT:
            continue
        if level == "head" and name.startswith(_BODY):
            continue
        order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
        tensor.copy_(tensor.flatten()[order].view(tensor.shape))
    return copied


def sanity(
    network: nn.Module, size: int, images: Tensor, maps: Maps, seed: int = 0
) -> dict[str, dict[str, Similarity]]:
    """Compare ``maps`` of ``images`` (N, 3, S, S) with those of randomised networks: kind → level → similarity.

    Every face meets a random network of its own, so that the mean is not over one draw.
    """
    found: dict[str, dict[str, list[float]]] = {key: {level: [] for level in LEVELS} for key in maps}
    for face in range(len(images)):
        for level in LEVELS:
            other = Explainer(randomised(network, level, seed + face), size).maps(images[face : face + 1])
            for key in maps:
                found[key][level].append(spearman(maps[key][face], other[key][0]))
    return {key: {level: _summed_up(values) for level, values in levels.items()} for key, levels in found.items()}


def _summed_up(values: list[float]) -> Similarity:
    known = np.array([value for value in values if not np.isnan(value)])
    if not len(known):
        return Similarity(float("nan"), float("nan"), 0, len(values))
    return Similarity(float(known.mean()), float(np.abs(known).mean()), len(known), len(values) - len(known))


def sanity_check(explainer: Explainer, images: Tensor, maps: Maps, faces: int, seed: int) -> dict[str, Any] | None:
    """`sanity` of ``faces`` faces spread over all, with a sentence for each kind of map; None of no faces."""
    chosen = np.unique(np.linspace(0, len(images) - 1, min(faces, len(images))).round().astype(int))
    if not len(chosen):
        return None
    some = {key: values[chosen] for key, values in maps.items()}
    found = sanity(explainer.network, explainer.size, images[torch.from_numpy(chosen).to(images.device)], some, seed)
    kinds = {key: {level: plain(asdict(value)) for level, value in levels.items()} for key, levels in found.items()}
    sentences = [_conclusion(explainer.kinds[key].title, levels, LIMIT) for key, levels in kinds.items()]
    return {"limit": LIMIT, "kinds": kinds, "sentences": sentences}


def _conclusion(title: str, levels: Mapping[str, Mapping[str, Any]], limit: float) -> str:
    """What the sanity check of one kind of map allows to say."""
    found = levels["all"]
    if found["strength"] is None:
        return f"{title}: every map is flat, so nothing can be said."
    numbers = f"mean absolute rank correlation {found['strength']:.2f} (n = {found['n']})"
    if found["strength"] > limit:
        return (
            f"{title} looks much the same with randomised weights, {numbers}: it shows the picture, not the detector."
        )
    return f"randomised weights change {title}, {numbers}, as they should."
