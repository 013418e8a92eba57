"""Grid search by cross-validation with groups apart, on feature vectors."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from facetell.errors import DataError, learning
from facetell.evaluation.metrics import auroc, confusion
from facetell.faceset.samples import Samples
from facetell.files import write_csv
from facetell.labels import LABELS
from facetell.progress import Progress, Step, silent
from facetell.training.classifiers import Classifier, Point, fit_head, source_weights

__all__ = ["Candidate", "Search", "best_of", "folds_of", "write_candidates"]

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Candidate:
    """One point of a grid: mean and standard deviation over folds of F1 (called fake from logit 0 on) and AUROC."""

    point: Point
    f1: float
    f1_sd: float
    auroc: float
    auroc_sd: float
    seconds: float


def folds_of(samples: Samples, folds: int, seed: int) -> list[Fold]:
    """(learned, held out) positions of each fold: stratified by label, a group's rows always together.

    Raises ``DataError`` when there are too few groups for every fold to hold both classes.
    """
    groups = {name: len(np.unique(samples.groups[samples.labels == label])) for label, name in enumerate(LABELS)}
    few = DataError(
        f"{folds}-fold cross-validation needs {folds} groups of each label; there are {groups['real']} real and "
        f"{groups['fake']} fake ones among {len(samples)} images",
        hint="add groups (persons, source videos), or ask for fewer folds: --set folds=…",
    )
    if min(groups.values()) < folds:
        raise few
    with learning("fitting features"):
        from sklearn.model_selection import StratifiedGroupKFold
    dealer = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    dealt = [(learned, held) for learned, held in dealer.split(samples.rows, samples.labels, samples.groups)]
    if any(len(np.unique(samples.labels[side])) < 2 for fold in dealt for side in fold):
        raise few  # groups of very unequal sizes can leave a fold with one class
    return dealt


@dataclass(frozen=True)
class Search:
    """What every point of a grid is measured on."""

    classifier: Classifier
    vectors: NDArray[np.float32]
    labels: NDArray[np.int8]
    folds: Sequence[Fold]
    seed: int
    standardise: bool
    sources: NDArray[np.int64] | None = None
    """(N,) of the rows, where those of a label shall weigh the same, in fitting and in the scores."""

    def run(
        self, grid: dict[str, tuple[Any, ...]], then: Callable[[list[Candidate]], None], progress: Progress = silent
    ) -> list[Candidate]:
        """Measure every point in the grid's order; ``then`` is called with all so far after each."""
        points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        found: list[Candidate] = []
        steps = len(points) * len(self.folds)
        for number, point in enumerate(points, start=1):
            start, f1, area = time.perf_counter(), list[float](), list[float]()
            for learned, held in self.folds:
                with torch.inference_mode():
                    logits = self.fit(point, learned)(torch.from_numpy(self.vectors[held])).numpy()
                for scores, score in zip((f1, area), self._scores(held, logits), strict=True):
                    scores.append(score)
                done = (number - 1) * len(self.folds) + len(f1)
                note = f"candidate {number}/{len(points)}"
                progress(Step("choosing", done, steps, "fits", note, {"AUROC": float(np.mean(area))}))
            means, deviations = np.mean([f1, area], axis=1).tolist(), np.std([f1, area], axis=1, ddof=1).tolist()
            seconds = time.perf_counter() - start
            found.append(Candidate(point, means[0], deviations[0], means[1], deviations[1], seconds))
            then(found)
        return found

    def _weights(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        return None if self.sources is None else source_weights(self.labels[rows], self.sources[rows])

    def _scores(self, rows: NDArray[np.int64], logits: NDArray[np.float32]) -> tuple[float, float]:
        """F1 and AUROC on some rows."""
        truth, weights = self.labels[rows], self._weights(rows)
        if weights is None:
            return confusion(truth, logits, 0.0).f1, auroc(truth, logits)
        from sklearn.metrics import f1_score, roc_auc_score  # the metrics of reports take no weights

        called = logits >= 0
        return float(f1_score(truth, called, sample_weight=weights)), float(
            roc_auc_score(truth, logits, sample_weight=weights)
        )

    def fit(self, point: Point, rows: NDArray[np.int64]) -> torch.nn.Module:
        """The head of one point of a grid, fitted on some rows."""
        with warnings.catch_warnings():
            # A point that has not converged within its steps is measured, and competes, as it is.
            warnings.filterwarnings("ignore", message=".*converge", category=UserWarning)
            labels, weights = self.labels[rows], self._weights(rows)
            return fit_head(self.classifier, self.vectors[rows], labels, point, self.seed, self.standardise, weights)


def best_of(candidates: Sequence[Candidate], select: str) -> Candidate:
    """The candidate with the highest mean ``select`` (``f1`` or ``auroc``); the first of equals."""
    return max(candidates, key=lambda candidate: float(getattr(candidate, select)))


def write_candidates(path: Path, candidates: Sequence[Candidate], select: str) -> None:
    """Write the table of candidates, whole or not at all; ``chosen`` is 1 for the best so far."""
    best = best_of(candidates, select)
    rows = (
        [
            *("none" if value is None else value for value in each.point.values()),
            each.f1, each.f1_sd, each.auroc, each.auroc_sd, each.seconds, int(each is best),
        ]
        for each in candidates
    )  # fmt: skip
    write_csv(path, [*best.point, "f1", "f1_sd", "auroc", "auroc_sd", "seconds", "chosen"], rows)
