"""How many cores there are for us, a function mapped over many items with threads, in order, and items some at a time."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

__all__ = ["batched", "ordered", "usable_cores"]

_T = TypeVar("_T")
_R = TypeVar("_R")


def usable_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use, at least 1: those of its affinity (``taskset``), and no more than the share that its
    control groups allow (containers, ``systemd``, batch systems).

    ``root``: where ``proc`` and ``sys`` of the system are.
    """
    count = getattr(os, "process_cpu_count", os.cpu_count)() or 1
    if hasattr(os, "sched_getaffinity"):
        count = min(count, len(os.sched_getaffinity(0)))
    return max(1, min(count, math.ceil(min(_quotas(root), default=count))))


def _quotas(root: Path) -> Iterator[float]:
    """Cores that each control group of this process, up to the outermost, allows on average."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, controllers, group = (line + "::").split(":")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / controllers
        for folder in _upward(top, group):
            with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
                if controllers:  # the first version
                    quota, period = ((folder / f"cpu.cfs_{what}_us").read_text() for what in ("quota", "period"))
                else:
                    quota, period = (folder / "cpu.max").read_text().split()
                if int(quota) > 0:  # "max" is no number
                    yield int(quota) / int(period)


def _upward(top: Path, group: str) -> Iterator[Path]:
    """The folders of a group and those it lies in, up to ``top``: within a container there may be that alone."""
    inside = [part for part in group.split("/") if part not in ("", "..")]
    yield from (top.joinpath(*inside[:depth]) for depth in range(len(inside), -1, -1))


def ordered(
    function: Callable[[_T], _R],
    items: Iterable[_T],
    workers: int | None = None,
    name: str = "facetell-prepare",
    stop: Callable[[], None] | None = None,
    ahead: int = 2,
) -> Generator[_R, None, None]:
    """Map over a thread pool, results in order, with few items in flight; stops cleanly when the consumer does.

    ``workers``: default one per core; one worker is one item ahead of the consumer. ``name`` is that of the threads.
    ``ahead``: items in flight for each worker: the more there are, the longer the others go on while one takes long.
    ``stop`` is called at the end, however that comes, to cut short what they are at.
    """
    workers = workers or min(16, usable_cores())
    pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
    waiting: deque[Future[_R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= ahead * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        if stop is not None:
            stop()
        pool.shutdown(wait=True, cancel_futures=True)


def batched(items: Iterable[_T], size: int) -> Iterator[tuple[_T, ...]]:
    """``size`` items at a time, at the end fewer; taken as they are asked for (as of Python 3.12 in itertools)."""
    source = iter(items)
    while batch := tuple(itertools.islice(source, size)):
        yield batch
