"""Map a function over files in worker processes that may hang or die of what a file contains.

Decoders are C code fed with strangers' bytes. A file that crashes or hangs its worker costs that one file; a new worker
takes over.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import multiprocessing
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from facetell.errors import FacetellError, MissingExtraError

if TYPE_CHECKING:
    from pebble import ProcessPool

__all__ = ["Failure", "guarded_map"]

Item = TypeVar("Item")
Result = TypeVar("Result")
Answer = TypeVar("Answer")

_GRACE = 120.0  # s for a worker to start on two busy cores; beyond it, one that says nothing is taken for dead


@dataclass(frozen=True)
class Failure:
    """What became of an item without a result: ``timeout``, or its worker ``crashed``; ``detail`` says how."""

    reason: Literal["timeout", "crashed"]
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
    seconds: float,
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
) -> Generator[tuple[Item, Result | Failure], None, None]:
    """Yield (item, result) in the order of ``items``, computed by ``workers`` processes.

    An item that takes longer than ``seconds``, or whose worker dies or runs out of memory, yields a `Failure`. At most
    twice as many items as workers are under way, so ``items`` may be endless. Closing the generator stops the workers
    within about three seconds. ``function``, ``initializer``, items and results must be picklable; ``initializer`` runs
    in each new worker, where its exception is fatal.

    Results do not depend on ``workers``, unless ``seconds`` is so short that the load of the machine decides.

    Raises:
        Exception: whatever ``function`` raises, when the item's turn comes; the rest is given up.
        FacetellError: workers cannot be started (an ``initializer`` that fails, no memory).
        MissingExtraError: pebble is not installed.
    """
    try:
        from pebble import ProcessPool
    except ImportError:
        raise MissingExtraError("reading photos and videos in workers", "media") from None
    pool = ProcessPool(workers, initializer=_start, initargs=(initializer, initargs), context=_context(function))
    waiting: collections.deque[tuple[Item, Future[Result | Failure | _Raised]]] = collections.deque()
    source = iter(items)
    try:
        while True:
            for item in itertools.islice(source, 2 * workers - len(waiting)):
                waiting.append((item, _schedule(pool, partial(_call, function, item), seconds)))
            if not waiting:
                return
            item, future = waiting.popleft()
            result = _wait(future, seconds)
            if isinstance(result, _Raised):
                result.error.add_note(result.text)
                raise result.error
            yield item, result
    finally:
        _stop(pool)


def _context(function: Callable[..., Any]) -> Any:
    """How workers start: never by a bare fork, which copies locks held by torch's threads."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # Heavy imports happen once in the server, so that a worker's successor is there in no time.
    context.set_forkserver_preload([name for name in (__name__, function.__module__) if name != "__main__"])
    return context


def _start(initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
    """Make a worker ready: what C libraries (libjpeg, for one) write to stderr is dropped, what Python writes is not."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    os.close(silence)
    if initializer is not None:
        initializer(*initargs)


def _schedule(pool: ProcessPool, task: Callable[[], Answer], seconds: float) -> Future[Answer]:
    try:
        return pool.schedule(task, timeout=seconds)
    except RuntimeError as error:
        raise FacetellError(f"worker processes cannot be started: {error}") from None


def _call(function: Callable[[Item], Result], item: Item) -> Result | Failure | _Raised:
    """Run in the worker. Exceptions travel as values: pebble's own `TimeoutError` must not be mistaken for theirs."""
    try:
        return function(item)
    except MemoryError:
        return Failure("crashed", "out of memory")
    except Exception as error:
        text = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes, of a moment ago
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return _Raised(error, text)


def _wait(future: Future[Result | Failure | _Raised], seconds: float) -> Result | Failure | _Raised:
    from pebble import ProcessExpired

    try:
        # The item before this one in its worker's queue may use up its time first.
        return future.result(2 * seconds + _GRACE)
    except ProcessExpired as error:
        return Failure("crashed", f"the worker ended with exit code {error.exitcode}")
    except TimeoutError:
        return Failure("timeout", f"took longer than {seconds:g} s")
    except BrokenProcessPool as error:
        raise FacetellError(f"worker processes cannot be started: {error}") from None


def _stop(pool: ProcessPool) -> None:
    """End all workers now."""
    pool.stop()  # type: ignore[no-untyped-call]
    with contextlib.suppress(BrokenProcessPool, RuntimeError):
        pool.join()
