"""Files that were sent, until nobody asks for them any more: each with its owner, its state and what came of it."""

from __future__ import annotations

import json
import secrets
import time
from collections import OrderedDict, deque
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from facetell.detector.verdict import Verdict
from facetell.serving.engine import Generation
from facetell.serving.look import Look
from facetell.serving.pool import Task
from facetell.serving.problems import Problem
from facetell.serving.views import View
from facetell.serving.work import Done, Refused

__all__ = ["Item", "Items"]

_VIEWED = 100
"""Items whose pictures are kept, some 100 kB each."""


@dataclass(eq=False)
class Item:
    """A file that was sent. ``owner``: the key (hash) that did; ``video``: it takes its time; ``task``: what waits, and
    ``generation``: who judges it, until it is over; ``problem``: why it was not judged; ``verdict``, ``views`` and ``look``:
    of one sent from the page; ``answer``: what a client gets of one that is judged, which takes a quarter of its objects' memory;
    ``written``: when that is in the store, if there is one."""

    owner: str
    name: str
    video: bool = False
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    created: float = field(default_factory=time.monotonic)
    task: Task | None = None
    generation: Generation | None = None
    problem: Problem | None = None
    verdict: Verdict | None = None
    views: tuple[View, ...] = ()
    look: Look | None = None
    answer: bytes | None = None
    cancelled: bool = False
    written: Future[None] | None = None

    @property
    def state(self) -> str:
        """``queued``, ``running``, ``done``, ``failed`` or ``cancelled``."""
        if self.cancelled:
            return "cancelled"
        if self.problem is not None:
            return "failed"
        if self.answer is not None:
            return "done"
        task = self.task  # its thread may take it away any moment
        return "running" if task is not None and task.future.running() else "queued"

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ("done", "failed", "cancelled")

    def settle(self) -> Done | None:
        """Take what came of its task, which is over, and let go of it; gives that with its verdict, if there is one."""
        task, generation = self.task, self.generation
        assert task is not None
        assert generation is not None
        done: Done | None = None
        if task.future.cancelled():
            self.cancelled = True
        elif task.future.exception() is not None:
            self.problem = Problem(503, "no worker could judge it", "send it again; if it happens again, see the log")
        else:
            found = task.future.result()
            if isinstance(found, Refused):
                self.problem = Problem(422, found.detail, "send a smaller or shorter one")
            else:
                verdict = replace(found.verdict, detector=generation.identity, settings=generation.settings)
                if task.order.views:
                    self.verdict, self.views, self.look = verdict, found.views, found.look
                self.answer = self._json("done", verdict.frames, verdict)
                done = replace(found, verdict=verdict)
        self.task = self.generation = None
        return done

    def as_json(self) -> bytes:
        """As a client sees it."""
        return self.answer if self.answer is not None else self._json(self.state, self.shots, None)

    def _json(self, state: str, shots: int | None, verdict: Verdict | None) -> bytes:
        problem = None if self.problem is None else self.problem.as_dict()
        told = {
            "id": self.id, "name": self.name, "state": state, "shots": shots,
            "verdict": None if verdict is None else verdict.as_dict(), "problem": problem,
        }  # fmt: skip
        return json.dumps(told).encode()

    @property
    def shots(self) -> int | None:
        """How many frames of a video were looked at so far; None where that is not known."""
        task = self.task
        progress = task.order.progress if task is not None else None
        try:
            return int(Path(progress).read_text("ascii") or 0) if progress is not None else None
        except (OSError, ValueError):
            return None


class Items:
    """At most ``most`` items that are over, for ``seconds``; those that are not stay."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._kept: OrderedDict[str, Item] = OrderedDict()
        self._viewed: deque[Item] = deque()

    def add(self, item: Item) -> None:
        """Keep one, and let go of what is too old or too much."""
        self._kept[item.id] = item
        if item.task is not None and item.task.order.views:
            self._viewed.append(item)
            if len(self._viewed) > _VIEWED:
                old = self._viewed.popleft()
                old.views, old.look = (), None
        now = time.monotonic()
        for other in list(islice(self._kept.values(), 100)):
            if other.over and (len(self._kept) > self._most or now - other.created > self._seconds):
                del self._kept[other.id]

    def find(self, name: str, owner: str) -> Item | None:
        """The owner's item of that name; None where there is none, or it is another's."""
        item = self._kept.get(name)
        if item is None or item.owner != owner or (item.over and time.monotonic() - item.created > self._seconds):
            return None
        return item

    def drop(self, item: Item) -> None:
        """Forget one, and give it up if it waits or is worked on."""
        self._kept.pop(item.id, None)
        task = item.task
        if task is not None:
            item.cancelled = True
            task.cancelled.set()
            task.future.cancel()

    def __len__(self) -> int:
        return len(self._kept)
