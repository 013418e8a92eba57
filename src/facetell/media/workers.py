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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from facetell.errors import FacetellError, MissingExtraError
from facetell.pixels import hide_metadata_warnings

if TYPE_CHECKING:
    from pebble import ProcessPool

__all__ = ["Failure", "guarded_map", "process_context", "seconds_for"]

Item = TypeVar("Item")
Result = TypeVar("Result")

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
    seconds: Callable[[Item], float],
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
    preload: tuple[str, ...] = (),
) -> Generator[tuple[Item, Result | Failure], None, None]:
    """Yield (item, result) in the order of ``items``, computed by ``workers`` processes.

    An item that takes longer than ``seconds(item)``, or whose worker dies or runs out of memory, yields a `Failure`. At
    most twice as many items as workers are under way, so ``items`` may be endless. Closing the generator stops the
    workers within about three seconds. ``preload`` names modules that workers shall find imported. ``function``,
    ``initializer``, items and results must be picklable; ``initializer`` runs in each new worker, where its exception
    is fatal.

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
    context = process_context(__name__, function.__module__, *preload)
    pool = ProcessPool(workers, initializer=_start, initargs=(initializer, initargs), context=context)
    waiting: collections.deque[tuple[Item, Future[Result | Failure | _Raised], float]] = collections.deque()
    source = iter(items)
    longest = 0.0
    try:
        while True:
            for item in itertools.islice(source, 2 * workers - len(waiting)):
                limit = seconds(item)
                longest = max(longest, limit)
                try:
                    future: Future[Any] = pool.schedule(partial(_call, function), args=(item,), timeout=limit)
                except RuntimeError as error:  # no worker came up
                    raise FacetellError(f"worker processes cannot be started: {error}") from None
                waiting.append((item, future, limit))
            if not waiting:
                return
            item, oldest, limit = waiting.popleft()
            # The item before this one in its worker's queue may use up its own time first.
            result = _wait(oldest, limit, longest + limit + _GRACE)
            if isinstance(result, _Raised):
                result.error.add_note(result.text)
                raise result.error
            yield item, result
    finally:
        _stop(pool)


def process_context(*preload: str) -> Any:
    """How worker processes start, with the modules ``preload`` imported: never by a bare fork, which copies locks held by
    torch's threads."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # Heavy imports happen once in the server, so that a worker's successor is there in no time.
    context.set_forkserver_preload([name for name in preload if name != "__main__"])
    return context


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


def _wait(future: Future[Result | Failure | _Raised], seconds: float, patience: float) -> Result | Failure | _Raised:
    from pebble import ProcessExpired

    try:
        return future.result(patience)
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


def seconds_for(path: Path, *, few_frames: bool) -> float:
    """How long a worker may be busy with a file before it is taken for hanging: a minute, and 100 s a megabyte.

    Ten times as long unless only a ``few_frames`` are looked at: two hours at 100 kbit/s are 90 MB and 216,000 frames,
    whose faces take three hours to find. Far above what any whole file takes, and short for the small files that make
    a decoder loop.
    """
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    return (60 + size / 10_000) * (1 if few_frames else 10)
