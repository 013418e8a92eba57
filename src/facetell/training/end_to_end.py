"""Training of a backbone together with the perceptron on its statistics, once the perceptron has learned on the frozen ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facetell.faceset.samples import Samples
from facetell.networks.acceleration import channels_last
from facetell.networks.perceptron import DepthClassifier
from facetell.threads import batched, ordered
from facetell.training.degraded import degraded
from facetell.training.loop import Batches, Phase, judged, predict, train_phase
from facetell.training.perceptron import PerceptronPlan, kinds_loss
from facetell.training.recipe import learning_rate_factor
from facetell.training.run import EpochResult, Run, State

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["train_end_to_end"]

CLIP = 1.0
"""Largest norm of a step's gradient."""
AVERAGING = 0.998
"""Decay of the running average of the weights, which is what is judged and kept."""
AS_IT_IS = 0.5
"""Part of the faces that are not degraded."""


def train_end_to_end(
    network: DepthClassifier,
    run: Run,
    settings: object,
    plan: PerceptronPlan,
    draws: tuple[NDArray[np.int64], NDArray[np.float64]],
    before: list[EpochResult],
    fabric: Fabric,
) -> list[EpochResult]:
    """Train ``network`` in place; it stays as it is where no epoch has a higher validation AUROC than those ``before``.

    ``plan``: of the epochs of both, in which the running average of the weights is judged and kept. ``draws``: the kind of each
    fake, and how often each training face is drawn, both (N,). ``settings``: the dataclass by which a checkpoint is told from
    another. Returns a line for each epoch, those ``before`` among them.

    Raises ``FacetellError`` when the loss is no longer finite.
    """
    network.statistics.learn()
    state = State(network, run, settings, AVERAGING)
    for part in (state.kept, network):
        channels_last(part.to(fabric.device))
    if not state.history:
        for each in before:  # whose best one is what the network is now
            state.add(each, _EndToEnd.select)
    train_phase(_EndToEnd(state, plan, draws, fabric, network, len(before)))
    network.load_state_dict(state.best)
    network.statistics.freeze()
    return state.history


class _Kinds(nn.Module):
    """Images (N, 3, S, S) in [0, 1] to a logit for each kind of fakes (N, K)."""

    def __init__(self, network: DepthClassifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.of_kinds(images)


class _EndToEnd(Phase):
    """The epochs: each draws as many faces as there are, every one in a view that it was never seen in."""

    select = "auroc"
    clip = CLIP

    def __init__(
        self,
        state: State,
        plan: PerceptronPlan,
        draws: tuple[NDArray[np.int64], NDArray[np.float64]],
        fabric: Fabric,
        network: DepthClassifier,
        first: int,
    ) -> None:
        self.plan, (self.kinds, self.weights) = plan, draws
        self.steps_per_epoch = max(len(state.run.training) // plan.batch_size, 1)
        last = first + plan.epochs
        learns = [each for each in network.parameters() if each.requires_grad]
        optimizer = torch.optim.AdamW(learns, lr=plan.lr, weight_decay=plan.weight_decay)
        super().__init__(state, fabric, _Kinds(network), optimizer, (first, last, last))

    def batches(self, epoch: int, generator: torch.Generator) -> Batches:
        training = self.run.training
        rng = np.random.default_rng([self.run.seed, epoch, self.fabric.global_rank])
        count = self.steps_per_epoch * self.plan.batch_size
        drawn = rng.choice(len(training), size=count, p=self.weights)
        numbered = np.where(training.labels == 1, 1 + self.kinds, 0).astype(np.int8)
        return Batches(numbered[drawn], self._views(training, drawn, rng))

    def _views(
        self, training: Samples, drawn: NDArray[np.int64], rng: np.random.Generator
    ) -> Iterator[tuple[Tensor, None]]:
        """Batches of drawn faces, each changed in threads by random numbers of its own."""
        seeds = rng.integers(2**63, size=len(drawn))
        crops = ordered(
            lambda place: _view(training.images.gather(training.rows[drawn[place : place + 1]])[0], int(seeds[place])),
            range(len(drawn)),
            ahead=32,
        )
        for batch in batched(crops, self.plan.batch_size):
            pixels = torch.from_numpy(np.stack(batch)).to(self.fabric.device, non_blocking=True)
            yield pixels.permute(0, 3, 1, 2).float().div_(255), None

    def rate(self, epoch: int, step: int) -> float:
        steps = self.steps_per_epoch
        return self.plan.lr * learning_rate_factor(
            step - self.first * steps, self.plan.epochs * steps, self.plan.warmup
        )

    def loss(self, answer: Tensor, labels: Tensor) -> Tensor:
        numbers = labels.long()
        own = torch.nn.functional.one_hot(numbers, 1 + answer.shape[1])[:, 1:].float()
        return kinds_loss(answer, (numbers > 0).float(), own)

    def judge(self, epoch: int) -> dict[str, float]:
        return judged(predict(self.state.kept, self.run.validation, self.fabric), self.run.validation)


def _view(crop: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """A crop uint8 (S, S, 3) as it is or degraded, and every second time mirrored."""
    rng = np.random.default_rng(seed)
    if rng.random() >= AS_IT_IS:
        return degraded(crop, rng)
    return crop[:, ::-1] if rng.random() < 0.5 else crop
