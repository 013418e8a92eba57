"""Training of a perceptron on vectors that a frozen backbone gave: steps of a few milliseconds."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F

from facetell.evaluation.metrics import auroc
from facetell.networks.perceptron import Perceptron
from facetell.progress import Progress
from facetell.training.recipe import learning_rate_factor
from facetell.training.run import EpochResult

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["PerceptronPlan", "kinds_loss", "row_weights", "train_perceptron"]

Vectors = NDArray[np.float32]
BATCH = 1024
"""Rows scored at a time."""


@dataclass(frozen=True)
class PerceptronPlan:
    """How a perceptron is trained, alone or with its backbone: AdamW, a rise and a cosine of the rate, the epoch with the best
    AUROC is kept."""

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    seed: int
    warmup: float = 0.1


def row_weights(
    labels: ArrayLike, sources: ArrayLike | None, share: float, kinds: ArrayLike | None = None
) -> NDArray[np.float64]:
    """The part of all draws (N,) that each row gets. Both labels weigh the same.

    A source of n rows weighs as n to the ``share`` within its label: 1 leaves sources as large as they are, 0 makes them all
    equal; without ``sources`` there is one a label. With ``kinds`` (N,) that holds within a kind of fakes, and a kind of n
    rows weighs as √n.
    """
    values = np.asarray(labels)
    of = np.zeros(len(values), np.int64) if sources is None else np.asarray(sources)
    kind = np.where(values == 1, 0 if kinds is None else np.asarray(kinds), -1)
    weights = np.zeros(len(values))
    for part in np.unique(kind):
        mine = np.flatnonzero(kind == part)
        _, place, counts = np.unique(of[mine], return_inverse=True, return_counts=True)
        drawn = counts[place] ** (share - 1.0)
        weights[mine] = drawn / drawn.sum() * np.sqrt(len(mine))
    for label in np.unique(values):
        weights[values == label] /= weights[values == label].sum()
    return weights / weights.sum()


def train_perceptron(
    head: Perceptron,
    views: Sequence[Vectors],
    labels: NDArray[np.int8],
    kinds: NDArray[np.int64],
    weights: NDArray[np.float64],
    held: tuple[Vectors, NDArray[np.int8]],
    plan: PerceptronPlan,
    fabric: Fabric,
    progress: Progress,
) -> list[EpochResult]:
    """Train ``head`` in place on ``views``, each of vectors (N, D) of the same faces, with ``labels``, ``kinds`` of fakes and
    ``weights`` (N,).

    A step's loss is the cross-entropy of the face's logit and, where there are several kinds, that of each kind's own logit,
    for which reals are none and fakes of other kinds are left out. An epoch draws as many rows as there are faces, each from a
    view by chance. ``held``: vectors and labels of the validation faces, which choose the epoch. Returns a line for each epoch.
    """
    head.to(fabric.device)
    _scale(head, views)
    rows, seen = [torch.from_numpy(_scaled(head, each)) for each in views], torch.from_numpy(held[0])
    truth = torch.from_numpy(labels).float()
    count = head.dense.out_features
    own = F.one_hot(torch.from_numpy(kinds), count).float() * truth[:, None]
    optimizer = torch.optim.AdamW(
        [*head.hidden.parameters(), *head.dense.parameters()], lr=plan.lr, weight_decay=plan.weight_decay
    )
    rng, steps = np.random.default_rng([plan.seed, 7]), max(len(labels) // plan.batch_size, 1)
    table: list[EpochResult] = []
    best, kept = -1.0, copy.deepcopy(head.state_dict())
    for epoch in range(plan.epochs):
        start, losses = time.perf_counter(), 0.0
        drawn = rng.choice(len(labels), size=(steps, plan.batch_size), p=weights)
        of_view = rng.integers(len(rows), size=drawn.shape)
        head.train()
        for step in range(steps):
            factor = learning_rate_factor(epoch * steps + step, plan.epochs * steps, plan.warmup)
            for group in optimizer.param_groups:
                group["lr"] = plan.lr * factor
            batch = drawn[step]
            chosen = _rows(rows, of_view[step], batch).to(fabric.device)
            with fabric.autocast():
                logits = head.dense(head.hidden(chosen))
            loss = kinds_loss(logits.float(), truth[batch].to(fabric.device), own[batch].to(fabric.device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses += loss.item()
        scores = _scores(head.eval(), seen, fabric)
        area = auroc(held[1], scores)
        nats = float(F.binary_cross_entropy_with_logits(torch.from_numpy(scores), torch.from_numpy(held[1]).float()))
        speed = steps * plan.batch_size / (time.perf_counter() - start)
        table.append(EpochResult(epoch + 1, plan.lr * factor, losses / steps, nats, area, speed))
        progress(table[-1].as_step(plan.epochs))
        if area > best:
            best, kept = area, copy.deepcopy(head.state_dict())
    head.load_state_dict(kept)
    return table


def kinds_loss(logits: Tensor, truth: Tensor, own: Tensor) -> Tensor:
    """Of logits (B, K), with ``truth`` (B,) and the kind of each fake ``own`` (B, K)."""
    loss = F.binary_cross_entropy_with_logits(logits.logsumexp(dim=1), truth)
    if logits.shape[1] == 1:
        return loss
    counts = (truth[:, None] == 0) | (own == 1)
    return loss + F.binary_cross_entropy_with_logits(logits[counts], own[counts])


def _scale(head: Perceptron, views: Sequence[Vectors]) -> None:
    """Centre and spread of the features, over all views."""
    centre = np.mean([each.mean(axis=0, dtype=np.float64) for each in views], axis=0)
    squares = np.mean(
        [each.var(axis=0, dtype=np.float64) + (each.mean(axis=0) - centre) ** 2 for each in views], axis=0
    )
    spread = np.sqrt(squares)
    head.centre.copy_(torch.from_numpy(centre))
    head.spread.copy_(torch.from_numpy(np.where(spread > 1e-6, spread, 1)))


@torch.no_grad()
def _scaled(head: Perceptron, vectors: Vectors) -> NDArray[np.float16]:
    """The features as the layers see them, in half precision, as they are kept for all epochs."""
    parts = [
        head.scaled(torch.from_numpy(vectors[start : start + BATCH]).to(head.centre.device)).half().cpu().numpy()
        for start in range(0, len(vectors), BATCH)
    ]
    return np.concatenate(parts)


def _rows(views: Sequence[Tensor], of_view: NDArray[np.int64], rows: NDArray[np.int64]) -> Tensor:
    chosen = torch.empty(len(rows), views[0].shape[1])
    for number, view in enumerate(views):
        mine = np.flatnonzero(of_view == number)
        chosen[mine] = view[rows[mine]].float()
    return chosen


@torch.no_grad()
def _scores(head: Perceptron, vectors: Tensor, fabric: Fabric) -> NDArray[np.float32]:
    parts = [
        head(vectors[start : start + BATCH].to(fabric.device)).float().cpu() for start in range(0, len(vectors), BATCH)
    ]
    scores: NDArray[np.float32] = torch.cat(parts).numpy()
    return scores
