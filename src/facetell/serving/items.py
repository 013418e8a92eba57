"""Files that were sent, until nobody asks for them any more: each with its owner, its state and what came of it."""

from __future__ import annotations

import json
import secrets
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from facetell.detector.verdict import Verdict
from facetell.serving.engine import Generation
from facetell.serving.pool import Task
from facetell.serving.problems import Problem
from facetell.serving.views import View
from facetell.serving.work import Refused

__all__ = ["Item", "Items"]

_VIEWED = 100
"""Items whose pictures are kept, some 100 kB each."""


@dataclass(eq=False)
class Item:
    """A file that was sent. ``owner``: the key (hash) that did; ``task``: what waits or is done; ``problem``: why it is not;
    ``generation``: whose verdict it has."""

    owner: str
    name: str
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    created: float = field(default_factory=time.monotonic)
    task: Task | None = None
    generation: Generation | None = None
    problem: Problem | None = None
    verdict: Verdict | None = None
    views: tuple[View, ...] = ()

    @property
    def state(self) -> str:
        """``queued``, ``running``, ``done``, ``failed`` or ``cancelled``."""
        if self.task is not None and self.task.cancelled.is_set():
            return "cancelled"
        if self.problem is not None:
            return "failed"
        if self.verdict is not None:
            return "done"
        return "running" if self.task is not None and self.task.future.running() else "queued"

    @property
    def video(self) -> bool:
        """Whether it takes its time."""
        return self.task is not None and self.task.order.video

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ("done", "failed", "cancelled")

    def settle(self) -> None:
        """Take what came of its task, which is over."""
        assert self.task is not None
        assert self.generation is not None
        future = self.task.future
        if future.cancelled():
            self.task.cancelled.set()
        elif future.exception() is not None:
            self.problem = Problem(503, "no worker could judge it", "send it again; if it happens again, see the log")
        else:
            found = future.result()
            if isinstance(found, Refused):
                self.problem = Problem(422, found.detail, "send a smaller or shorter one")
            else:
                self.views = found.views
                self.verdict = replace(
                    found.verdict, detector=self.generation.identity, settings=self.generation.settings
                )

    def as_dict(self) -> dict[str, Any]:
        """As a client sees it."""
        return {
            "id": self.id, "name": self.name, "state": self.state, "shots": self.shots,
            "verdict": None if self.verdict is None else self.verdict.as_dict(),
            "problem": None if self.problem is None else self.problem.as_dict(),
        }  # fmt: skip

    def as_json(self) -> bytes:
        """The same, as it is sent."""
        return json.dumps(self.as_dict()).encode()

    @property
    def shots(self) -> int | None:
        """How many pictures or frames were looked at so far; None where that is not known."""
        if self.verdict is not None:
            return self.verdict.frames
        progress = self.task.order.progress if self.task is not None else None
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
                self._viewed.popleft().views = ()
        now = time.monotonic()
        for other in list(self._kept.values())[: max(100, len(self._kept) - self._most)]:
            if other.over and (len(self._kept) > self._most or now - other.created > self._seconds):
                del self._kept[other.id]

    def find(self, name: str, owner: str) -> Item:
        """The owner's item of that name. Raises ``Problem``: 404, also where it is another's."""
        item = self._kept.get(name)
        if item is None or item.owner != owner or (item.over and time.monotonic() - item.created > self._seconds):
            raise Problem(404, "there is no such verdict", "verdicts are kept for an hour; send the file again")
        return item

    def drop(self, item: Item) -> None:
        """Forget one, and give it up if it waits or is worked on."""
        self._kept.pop(item.id, None)
        if item.task is not None and not item.over:
            item.task.cancelled.set()
            item.task.future.cancel()

    def __len__(self) -> int:
        return len(self._kept)
