"""Has files judged once more by the detector in shadow, after their answer is on its way, and writes down how it differs."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from facetell.detector.verdict import Verdict
from facetell.serving.engine import Engine, Generation
from facetell.serving.pool import Closed, Full, Outcome, Task
from facetell.serving.uploads import Upload
from facetell.serving.work import Done, Order
from facetell.store.records import Compared

if TYPE_CHECKING:
    from facetell.serving.recorder import Recorder

__all__ = ["Shadow"]


class Shadow:
    """``counts``: files by outcome: ``same`` and ``different`` decision, and those that were ``skipped``: too many waited, or
    its worker died."""

    def __init__(self, engine: Engine, recorder: Recorder) -> None:
        self._engine, self._recorder = engine, recorder
        self.counts = Counter(same=0, different=0, skipped=0)

    def judge(self, name: str, order: Order, verdict: Verdict, upload: Upload) -> bool:
        """Have the file of that id judged by the shadow; it removes the upload then. False where it will not be."""
        shadow = self._engine.shadow
        if shadow is None or shadow.identity == verdict.detector:
            return False
        task = Task(replace(order, views=False, crops=False, progress=None))
        try:
            shadow.pool.submit([task])
        except (Full, Closed):
            self.counts["skipped"] += 1
            return False
        task.future.add_done_callback(partial(self._over, name, verdict, shadow, upload))
        return True

    def _over(self, name: str, verdict: Verdict, shadow: Generation, upload: Upload, future: Future[Outcome]) -> None:
        upload.remove()
        found = None if future.cancelled() or future.exception() is not None else future.result()
        if not isinstance(found, Done):
            self.counts["skipped"] += 1
            return
        new = found.verdict
        old_said, said = verdict.decision or verdict.status, new.decision or new.status
        self.counts["same" if said == old_said else "different"] += 1
        self._recorder.compared(
            Compared(name, shadow.identity, verdict.detector, said, new.score, old_said, verdict.score)
        )
