"""Judging a long video keeps what is said of each face, and no pixels."""

from __future__ import annotations

import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from facetell.detector.decider import Decider
from facetell.detector.judge import BATCH, Judge
from facetell.evaluation.score_curves import Curve
from facetell.faces.face import Face
from facetell.faces.finding import FoundFace, Shot

FACE = Face((0, 0, 40, 40), ((1, 1), (2, 1), (2, 2), (1, 3), (2, 3)), 0.9)


class Reading:
    """A video of 5 batches with a face in each frame; counts the crops that are alive."""

    kind, shots, missing, note, seconds = "video", 5 * BATCH, "", "", 1.0
    streams = ()

    def __init__(self) -> None:
        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self.most = 0

    def __iter__(self) -> Any:
        for index in range(self.shots):
            crop = np.zeros((8, 8, 3), dtype=np.uint8).view(_Watched)
            self.alive.add(crop)
            yield Shot(index, index / 30, crop, [FoundFace(FACE, 1.0, None, cast("Any", crop))])
            del crop
            self.most = max(self.most, len(self.alive))


class _Watched(np.ndarray):  # type: ignore[type-arg]
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:  # type: ignore[override]
        return self is other


def test_crops_are_let_go_once_they_are_scored(tmp_path: Path) -> None:
    decider = Decider(Curve(1.0), 0.5)

    def scores(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return logits

    detector = SimpleNamespace(
        size=8,
        description={"input": {"crop": {}}},
        calibration=decider,
        decider=decider,
        video_decider=decider,
        operating_point="default",
        prevalence=None,
        logits_and_deviations=lambda crops: (np.zeros(len(crops), dtype=np.float32), np.full(len(crops), np.nan)),
        p_known=lambda deviations: deviations,
        unlike=None,
        scores=scores,
    )
    reading = Reading()
    judge = Judge(cast("Any", detector), faces="find")
    judge._finder = cast("Any", SimpleNamespace(read=lambda path: reading))
    (tmp_path / "clip.mp4").touch()
    verdict = judge.file(tmp_path / "clip.mp4")
    assert len(verdict.faces) == reading.shots
    assert reading.most <= BATCH + 2
