"""Cross-validation of strategies on the few new images, each measured on the memory as well."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facetell.adaptation.replay import Lesson
from facetell.adaptation.task import Known, Strategy
from facetell.evaluation.choice_gain import deal
from facetell.evaluation.comparison import delong
from facetell.evaluation.metrics import auroc
from facetell.faceset.samples import Samples
from facetell.progress import Progress, Step, silent
from facetell.training.loop import predict

__all__ = ["SHARES", "Candidate", "Trial", "cross_validate", "mixed"]

ENOUGH = 15
"""Held-out faces of each label from which one fold may end a candidate: with eight of each a good one was lost."""
SHARES = (1.0, 0.5)
"""How far from the old weights to the learned ones a strategy that mixes may go."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """A strategy, and how far it goes from the old weights to the learned ones (1: all the way)."""

    strategy: Strategy
    share: float = 1.0

    @property
    def name(self) -> str:
        """Such as ``whole`` or ``whole × 0.5``."""
        return self.strategy.name if self.share == 1 else f"{self.strategy.name} × {self.share:g}"


@dataclass
class Trial:
    """What cross-validation says of one candidate."""

    candidate: Candidate
    held_out: Floats
    """(repeats, N) logits of the new images, each by a network that has not seen its group; NaN where none was made."""
    drops: list[float] = field(default_factory=list)
    """How much the AUROC on old faces fell, fold by fold."""

    @property
    def finished(self) -> bool:
        """Whether it was tried on every fold."""
        return not np.isnan(self.held_out).any()

    def auroc(self, labels: npt.NDArray[np.int8]) -> float:
        """Mean over the repetitions, of new images that were held out; of one that did not finish, of the first fold."""
        if self.finished:
            return float(np.mean([auroc(labels, scores) for scores in self.held_out]))
        held = ~np.isnan(self.held_out[0])
        return auroc(labels[held], self.held_out[0, held])

    @property
    def drop(self) -> float:
        """Mean fall of the old AUROC; 0 without a memory."""
        return float(np.mean(self.drops)) if self.drops else 0.0


def cross_validate(
    known: Known,
    lesson: Lesson,
    strategies: Sequence[Strategy],
    old: Samples | None,
    *,
    folds: int,
    repeats: int,
    margin: float,
    progress: Progress = silent,
) -> list[Trial]:
    """Try every strategy: learn from all folds but one, judge that one, and ``old`` faces that nothing was learned from.

    Groups stay whole. One trial for each strategy and share of `SHARES`. After the first fold, if it is not too small,
    only strategies go on that may still win: a race (Maron and Moore 1994), as there is little time. ``old`` is judged in
    the first repetition alone. ``progress`` is told of every fit, with the strategy's name.
    """
    labels, groups = lesson.new.labels, lesson.new.groups
    trials = [
        Trial(Candidate(strategy, share), np.full((repeats, len(labels)), np.nan))
        for strategy in strategies
        for share in (SHARES if strategy.mixes else (1.0,))
    ]
    before = auroc(old.labels, predict(known.network, old, lesson.fabric)) if old else 0.0
    running, done = list(strategies), 0
    for repeat in range(repeats):
        fold = deal(labels, groups, folds, lesson.seed + repeat)
        for part in range(folds):
            held, learned = np.flatnonzero(fold == part), np.flatnonzero(fold != part)
            for strategy in running:
                left = (repeats * folds - repeat * folds - part) * len(running) - running.index(strategy)
                progress(Step("trying", done, done + left, "fits", strategy.name))
                found = strategy.learn(known, lesson.part(learned))
                done += 1
                for trial in (trial for trial in trials if trial.candidate.strategy is strategy):
                    learner = mixed(known, found, trial.candidate.share)
                    trial.held_out[repeat, held] = strategy.judge(learner, lesson.part(held).new, lesson)
                    if old and repeat == 0:
                        trial.drops.append(before - auroc(old.labels, strategy.judge(learner, old, lesson)))
            if repeat == part == 0 and np.bincount(labels[held], minlength=2).min() >= ENOUGH:
                running = _may_win(trials, labels[held], held, margin)
    return trials


def _may_win(
    trials: list[Trial], labels: npt.NDArray[np.int8], held: npt.NDArray[np.int64], margin: float
) -> list[Strategy]:
    """The strategies with a candidate within a standard error of the best on the first fold, among those that keep the old.

    A fall on old faces of up to the whole margin is let pass here: one fold is one fit.
    """
    safe = [trial for trial in trials if trial.drop <= margin]
    if not safe:
        safe = [min(trials, key=lambda trial: trial.drop)]
    scores = {id(trial): trial.held_out[0, held] for trial in safe}
    areas = {key: auroc(labels, each) for key, each in scores.items()}
    best = max(scores, key=lambda key: areas[key])
    kept = list[Strategy]()
    for trial in safe:
        key, strategy = id(trial), trial.candidate.strategy
        error = 0.0 if key == best else delong(labels, scores[best], scores[key]).standard_error
        if areas[best] - areas[key] <= error and strategy not in kept:
            kept.append(strategy)
    return kept


def mixed(known: Known, found: Known, share: float) -> Known:
    """The network ``share`` of the way from the old weights to the found ones (WiSE-FT)."""
    if share == 1:
        return found
    network = copy.deepcopy(known.network)
    old, new = known.network.state_dict(), found.network.state_dict()
    between: dict[str, Tensor] = {
        name: torch.lerp(old[name], new[name], share) if new[name].is_floating_point() else new[name] for name in new
    }
    network.load_state_dict(between)
    return Known(found.method, found.settings, network)
