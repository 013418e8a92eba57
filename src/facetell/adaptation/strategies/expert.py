"""``beside``: the old network stays what it was, and an expert beside it learns the new kind and when to be asked.

What a network had to forget of general pictures to become a detector is what a new kind of fake needs. So the expert
reads a backbone that has forgotten nothing: statistics of its maps at every depth, on which few images and a logistic
regression go further than training does (docs/results.md).
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from facetell.adaptation.replay import Lesson
from facetell.adaptation.second_backbone import Second
from facetell.adaptation.task import Known, Strategy
from facetell.evaluation.choice_gain import deal
from facetell.evaluation.shortcuts import logistic_ridge
from facetell.faceset.samples import Samples
from facetell.methods import get_method
from facetell.networks.beside import Beside, Probe
from facetell.settings import as_dict, resolve
from facetell.training.loop import predict

__all__ = ["STRATEGY"]

Floats = NDArray[np.float64]

PENALTY = 100.0
"""Of the ridge, where every row counts once on average."""
FOLDS = 5
MOST = 1000
"""Faces of each label, new or remembered, that an expert learns from: more would cost more than they teach."""


def learn(known: Known, lesson: Lesson) -> Known:
    """Fit an expert's head to tell the new fakes from the new reals, and its gate to tell both from the memory."""
    second, memory = lesson.second, lesson.memory
    assert second is not None
    assert memory is not None
    new, old = (_some(samples, lesson.seed) for samples in (lesson.new, memory.samples))
    fresh, remembered = second.vectors(new), second.vectors(old)
    found = _with_expert(known, second, lesson.fabric.device)
    network: Any = found.network
    expert = network.experts[-1]
    products = _fit(expert.head, fresh, new.labels == 1)
    _calibrate(expert.head, products, new, lesson.seed)
    _fit(expert.gate, np.concatenate([remembered, fresh]), np.repeat([False, True], [len(old), len(new)]))
    return found


def _with_expert(known: Known, second: Second, device: torch.device) -> Known:
    """The detector with one expert more: on the second backbone it has, if that is the one at hand, else on a new one."""
    old = known.settings
    if isinstance(known.network, Beside) and known.network.statistics is second.statistics:
        grown = known.network.with_expert()
        return Known(known.method, replace(old, experts=old.experts + 1), grown.to(device).eval())
    given = {
        "backbone": second.backbone,
        "pretrained": second.weights,
        "size": second.size,
        "old_method": known.method,
        "old_settings": json.dumps(as_dict(old)),
    }
    settings: Any = resolve(get_method("beside").settings, given)
    network = Beside(known.copied(), old.size, copy.deepcopy(second.statistics.backbone), second.size)
    return Known("beside", settings, network.to(device).eval())


def _some(samples: Samples, seed: int) -> Samples:
    rng = np.random.default_rng([seed, 5])
    drawn = [rng.permutation(np.flatnonzero(samples.labels == label))[:MOST] for label in (0, 1)]
    return samples.subset(np.sort(np.concatenate(drawn)))


def _fit(probe: Probe, vectors: NDArray[np.float32], truth: NDArray[np.bool_]) -> Floats:
    """A ridge-penalised logistic regression on scaled numbers, either side weighing the same; gives the rows' products."""
    centre, spread = vectors.mean(axis=0), vectors.std(axis=0)
    probe.centre.copy_(torch.from_numpy(centre))
    probe.spread.copy_(torch.from_numpy(np.where(spread > 1e-6, spread, 1)))
    scaled = probe.scaled(torch.from_numpy(vectors).to(probe.centre.device)).double().cpu().numpy()
    products: Floats = scaled @ scaled.T
    along, intercept = _solve(products, truth)
    probe.dense.weight.data.copy_(torch.from_numpy(along @ scaled)[None])
    probe.dense.bias.data.fill_(intercept)
    return products


def _solve(products: Floats, truth: NDArray[np.bool_]) -> tuple[Floats, float]:
    """The regression from the images' products (N, N): weights (N,) of the images, and the intercept.

    There are more numbers than images, and the solution lies in the span of the latter: it is found there.
    """
    squares, axes = np.linalg.eigh(products)
    kept = squares > 1e-9 * squares[-1]
    root = np.sqrt(squares[kept])
    weights, intercept = logistic_ridge(axes[:, kept] * root, truth, PENALTY, _even(truth))
    return axes[:, kept] @ (weights / root), intercept


def _calibrate(head: Probe, products: Floats, samples: Samples, seed: int) -> None:
    """Stretch and shift the head's logits so that they fit images that were held out (Platt scaling).

    Where there are more numbers than images, those that are learned from say little of those that are not: with eight
    reals for a fake, most held-out fakes would count as real.
    """
    truth = samples.labels == 1
    folds = min(FOLDS, *(len(np.unique(samples.groups[truth == label])) for label in (False, True)))
    fold = deal(samples.labels, samples.groups, folds, seed)
    if any(len(np.unique(truth[fold != part])) < 2 for part in range(folds)):
        return  # too few groups to hold some out
    held_out = np.empty(len(truth))
    for part in range(folds):
        held, learned = np.flatnonzero(fold == part), np.flatnonzero(fold != part)
        along, intercept = _solve(products[np.ix_(learned, learned)], truth[learned])
        held_out[held] = products[np.ix_(held, learned)] @ along + intercept
    unit = float(held_out.std()) or 1.0
    slope, shift = logistic_ridge(held_out[:, None] / unit, truth, 1.0, _even(truth))
    factor = max(float(slope[0]) / unit, 1e-3)  # what ranks the wrong way round is not turned
    head.dense.weight.data.mul_(factor)
    head.dense.bias.data.mul_(factor).add_(shift)


def _even(truth: NDArray[np.bool_]) -> Floats:
    """How often each row counts (N,), so that both sides weigh the same, and once on average."""
    share = float(truth.mean())
    return np.where(truth, 0.5 / share, 0.5 / (1 - share))


@torch.no_grad()
def _judge(found: Known, samples: Samples, lesson: Lesson) -> NDArray[np.float32]:
    """As the network does at its own size, but for the statistics, which are computed once."""
    network: Any = found.network
    assert lesson.second is not None
    known = predict(network.old, lesson.second.samples(samples), lesson.fabric)
    seen = (torch.from_numpy(each).to(lesson.fabric.device) for each in (known, lesson.second.vectors(samples)))
    logits: NDArray[np.float32] = network.mix(*seen).cpu().numpy()
    return logits


def _obstacle(_known: Known, lesson: Lesson) -> str | None:
    if lesson.memory is None:
        return "without a memory nothing tells when the old network is to be asked"
    if lesson.second is None:
        return "no general weights to begin with: give --weights FILE.safetensors"
    return None


STRATEGY = Strategy(
    "beside",
    "an expert on a second backbone, beside the untouched network",
    _obstacle,
    learn,
    mixes=False,
    judge=_judge,
)
