"""Maps a function over many items with threads, in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ordered"]

_T = TypeVar("_T")
_R = TypeVar("_R")


def ordered(
    function: Callable[[_T], _R], items: Iterable[_T], workers: int | None = None, name: str = "facetell-prepare"
) -> Generator[_R, None, None]:
    """Map over a thread pool, results in order, with few items in flight; stops cleanly when the consumer does.

    ``workers``: default one per core; one worker is one item ahead of the consumer. ``name`` is that of the threads.
    """
    workers = workers or min(16, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
    waiting: deque[Future[_R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
