"""Map a function over files in worker processes that may hang or die of what a file contains.

Decoders are C code fed with strangers' bytes. A file that crashes or hangs its worker costs that one file; a new worker
takes over.
"""

from __future__ import annotations

import itertools
import logging
import os
import pickle
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, TypeVar

from facetell.errors import FacetellError
from facetell.media.processes import NoProcessError, Process, start_process
from facetell.pixels import hide_metadata_warnings
from facetell.threads import batched, ordered

__all__ = ["Crew", "Failure", "guarded_map", "seconds_for"]

log = logging.getLogger("facetell")

Item = TypeVar("Item")
Result = TypeVar("Result")

_GRACE = 300.0  # s for a worker to start on two busy cores; beyond it, one that says nothing is taken for dead
_TOGETHER = 8  # items to a worker at a time, where an item costs less than its way there
_WAITS = 5  # times as long by the clock may an item take whose worker waits for a busy processor or disk
_LOOKS = 0.1  # s between two looks whether an item was given up
_GONE = (EOFError, OSError)


@dataclass(frozen=True)
class Failure:
    """What became of an item without a result: ``timeout``, its worker ``crashed``, or it was ``cancelled``; ``detail`` says
    how."""

    reason: Literal["timeout", "crashed", "cancelled"]
    detail: str


@dataclass(frozen=True)
class _Raised:
    """An exception on its way out of a worker, with its traceback as text."""

    error: Exception
    text: str


def guarded_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    seconds: Callable[[Item], float],
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
    preload: tuple[str, ...] = (),
    ahead: int = 2,
    small: Callable[[Item], bool] = lambda item: False,
) -> Generator[tuple[Item, Result | Failure], None, None]:
    """Yield (item, result) in the order of ``items``, computed by ``workers`` processes.

    An item that takes longer than ``seconds(item)`` of the clock and of its worker's processor time, or five times as
    long by the clock, or whose worker dies or runs out of memory, yields a `Failure`. At most ``ahead`` times as many items
    as workers are under way, so ``items`` may be endless. Closing the generator stops the workers within about three
    seconds. ``preload`` names modules that workers shall find imported. ``function``, ``initializer``, items and results
    must be picklable; ``initializer`` runs in each new worker, where its exception is fatal. Items that are ``small`` go to
    a worker eight at a time; where one of them fails, each is done once more alone.

    Results do not depend on ``workers``, unless ``seconds`` is so short that the load of the machine decides. Where no
    process can be started, which is logged, all is done in this one: then nothing guards it.

    Raises:
        Exception: whatever ``function`` raises, when the item's turn comes; the rest is given up.
        FacetellError: a worker does not get ready (an ``initializer`` that fails, no memory).
    """
    source = iter(items)
    first = list(itertools.islice(source, 1))
    if not first:
        return
    crew = Crew((partial(_each, function), initializer, initargs), (__name__, function.__module__, *preload))
    try:
        crew.hire()
    except NoProcessError as error:
        log.warning("%s: all is done in this one, which ends if a file crashes its reader", error.message)
        yield from _here(function, [*first, *source], initializer, initargs)
        return
    groups = _groups(itertools.chain(first, source), small)
    done = ordered(partial(_done, crew, seconds), groups, workers, "facetell-workers", crew.dismiss, ahead)
    try:
        for group in done:
            for item, result in group:
                yield item, _given(result)
    finally:
        done.close()


def _groups(items: Iterable[Item], small: Callable[[Item], bool]) -> Iterator[tuple[Item, ...]]:
    """Small items that follow one another together, the others alone."""
    for are_small, run in itertools.groupby(items, small):
        yield from batched(run, _TOGETHER if are_small else 1)


def _done(crew: Crew, seconds: Callable[[Item], float], group: tuple[Item, ...]) -> list[tuple[Item, Any]]:
    """What a worker makes of a group. One that fails tells nothing of its items, so each is then done alone."""
    results = crew.do(group, max(map(seconds, group)))
    if not isinstance(results, Failure):
        return list(zip(group, results, strict=False))  # fewer where one raised
    if len(group) == 1:
        return [(group[0], results)]
    return [pair for item in group for pair in _done(crew, seconds, (item,))]


class Crew:
    """Workers that wait for items, as many as there are threads that have some done.

    ``task``: the function that makes a result of an item, and what `guarded_map` takes as ``initializer`` and
    ``initargs``; ``preload`` as there.
    """

    def __init__(self, task: tuple[Any, ...], preload: tuple[str, ...]) -> None:
        self._task, self._preload = task, tuple(name for name in preload if name != "__main__")
        self._free: queue.SimpleQueue[Process] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._all: set[Process] = set()
        self._dismissed = False

    def hire(self) -> None:
        """Have one more worker waiting. Raises ``FacetellError``."""
        worker = start_process(_serve, *self._task, preload=self._preload)
        with self._lock:
            self._all.add(worker)
            if self._dismissed:
                worker.end()
        try:
            ready = worker.connection.recv() if worker.connection.poll(_GRACE) else f"none got ready in {_GRACE:g} s"
        except _GONE:
            ready = f"one ended with exit code {self._fire(worker)}"
        if ready is not None:
            self._fire(worker)
            raise (
                ready
                if isinstance(ready, FacetellError)
                else FacetellError(f"worker processes cannot be started: {ready}")
            )
        self._free.put(worker)

    def do(self, item: Any, seconds: float, cancelled: threading.Event | None = None) -> Any:
        """What a worker makes of an item, or a `Failure`. Raises what it raised.

        ``cancelled``: once it is set, the worker is ended.
        """
        worker = self._sent(item)
        try:
            if not _answers(worker, seconds, cancelled):
                self._fire(worker)
                if cancelled is not None and cancelled.is_set():
                    return Failure("cancelled", "it was given up")
                return Failure("timeout", f"took longer than {seconds:g} s")
            result = worker.connection.recv()
        except _GONE:
            return Failure("crashed", f"the worker ended with exit code {self._fire(worker)}")
        self._free.put(worker)
        return _given(result)

    def _sent(self, item: Any) -> Process:
        """A worker that has taken the item; one that died while it waited is of no matter."""
        while True:
            try:
                worker = self._free.get_nowait()
            except queue.Empty:
                self.hire()
                continue
            try:
                worker.connection.send(item)
                return worker
            except _GONE:
                self._fire(worker)

    def _fire(self, worker: Process) -> int:
        with self._lock:
            if worker not in self._all:
                return 0
            self._all.discard(worker)
            return worker.end()

    def dismiss(self) -> None:
        """End all workers, now and to come."""
        self._dismissed = True
        for worker in list(self._all):
            self._fire(worker)


def _answers(worker: Process, seconds: float, cancelled: threading.Event | None) -> bool:
    """Whether it does before it hangs. Of the clock alone a busy machine takes as much as it likes, from any file."""
    before, last, left = _processor_seconds(worker.pid), time.monotonic() + _WAITS * seconds, seconds
    while not _has_answer(worker, left, cancelled):
        if cancelled is not None and cancelled.is_set():
            return False
        now = _processor_seconds(worker.pid)
        if before is None or now is None or now - before >= seconds or time.monotonic() >= last:
            return False
        left = max(seconds - (now - before), seconds / 20)
    return True


def _has_answer(worker: Process, seconds: float, cancelled: threading.Event | None) -> bool:
    if cancelled is None:
        return worker.connection.poll(seconds)
    end = time.monotonic() + seconds
    while not cancelled.is_set() and (left := end - time.monotonic()) > 0:
        if worker.connection.poll(min(left, _LOOKS)):
            return True
    return False


def _processor_seconds(pid: int) -> float | None:
    """What a process has used in all its threads; None where the system does not say. Source: proc_pid_stat(5)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def _serve(
    connection: Connection,
    function: Callable[[Item], Result],
    initializer: Callable[..., None] | None,
    initargs: tuple[Any, ...],
) -> None:
    """In a worker: do item after item."""
    ready = None
    try:
        _start(initializer, initargs)
    except Exception as error:
        traceback.print_exc()
        ready = _travelling(error)
    connection.send(ready)
    while True:
        connection.send(_call(function, connection.recv()))


def _start(initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
    """Make a worker ready: what C libraries (libjpeg, for one) write to stderr is dropped, what Python writes is not.

    But for warnings of odd metadata in pictures.
    """
    hide_metadata_warnings()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    os.close(silence)
    if initializer is not None:
        initializer(*initargs)


def _each(function: Callable[[Item], Result], group: Iterable[Item]) -> list[Result | Failure | _Raised]:
    """In a worker: the results of a group, up to one that raised."""
    results = []
    for item in group:
        results.append(_call(function, item))
        if isinstance(results[-1], _Raised):
            break
    return results


def _call(function: Callable[[Item], Result], item: Item) -> Result | Failure | _Raised:
    """Run in the worker. Exceptions travel as values."""
    try:
        return function(item)
    except MemoryError:
        return Failure("crashed", "out of memory")
    except Exception as error:
        return _Raised(_travelling(error), traceback.format_exc())


def _travelling(error: Exception) -> Exception:
    """The exception, or its text as one where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes, of a moment ago
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _given(result: Any) -> Any:
    if isinstance(result, _Raised):
        result.error.add_note(result.text)
        raise result.error
    return result


def _here(
    function: Callable[[Item], Result], items: Iterable[Item], initializer: Callable[..., None] | None, initargs: Any
) -> Iterator[tuple[Item, Result | Failure]]:
    """In this process."""
    if initializer is not None:
        initializer(*initargs)
    for item in items:
        yield item, _given(_call(function, item))


def seconds_for(path: Path, *, few_frames: bool) -> float:
    """How long a worker may be busy with a file before it is taken for hanging: a minute, and 100 s a megabyte (by its
    processor time; see `guarded_map`).

    Ten times as long unless only a ``few_frames`` are looked at: two hours at 100 kbit/s are 90 MB and 216,000 frames,
    whose faces take three hours to find. Far above what any whole file takes, and short for the small files that make
    a decoder loop.
    """
    try:
        size = path.stat().st_size
    except (OSError, ValueError):  # a name that no file can have
        size = 0
    return (60 + size / 10_000) * (1 if few_frames else 10)
