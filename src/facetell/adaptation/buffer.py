"""The replay buffer of a detector as `adapt` uses it: what each face is for, and how new ones are added."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from facetell.adaptation.new_faces import NewFaces
from facetell.adaptation.task import SPLIT, Model, ReplayBuffer
from facetell.detector.replay_buffer import ADAPTED, learned_by_adapt
from facetell.errors import DataError
from facetell.evaluation.choice_gain import assign_folds
from facetell.faceset.join import Part
from facetell.faceset.samples import group_codes, samples_of
from facetell.faceset.table import FaceSet
from facetell.training.loop import predict

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["divided", "with_new_faces"]


def divided(faces: FaceSet, model: Model, new: NewFaces, seed: int, fabric: Fabric) -> ReplayBuffer:
    """The faces of a replay buffer by what they are for.

    Faces that are also among the new ones are left out, as some of those are held out, and so are groups that lend reals to
    the new ones. Raises DataError if the rest has but one label to learn from.
    """
    given = pa.array(new.faces.columns(["sha256"])["sha256"].to_pylist())
    lent = pa.array(sorted(new.lent), pa.string())

    def rest(split: str) -> NDArray[np.bool_]:
        columns = faces.columns(["sha256", "group"], split)
        return ~np.asarray(pc.or_(pc.is_in(columns["sha256"], given), pc.is_in(columns["group"], lent)))

    size, others = model.settings.size, rest("validation")
    learn = samples_of(faces, "train", size).subset(rest("train"))
    held = samples_of(faces, "validation", size).subset(others)
    if new.lent and len(np.unique(learn.labels)) < 2:
        raise DataError(
            "the replay buffer has too few groups to lend some as reals and learn from others",
            hint="give reals from where the fakes were found: --real FOLDER",
        )
    half = assign_folds(held.labels, held.groups, 2, seed)
    choose, check = (held.subset(half == part) for part in (0, 1))
    seen = int(learned_by_adapt(faces, "validation")[others][half == 1].sum())
    return ReplayBuffer(faces, learn, predict(model.network, learn, fabric), choose, check, seen)


def with_new_faces(old: FaceSet, new: FaceSet, seed: int) -> list[Part]:
    """The parts of a replay buffer of an old one and the new faces: two thirds of their groups to learn from, the rest to
    check."""
    labels, groups = new.labels(SPLIT), group_codes(new, SPLIT)
    held = assign_folds(labels, groups, 3, seed) == 0
    rows = np.arange(len(labels)) + new.rows(SPLIT).start
    parts = [Part(old, np.asarray(old.rows(name)), name) for name in old.splits]
    return [*parts, Part(new, rows[~held], "train", ADAPTED), Part(new, rows[held], "validation", ADAPTED)]
