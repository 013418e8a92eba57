"""``expert``: the detector's network stays as it is, and an expert for the new kind corrects its logit where it is needed.

A network forgets much about pictures while it becomes a detector, and a new kind of fake may need just that. So the
expert reads a second backbone that has forgotten nothing: statistics of its feature maps at every depth. On these, with
few faces, logistic regression learns more than training does (docs/results.md).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from facetell.adaptation.task import AdaptTask, Model, Strategy
from facetell.evaluation.choice_gain import assign_folds
from facetell.evaluation.conformal import most_of
from facetell.evaluation.shortcuts import logistic_ridge
from facetell.faceset.samples import Samples
from facetell.methods import get_method
from facetell.networks.mixture import CLIP, MixtureOfExperts, Probe
from facetell.settings import as_dict, resolve
from facetell.training.vectors import MIRRORED

__all__ = ["STRATEGY"]

Floats = NDArray[np.float64]

PENALTY = 0.01
"""Strength of the head's ridge, as a part of the mean square of what it reads; every face weighs 1 on average."""
GATE_PENALTY = 10.0
"""Strength of the gate's ridge."""
OLD_ODDS = 7.0
"""How much likelier old than new a face is for a gate before it has looked: with even odds some kinds of old fakes lost a tenth
to experts that know nothing of them, and two of two detectors adapted from 50 + 50 faces were refused for it."""
TRUST = 0.5
"""Variance within old kinds, as a part of a feature's own, from which on a direction counts for less than half."""
FOLDS = 5
MOST = 1000
"""Faces of each label, new or old, that an expert learns from at most: more would cost more than they teach."""


@dataclass(frozen=True)
class Fit:
    """What a regression was fitted by: inner products (N, N) of its rows, of rows as they are judged with them, and the ridge."""

    products: Floats
    judged: Floats
    penalty: float


def learn(task: AdaptTask) -> Model:
    """Fit the expert's head to tell new fakes from new reals, and its gate to tell both from old faces.

    The head learns from the mean of each new face and its mirror image, and what differs between the two counts for less, which
    brought .01 of AUROC on StyleGAN faces (docs/adapt.md).

    The head's logits are comparable with the old network's: calibrated in their own domain, in that one's unit, and no more
    reals lie above its threshold than it states. One whose logits are three times too large would else drown those of the
    expert at every threshold, and a threshold that holds for the expert's reals, too, would find no old fake any more.
    """
    assert task.second is not None
    assert task.replay is not None
    new, old = (_drawn(samples, task.seed) for samples in (task.new, task.replay.learn))
    fresh, seen = (task.second.vectors(samples, task.fabric) for samples in (new, old))
    mirrored = task.second.vectors(new, task.fabric, MIRRORED)
    found = _with_expert(task)
    network: Any = found.network
    expert = network.experts[-1]
    groups = np.concatenate([old.groups, new.groups + old.groups.max() + 1])
    here = np.repeat([False, True], [len(old), len(new)])
    also = _taken_for_new(_fit(expert.gate, np.concatenate([seen, fresh]), here), here, groups, task.seed)[: len(old)]
    expert.gate.dense.bias.data.sub_(math.log(OLD_ODDS))
    kept = np.concatenate([also, np.ones(len(new), bool)])
    truth = np.concatenate([old.labels, new.labels])[kept] == 1
    varies = np.concatenate([_within(seen, old), mirrored - fresh])
    of_both, as_is = (np.concatenate([seen[also], each]) for each in ((fresh + mirrored) / 2, fresh))
    fit = _fit(expert.head, of_both, truth, varies, as_is)
    held_out = _calibrate(expert.head, fit, truth, groups[kept], task.seed)
    for parameter in expert.head.dense.parameters():  # from log-odds to what the old network takes for one of them
        parameter.data.mul_(task.unit)
    if task.point and held_out is not None:
        threshold, rate = task.point
        above = most_of(held_out[~truth] * task.unit, groups[kept][~truth], rate) - threshold
        expert.head.dense.bias.data.sub_(max(above, 0.0))
    return found


def _with_expert(task: AdaptTask) -> Model:
    """The model with one more expert on its own second backbone, if that is the task's; else a mixture around it."""
    model, second, device = task.model, task.second, task.fabric.device
    assert second is not None
    old = model.settings
    if second.owns(model):
        own: Any = model.network
        grown = own.with_expert()
        return Model(model.method, replace(old, experts=old.experts + 1), grown.to(device).eval())
    given = {
        "backbone": second.name,
        "pretrained": second.pretrained,
        "size": second.size,
        "shared": second.shares(model),
        "old_method": model.method,
        "old_settings": json.dumps(as_dict(old)),
    }
    settings: Any = resolve(get_method("experts").settings, given)
    network = MixtureOfExperts.beside(second.old(model), None if second.shares(model) else second.statistics)
    return Model("experts", settings, network.to(device).eval())


def _drawn(samples: Samples, seed: int) -> Samples:
    rng = np.random.default_rng([seed, 5])
    drawn = [rng.permutation(np.flatnonzero(samples.labels == label))[:MOST] for label in (0, 1)]
    return samples.subset(np.sort(np.concatenate(drawn)))


def _taken_for_new(fit: Fit, here: NDArray[np.bool_], groups: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Which faces (N,) a gate lets in that has not seen their group."""
    held_out = _held_out(fit, here, groups, 2, seed)
    return np.zeros(len(here), bool) if held_out is None else held_out > 0


def _within(vectors: NDArray[np.float32], samples: Samples) -> NDArray[np.float32]:
    """How far each old face (N, D) lies from the mean of its source and label: what varies and tells nothing of fakes."""
    sources = np.zeros(len(samples), np.int64) if samples.sources is None else samples.sources
    _, kind = np.unique(np.stack([sources, samples.labels]), axis=1, return_inverse=True)
    means = np.stack([vectors[kind == each].mean(axis=0) for each in range(kind.max() + 1)])
    some = slice(None, None, -(-len(vectors) // MOST))
    return vectors[some] - means[kind[some]]


def _fit(
    probe: Probe,
    vectors: NDArray[np.float32],
    truth: NDArray[np.bool_],
    within: NDArray[np.float32] | None = None,
    judged: NDArray[np.float32] | None = None,
) -> Fit:
    """Ridge-penalised logistic regression in which both sides weigh the same.

    Fifty faces cannot show in which of thousands of directions faces differ anyway; ``within`` (M, D) can: how old faces
    differ, and mirror images from what they mirror.
    Directions are scaled down by that variance (within-class covariance normalisation: Hatch, Kajarekar and Stolcke 2006),
    so the few faces are told apart by the others first. ``judged`` (N, D): the rows as they are where they are held out, if
    they are learned from in another way.
    """
    centre, spread = vectors.mean(axis=0), vectors.std(axis=0)
    probe.centre.copy_(torch.from_numpy(centre))
    probe.spread.copy_(torch.from_numpy(np.where(spread > 1e-6, spread, 1)))
    scaled = _scaled(probe, vectors)
    dual = scaled
    if within is not None:  # (C + t)^-1 t of each row, C the covariance of what varies: one equation for each old face
        noise = (within / probe.spread.cpu().numpy()).clip(-CLIP, CLIP).astype(np.float64)
        gram = noise @ noise.T + TRUST * len(noise) * np.eye(len(noise))
        dual = scaled - np.linalg.solve(gram, noise @ scaled.T).T @ noise
    products: Floats = scaled @ dual.T
    others: Floats = products if judged is None else _scaled(probe, judged) @ dual.T
    penalty = GATE_PENALTY if within is None else PENALTY * float(np.diag(products).mean())
    along, intercept = _solve(products, truth, penalty)
    probe.dense.weight.data.copy_(torch.from_numpy(along @ dual)[None])
    probe.dense.bias.data.fill_(intercept)
    return Fit(products, others, penalty)


def _scaled(probe: Probe, vectors: NDArray[np.float32]) -> Floats:
    found: Floats = probe.scaled(torch.from_numpy(vectors).to(probe.centre.device)).double().cpu().numpy()
    return found


def _solve(products: Floats, truth: NDArray[np.bool_], penalty: float) -> tuple[Floats, float]:
    """The regression from inner products (N, N) of faces: a weight for each face (N,), and the intercept.

    There are more features than faces, so the solution is a weighted sum of the faces, and is quicker found as one.
    """
    squares, axes = np.linalg.eigh(products)
    kept = squares > 1e-9 * squares[-1]
    root = np.sqrt(squares[kept])
    weights, intercept = logistic_ridge(axes[:, kept] * root, truth, penalty, _even(truth))
    return axes[:, kept] @ (weights / root), intercept


def _calibrate(head: Probe, fit: Fit, truth: NDArray[np.bool_], groups: NDArray[np.int64], seed: int) -> Floats | None:
    """Stretch and shift the head's logits so that they fit faces that were held out (Platt scaling); return theirs (N,).

    With more features than faces, logits of the faces learned from say little about others: with eight reals to each
    fake, most held-out fakes would count as real.
    """
    held_out = _held_out(fit, truth, groups, FOLDS, seed)
    if held_out is None:
        return None
    unit = float(held_out.std()) or 1.0
    slope, shift = logistic_ridge(held_out[:, None] / unit, truth, 1.0, _even(truth))
    factor = max(float(slope[0]) / unit, 1e-3)  # a head that ranks the wrong way round is not reversed
    head.dense.weight.data.mul_(factor)
    head.dense.bias.data.mul_(factor).add_(shift)
    return held_out * factor + shift


def _held_out(fit: Fit, truth: NDArray[np.bool_], groups: NDArray[np.int64], folds: int, seed: int) -> Floats | None:
    """Logits (N,) of each row by a regression that has not seen its group; None where there are too few groups for it."""
    folds = min(folds, *(len(np.unique(groups[truth == label])) for label in (False, True)))
    fold = assign_folds(truth, groups, folds, seed)
    if folds < 2 or any(len(np.unique(truth[fold != part])) < 2 for part in range(folds)):
        return None
    found = np.empty(len(truth))
    for part in range(folds):
        held, learned = np.flatnonzero(fold == part), np.flatnonzero(fold != part)
        along, intercept = _solve(fit.products[np.ix_(learned, learned)], truth[learned], fit.penalty)
        found[held] = fit.judged[np.ix_(held, learned)] @ along + intercept
    return found


def _even(truth: NDArray[np.bool_]) -> Floats:
    """Weights (N,) of rows, 1 on average, by which both sides weigh the same."""
    share = float(truth.mean())
    return np.where(truth, 0.5 / share, 0.5 / (1 - share))


def _obstacle(task: AdaptTask) -> str | None:
    if task.replay is None:
        return "without a replay buffer a gate cannot learn which faces are old: facetell remember DETECTOR FACESET"
    if task.second is None:
        return "there is no pretrained second backbone: give one with --pretrained FILE.safetensors"
    if not task.replay.pictures and not task.second.knows(task.model):
        return (
            "the replay buffer keeps no pictures that another second backbone could read: leave out --backbone, --pretrained "
            "and --size, or keep some first: facetell remember DETECTOR FACESET"
        )
    return None


STRATEGY = Strategy(
    "expert",
    "an expert on a second backbone; the network stays",
    _obstacle,
    learn,
    interpolates=False,
    light=True,
)
