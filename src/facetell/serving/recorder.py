"""Writes into the store what becomes of files, so that no request waits for it longer than it must.

A file is in the store before a client is told that it was accepted. What came of it is written by a thread of its own, which
tries again for as long as the store is away. What a server had accepted that ended without a word, another one, or the
next, reports as failed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from facetell.serving.items import Item
from facetell.serving.keys import Key
from facetell.serving.problems import Problem, away
from facetell.serving.work import Done
from facetell.store.promotions import compare
from facetell.store.records import Accepted, Compared, Ended
from facetell.store.retention import MOST, expire_crops, expire_verdicts
from facetell.store.store import Store, StoreError
from facetell.store.trail import steps
from facetell.store.verdicts import LEASE, accept, alive, end, find, forget, gone, withdraw

__all__ = ["Recorder"]

log = logging.getLogger("facetell.serve")

BATCH = 64
"""Files written in one transaction at most."""
_AGAIN = 1.0  # s between tries
_SWEEP = 60.0  # s between looks for what is over its time
_LOST = Problem(
    503, "the server that had it went down before it was judged", "send it again; verdicts that were ready are kept"
)


@dataclass(eq=False)
class _Order:
    """What is to be written: how a file ended, what a detector in shadow said of it, or the name of one to withdraw."""

    what: Ended | Compared | str
    written: Future[None] = field(default_factory=Future)


class Recorder:
    """Records for one server. ``keep_crops``: for how many days, None: none are kept; ``keep_verdicts``: None: without end.
    Raises ``StoreError`` as it begins."""

    def __init__(self, store: Store, keep_crops: float | None, keep_verdicts: float | None = None) -> None:
        self.store, self.keep_crops, self._keep_verdicts = store, keep_crops, keep_verdicts
        self._server = uuid.uuid4().hex
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._failed = self._swept = 0.0
        self.alarm: float | None = None
        """When ``facetell watch`` last saw something new (s since 1970), as far as is known."""
        alive(store, self._server)
        self._beat = time.monotonic()
        self._thread = threading.Thread(target=self._loop, name="facetell-record", daemon=True)
        self._thread.start()

    @property
    def away(self) -> bool:
        """Whether the last try to write failed."""
        return bool(self._failed)

    @property
    def waiting(self) -> int:
        """How much is still to be written."""
        return self._orders.qsize()

    def accept(self, items: Sequence[Item], key: Key) -> None:
        """Write that files are accepted. Raises ``Problem``: 503 where the store is away."""
        if self.away:  # a disk that has no room for a verdict may have some for this
            raise away()
        try:
            accept(
                self.store,
                self._server,
                [Accepted(item.id, item.owner, key.name, item.name, item.video) for item in items],
            )
        except StoreError as error:
            log.error("the store cannot be used", extra={"said": {"why": error.message}})
            raise away() from None

    def withdraw(self, items: Sequence[Item]) -> None:
        """Take back what was accepted, of which no client knows."""
        for item in items:
            self._orders.put(_Order(item.id))

    def ended(self, item: Item, done: Done | None) -> Future[None]:
        """Have it written what came of a file; done when it is on the disk."""
        what = Ended(item.id, item.state, item.as_json().decode())
        if done is not None:
            verdict = done.verdict
            sha256 = verdict.file.sha256 if verdict.file else None
            what = replace(what, detector=verdict.detector, settings=verdict.settings, sha256=sha256, faces=done.faces)
        order = _Order(what)
        self._orders.put(order)
        return order.written

    def compared(self, found: Compared) -> None:
        """Have it written what a detector in shadow said of a file."""
        self._orders.put(_Order(found))

    def find(self, name: str, owner: str) -> Item:
        """The owner's file of that id, as far as the store knows. Raises ``Problem``: 404, and 503 where it is away."""
        try:
            row = find(self.store, name, owner)
        except StoreError:
            raise away() from None
        if row is None:
            raise Problem(404, "there is no such verdict", "it may have been deleted; send the file again")
        item = Item(owner, row["name"], row["video"], id=name)
        if row["state"] == "done":
            item.answer = row["answer"].encode()
        elif row["state"] == "failed":
            said = json.loads(row["answer"])["problem"] if row["answer"] else _LOST.as_dict()
            item.problem = Problem(said["status"], said["detail"], said["hint"])
        item.cancelled = row["state"] == "cancelled"
        return item

    def forget(self, item: Item, who: str) -> None:
        """Remove a file. Raises ``Problem``: 503 where the store is away."""
        try:
            forget(self.store, item.id, item.owner, who)
        except StoreError:
            raise away() from None

    def close(self, seconds: float) -> None:
        """Write what is left, within the time for it, and end."""
        self._closing.set()
        self._thread.join(seconds)
        self.store.close()

    def _loop(self) -> None:
        left: list[_Order] = []
        while left or not (self._closing.is_set() and self._orders.empty()):
            left = left or self._next()
            try:
                if left:
                    self._write(left)
                    left = []
                self._look_around()
                self._failed = 0.0
            except StoreError as error:
                if not error.again and len(left) > 1:  # one of them cannot be written: found by itself
                    for order in left[1:]:
                        self._orders.put(order)
                    left = left[:1]
                elif not error.again and left:
                    log.error("what became of a file cannot be written", extra={"said": {"why": error.message}})
                    left.pop().written.set_exception(error)
                else:
                    self._waits(error)
            except Exception as error:  # a fault of ours must not end all writing
                log.exception("a fault in writing to the store")
                for order in left:
                    order.written.set_exception(error)
                left = []
        with contextlib.suppress(StoreError):  # found out by its silence
            gone(self.store, self._server)

    def _waits(self, error: StoreError) -> None:
        """Until the next try."""
        if not self._failed:
            log.error("the store cannot be used, tried again", extra={"said": {"why": error.message}})
        self._failed = time.monotonic()
        time.sleep(_AGAIN)

    def _next(self) -> list[_Order]:
        """What waits, at most `BATCH`; nothing after a second, or at once where the end has come."""
        found: list[_Order] = []
        try:
            found.append(self._orders.get(timeout=0.1 if self._closing.is_set() else 1.0))
            while len(found) < BATCH:
                found.append(self._orders.get_nowait())
        except queue.Empty:
            pass
        return found

    def _write(self, orders: list[_Order]) -> None:
        ends = [order.what for order in orders if isinstance(order.what, Ended)]
        names = [order.what for order in orders if isinstance(order.what, str)]
        if ends:
            end(self.store, ends, self.keep_crops)
        if names:
            withdraw(self.store, names)
        compared = [order.what for order in orders if isinstance(order.what, Compared)]
        if compared:
            compare(self.store, compared)
        for order in orders:
            order.written.set_result(None)

    def _look_around(self) -> None:
        now = time.monotonic()
        if now - self._beat >= LEASE / 5:
            alive(self.store, self._server)
            self._beat = now
        if now - self._swept >= _SWEEP or not self._swept:
            expire_crops(self.store)
            self.alarm = next((step.at for step in steps(self.store, 1, "alarm")), None)
            more = self._keep_verdicts is not None and expire_verdicts(self.store, self._keep_verdicts) == MOST
            self._swept = 0.0 if more else now  # between two parts of many others write
