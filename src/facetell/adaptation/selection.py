"""Choosing a strategy by cross-validation on the few new faces; old faces tell how much each one forgets."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from facetell.adaptation.task import AdaptTask, Model, Strategy
from facetell.evaluation.choice_gain import assign_folds
from facetell.evaluation.comparison import delong
from facetell.evaluation.metrics import auroc
from facetell.progress import Progress, Step, silent

__all__ = [
    "FEW",
    "FOLDS",
    "SHARES",
    "Candidate",
    "Trial",
    "allowed",
    "cross_validate",
    "held_out_models",
    "interpolated",
    "untouched",
]

FOLDS, REPEATS = 3, 5
FEW = 20
"""New fakes below which cross-validation is repeated `REPEATS` times; and groups of them
below which the report says how unsure its numbers are."""
ENOUGH = 15
"""Held-out groups of each label from which the first fold may end a trial: with eight of each a good one was lost."""
SHARES = (1.0, 0.5)
"""How far from the old weights to the learned ones a strategy that interpolates goes."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """A strategy, and how far it goes from the old weights to the learned ones (1: all the way)."""

    strategy: Strategy
    share: float = 1.0

    @property
    def name(self) -> str:
        """Such as ``full`` or ``full × 0.5``."""
        return self.strategy.name if self.share == 1 else f"{self.strategy.name} × {self.share:g}"

    def learn(self, task: AdaptTask) -> Model:
        """The model that it makes of all the task's new faces."""
        return interpolated(task.model, self.strategy.learn(task), self.share)


@dataclass
class Trial:
    """What cross-validation found out about one candidate."""

    candidate: Candidate
    held_out: Floats
    """(repeats, N) logits of the new faces, each by a network that has not seen its group; NaN where none was made."""
    falls: list[float] = field(default_factory=list)
    """How far the AUROC on old faces fell, in each fold."""
    models: list[tuple[Model, NDArray[np.int64]]] = field(default_factory=list)
    """Those of the first repetition with the places that they have not learned from, where they are light."""

    @property
    def finished(self) -> bool:
        """Whether it was tried on every fold."""
        return not np.isnan(self.held_out).any()

    def auroc(self, labels: NDArray[np.int8]) -> float:
        """On held-out new faces: the mean over repetitions, or of the first fold alone if it was given up then."""
        if self.finished:
            return float(np.mean([auroc(labels, logits) for logits in self.held_out]))
        held = ~np.isnan(self.held_out[0])
        return auroc(labels[held], self.held_out[0, held])

    @property
    def fall(self) -> float:
        """Mean fall of the AUROC on old faces; 0 without a replay buffer."""
        return float(np.mean(self.falls)) if self.falls else 0.0


def cross_validate(
    task: AdaptTask,
    strategies: Sequence[Strategy],
    margin: float,
    progress: Progress = silent,
) -> list[Trial]:
    """Try every strategy: it learns from all folds but one, and judges that one and old faces that nothing learns from.

    Groups stay whole. There is a trial for each strategy and each of its `SHARES`. After the first fold, unless that is
    too small, only strategies go on that may still win: a race (Maron and Moore 1994), which saves time. Old faces are
    judged in the first repetition alone. ``progress`` is told of every fit, with the strategy's name.
    """
    labels, groups = task.new.labels, task.new.groups
    old = task.replay.choose if task.replay else None
    repeats = REPEATS if labels.sum() < FEW else 1
    trials = [
        Trial(Candidate(strategy, share), np.full((repeats, len(labels)), np.nan))
        for strategy in strategies
        for share in (SHARES if strategy.interpolates else (1.0,))
    ]
    before = auroc(old.labels, task.predict(task.model, old)) if old else 0.0
    running, done = list(strategies), 0
    for repeat in range(repeats):
        fold = assign_folds(labels, groups, FOLDS, task.seed + repeat)
        for part in range(FOLDS):
            held, learned = np.flatnonzero(fold == part), np.flatnonzero(fold != part)
            for strategy in running:
                left = ((repeats - repeat) * FOLDS - part) * len(running) - running.index(strategy)
                progress(Step("trying", done, done + left, "fits", strategy.name))
                found = strategy.learn(task.subset(learned))
                done += 1
                for trial in (trial for trial in trials if trial.candidate.strategy is strategy):
                    learner = interpolated(task.model, found, trial.candidate.share)
                    trial.held_out[repeat, held] = task.predict(learner, task.new.subset(held))
                    if repeat == 0 and strategy.light:
                        trial.models.append((learner, held))
                    if old and repeat == 0:
                        trial.falls.append(before - auroc(old.labels, task.predict(learner, old)))
            if repeat == part == 0 and _groups(labels[held], groups[held]) >= ENOUGH:
                running = _may_win(trials, labels[held], groups[held], held, margin)
    return trials


def held_out_models(task: AdaptTask, trial: Trial) -> Iterator[tuple[Model, NDArray[np.int64]]]:
    """The models that a candidate makes of all folds but one, each with the places of the faces it has not learned from."""
    if len(trial.models) == FOLDS:
        yield from trial.models
        return
    fold = assign_folds(task.new.labels, task.new.groups, FOLDS, task.seed)
    for part in range(FOLDS):
        yield trial.candidate.learn(task.subset(np.flatnonzero(fold != part))), np.flatnonzero(fold == part)


def untouched(task: AdaptTask, trials: list[Trial]) -> NDArray[np.bool_]:
    """The new faces (N,) on which no candidate was given up: all, or those outside the first fold."""
    if all(trial.finished for trial in trials):
        return np.ones(len(task.new.labels), dtype=np.bool_)
    return assign_folds(task.new.labels, task.new.groups, FOLDS, task.seed) != 0


def _groups(labels: NDArray[np.int8], groups: NDArray[np.int64]) -> int:
    """Groups of the label that has fewer."""
    return min(len(np.unique(groups[labels == label])) for label in (0, 1))


def _may_win(
    trials: list[Trial], labels: NDArray[np.int8], groups: NDArray[np.int64], held: NDArray[np.int64], margin: float
) -> list[Strategy]:
    """The strategies with a candidate within a standard error, over groups, of the best on the first fold.

    Only candidates whose AUROC on old faces fell by at most ``margin`` take part: twice what is allowed in the end, as one
    fold is one fit.
    """
    safe = [trial for trial in trials if trial.fall <= margin] or [min(trials, key=lambda trial: trial.fall)]
    scores = [trial.held_out[0, held] for trial in safe]
    areas = [auroc(labels, each) for each in scores]
    best = int(np.argmax(areas))
    kept = list[Strategy]()
    for place, trial in enumerate(safe):
        error = 0.0 if place == best else delong(labels, scores[best], scores[place], groups).standard_error
        if areas[best] - areas[place] <= error and trial.candidate.strategy not in kept:
            kept.append(trial.candidate.strategy)
    return kept


def allowed(trials: list[Trial], margin: float) -> list[Trial]:
    """The finished trials whose fall on old faces is at most half the margin; if there are none, the one that fell least."""
    finished = [trial for trial in trials if trial.finished]
    return [trial for trial in finished if trial.fall <= margin / 2] or [min(finished, key=lambda trial: trial.fall)]


def interpolated(old: Model, learned: Model, share: float) -> Model:
    """The network ``share`` of the way from the old weights to the learned ones (WiSE-FT: Wortsman et al. 2022)."""
    if share == 1:
        return learned
    network = copy.deepcopy(old.network)
    begin, end = old.network.state_dict(), learned.network.state_dict()
    network.load_state_dict(
        {
            name: torch.lerp(begin[name], end[name], share) if end[name].is_floating_point() else end[name]
            for name in end
        }
    )
    return learned.having(network)
