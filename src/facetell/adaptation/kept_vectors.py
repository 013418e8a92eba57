"""A replay buffer of vectors as `adapt` uses it: what each old face is for, and how new faces are added."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facetell.adaptation.second_backbone import SecondBackbone
from facetell.adaptation.task import SPLIT, AdaptTask, ReplayBuffer
from facetell.detector.replay_vectors import ReplayVectors, vectors_of_rows
from facetell.errors import UsageError
from facetell.evaluation.choice_gain import assign_folds
from facetell.faceset.decoded import DecodedImages
from facetell.faceset.samples import Samples, group_codes
from facetell.faceset.table import FaceSet

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["divided_vectors", "validation_vectors", "with_new_vectors"]


class NoPictures(DecodedImages):
    """Stands where decoded pictures would be, of faces that no picture is kept of."""

    def __init__(self, count: int, size: int) -> None:
        self.path, self.size, self._count, self._fd = Path("vectors alone"), size, count, -1

    def gather(self, indices: ArrayLike) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(
            "the detector keeps vectors of old faces and no pictures",
            hint="--strategy expert, or keep pictures: facetell remember DETECTOR FACESET",
        )


def divided_vectors(
    kept: ReplayVectors, second: SecondBackbone | None, size: int, new: FaceSet, seed: int, fabric: Fabric
) -> ReplayBuffer:
    """The kept faces by what they are for, as `divided` has it of pictures; ``second`` gets to know their vectors.

    Faces that are also among the new ones are left out, as some of those are held out.
    """
    fresh = ~np.isin(kept.pictures, kept.hashes_of(new))
    every = _samples(kept, np.arange(len(kept)), size)
    if second:
        second.keep(every.images, kept.vectors(every.rows), kept.logits)
    learn, held = (every.subset(rows[fresh[rows]]) for rows in (kept.rows("train"), kept.rows("validation")))
    half = assign_folds(held.labels, held.groups, 2, seed)
    choose, check = (held.subset(half == part) for part in (0, 1))
    seen = int(kept.adapted[check.rows].sum())
    return ReplayBuffer(kept, learn, kept.logits[learn.rows], choose, check, seen)


def validation_vectors(kept: ReplayVectors, size: int) -> Samples:
    """The faces of *validation* that no ``adapt`` has learned from."""
    rows = kept.rows("validation")
    return _samples(kept, rows[kept.adapted[rows] == 0], size)


def with_new_vectors(kept: ReplayVectors, new: FaceSet, task: AdaptTask) -> ReplayVectors:
    """The kept faces and the new ones: two thirds of their groups to learn from, the rest to check."""
    assert task.second is not None
    labels, groups = new.labels(SPLIT), group_codes(new, SPLIT)
    held = assign_folds(labels, groups, 3, task.seed) == 0
    places = np.concatenate([np.flatnonzero(~held), np.flatnonzero(held)])
    mine = task.new.subset(places)
    first = new.rows(SPLIT).start
    rows = {"train": np.flatnonzero(~held) + first, "validation": np.flatnonzero(held) + first}
    logits = task.second.old_logits(task.second.old(task.model), mine, task.fabric)
    vectors = task.second.vectors(mine, task.fabric)
    return kept.joined(vectors_of_rows(new, rows, vectors, logits, kept.salt.tobytes(), adapted=True))


def _samples(kept: ReplayVectors, rows: NDArray[np.int64], size: int) -> Samples:
    groups = np.unique(kept.groups, return_inverse=True)[1].astype(np.int64)
    images = NoPictures(len(kept), size)
    return Samples(images, rows, kept.labels[rows].astype(np.int8), groups[rows], kept.sources[rows].astype(np.int64))
