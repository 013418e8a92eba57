"""Training in several steps: the shared loop once for each, every step from the weights that the one before kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from facetell.progress import Step
from facetell.training.loop import Objective, train
from facetell.training.recipe import Recipe
from facetell.training.run import TABLE, EpochResult, Run, write_table

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Learning", "StepResult", "train_steps"]

Groups = list[dict[str, object]]


@dataclass(frozen=True)
class Learning:
    """What learns in a step: parameter ``groups``, the ``objective`` (None: cross-entropy of the logits), and what is to be
    done with the weights that it keeps."""

    groups: Groups
    objective: Objective | None = None
    finish: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class StepResult(EpochResult):
    """One line of ``training.csv`` of a run in several steps, counted from 1. Epochs are counted through all of them."""

    step: int


def train_steps(
    network: nn.Module, run: Run, recipe: Recipe, *, steps: Sequence[Callable[[], Learning]], fabric: Fabric
) -> None:
    """Train ``network`` in place, and leave in it the weights that the last step keeps.

    Each of ``steps`` sets what shall learn and returns it; it gets ``recipe.epochs`` epochs, an
    optimiser, a schedule and a choice of the epoch of its own. A single step is ``train``, and nothing else. Step 1
    lies in the run's folder, each further one in a folder ``step-N`` within. Nothing else has to be remembered: to a
    resumed run the checkpoint of a finished step leaves no epochs to do, and gives back what that step kept.

    Raises what ``train`` raises.
    """
    if len(steps) == 1:
        _train(network, run, recipe, steps[0], fabric)
        return
    rows: list[StepResult] = []
    for number, begin in enumerate(steps, 1):
        part = _part(run, number, len(steps), len(rows))
        history = _train(network, part, recipe, begin, fabric)
        done = len(rows)
        rows += [StepResult(**{**asdict(result), "epoch": result.epoch + done}, step=number) for result in history]
        if fabric.is_global_zero:
            write_table(run.folder / TABLE, rows)


def _train(
    network: nn.Module, run: Run, recipe: Recipe, begin: Callable[[], Learning], fabric: Fabric
) -> list[EpochResult]:
    learning = begin()
    history = train(network, run, recipe, groups=learning.groups, fabric=fabric, objective=learning.objective)
    learning.finish()
    return history


def _part(run: Run, number: int, count: int, epochs_done: int) -> Run:
    """The run that step ``number`` of ``count`` is: its folder, its own draws, and progress counted through all steps."""
    folder, seed = run.folder, run.seed
    if number > 1:
        folder = run.folder / f"step-{number}"
        folder.mkdir(exist_ok=True)
        seed = int(np.random.SeedSequence([run.seed, number]).generate_state(1)[0])

    def through_all(step: Step) -> None:
        if step.what == "training":
            note = f"part {number} of {count}, {step.note}"
            step = replace(step, done=step.done + (number - 1) * step.total, total=step.total * count, note=note)
        elif step.what == "epoch":
            step = replace(step, done=step.done + epochs_done, total=step.total * count)
        run.progress(step)

    return replace(run, folder=folder, seed=seed, progress=through_all)
