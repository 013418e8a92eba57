"""Workers of one detector, and the files that wait for them.

Files of several clients go to a worker together once they wait, which nobody waits for: a free worker takes its share
at once. Where a worker dies, each of its files is given to another one once more, alone.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facetell.detector.many import Judging, crew_of, failed
from facetell.errors import FacetellError
from facetell.media.workers import Failure, seconds_for
from facetell.serving.work import Done, Order, Refused, do_orders
from facetell.threads import usable_cores

__all__ = ["Closed", "Full", "Pool", "Task"]

log = logging.getLogger("facetell.serve")

BATCH = 16
"""Files that a worker takes at once at most."""
_LOADING = 300.0  # s to load a detector on a busy machine

Outcome = Done | Refused


class Full(Exception):  # noqa: N818
    """As many files wait as may."""


class Closed(Exception):  # noqa: N818
    """The workers are on their way home."""


@dataclass(eq=False)
class Task:
    """A file that waits: ``future`` is its outcome; ``cancelled`` ends the worker that is at it."""

    order: Order
    future: Future[Outcome] = field(default_factory=Future)
    cancelled: threading.Event = field(default_factory=threading.Event)


class Pool:
    """``workers`` processes that judge as ``how`` says. At most ``queue`` files wait. Videos leave one worker to pictures,
    if there are two."""

    def __init__(self, how: Judging, *, workers: int | None, queue: int, seconds: float) -> None:
        self.workers = workers or usable_cores()
        self._crew = crew_of(how, do_orders, self.workers)
        self._queue, self._seconds = queue, seconds
        self._pictures: deque[Task] = deque()
        self._videos: deque[Task] = deque()
        self._condition = threading.Condition()
        self._busy = self._at_videos = 0
        self._closing = self._closed = False
        self.crashes = 0
        self._threads = [
            threading.Thread(target=self._loop, name=f"facetell-serve-{number}", daemon=True)
            for number in range(self.workers)
        ]

    def start(self) -> None:
        """Load the detector in every worker. Raises what that raises, then with no worker left."""
        found: list[Exception] = []

        def load() -> None:
            try:
                self._crew.hire()
                ready = self._crew.do([], _LOADING)
                if isinstance(ready, Failure):
                    found.append(FacetellError(f"the detector cannot be loaded: the worker {ready.reason}"))
            except Exception as error:
                found.append(error)

        load()  # the first alone: an error is said once, and the server of processes has its imports done
        others = [threading.Thread(target=load) for _ in self._threads[1:] if not found]
        for thread in others:
            thread.start()
        for thread in others:
            thread.join()
        if found:
            self._crew.dismiss()
            raise found[0]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many files wait."""
        return len(self._pictures) + len(self._videos)

    @property
    def busy(self) -> int:
        """How many workers are at one."""
        return self._busy

    def submit(self, tasks: list[Task]) -> None:
        """Have files judged, all or none. Raises ``Full`` and ``Closed``."""
        with self._condition:
            if self._closing:
                raise Closed
            if self.waiting + len(tasks) > self._queue:
                raise Full
            for task in tasks:
                (self._videos if task.order.video else self._pictures).append(task)
            self._condition.notify_all()

    def close(self, seconds: float | None = None) -> None:
        """Take no more, finish what waits, within ``seconds`` if given, and end the workers."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        end = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(None if end is None else max(0.0, end - time.monotonic()))
        with self._condition:
            self._closed = True
            left = [*self._pictures, *self._videos]
            self._pictures.clear()
            self._videos.clear()
        for task in left:
            task.future.cancel()
        self._crew.dismiss()

    def _loop(self) -> None:
        while True:
            with self._condition:
                while not (tasks := self._next()):
                    if self._closing and not self.waiting:
                        return
                    self._condition.wait()
                self._busy += 1
                self._at_videos += tasks[0].order.video
            try:
                self._do([task for task in tasks if task.future.set_running_or_notify_cancel()])
            finally:
                with self._condition:
                    self._busy -= 1
                    self._at_videos -= tasks[0].order.video
                    self._condition.notify_all()

    def _next(self) -> list[Task]:
        """What a free worker is to do now; the caller holds the lock."""
        if self._pictures:
            share = math.ceil(len(self._pictures) / max(1, self.workers - self._busy))
            return [self._pictures.popleft() for _ in range(min(BATCH, share))]
        if self._videos and self._at_videos < max(1, self.workers - 1):
            return [self._videos.popleft()]
        return []

    def _each(self, tasks: list[Task], *, again: bool = True) -> None:
        for task in tasks:
            self._do([task], again=again)

    def _do(self, tasks: list[Task], *, again: bool = True) -> None:
        if not tasks:
            return
        seconds = sum(min(self._seconds, _seconds(task.order)) for task in tasks)
        found: Any
        try:
            found = self._crew.do(
                [task.order for task in tasks], seconds, tasks[0].cancelled if len(tasks) == 1 else None
            )
        except Exception as error:  # a worker that cannot start, or a fault of ours
            found = error
        if self._closed and isinstance(found, Failure | Exception):  # its worker was sent home
            for task in tasks:
                task.future.set_exception(Closed())
            return
        if isinstance(found, Exception):
            if len(tasks) > 1:
                self._each(tasks)
            else:
                log.error("no worker could judge a file", exc_info=found)
                tasks[0].future.set_exception(found)
            return
        if not isinstance(found, Failure):
            for task, outcome in zip(tasks, found, strict=True):
                task.future.set_result(outcome)
            return
        self.crashes += found.reason == "crashed"
        if len(tasks) > 1 or (again and found.reason == "crashed"):  # the worker may have died of something else
            self._each(tasks, again=len(tasks) > 1)
        elif found.reason == "cancelled":
            tasks[0].future.set_result(Refused("it was cancelled"))
        else:
            tasks[0].future.set_result(Done(failed(Path(tasks[0].order.name), found)))


def _seconds(order: Order) -> float:
    return seconds_for(Path(order.path), few_frames=True)
