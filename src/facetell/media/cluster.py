"""`guarded_map` over many machines: Ray gives blocks of items to its nodes, each of which has them done by a guarded worker.

Items are files, or parts of a face set. One that crashes or hangs its reader costs itself, as on one machine. A node that is
lost costs the blocks it had: Ray gives them to others. What items name, results that a function writes and facetell itself must
be there on every node by the same path.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import re
import socket
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from facetell.errors import FacetellError, MissingExtraError, SettingsError, near_miss
from facetell.files import home
from facetell.media.workers import Crew, Failure
from facetell.threads import batched

if TYPE_CHECKING:
    from ray import ObjectRef

__all__ = ["ENGINES", "check_engine", "cluster_map"]

Item = TypeVar("Item")
Result = TypeVar("Result")

ENGINES = ("local", "ray")
"""Where files and faces are read: on this machine, or on a cluster."""
BLOCK = 8
"""Files that go to a node at once: some seconds of work, against milliseconds for the way there."""
_AHEAD = 3
"""Blocks under way for each core, so that a slow one holds up none."""
_SECONDS = 20
"""For a cluster to answer."""
_RETRIES = 5
"""Times that a block may lose its node."""


def check_engine(engine: str) -> None:
    """Raise ``SettingsError`` for one that is not of `ENGINES`."""
    if engine not in ENGINES:
        raise SettingsError(f"unknown engine '{engine}'{near_miss(engine, ENGINES)}", hint="local or ray")


def cluster_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int | None,
    seconds: Callable[[Item], float],
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
    preload: tuple[str, ...] = (),
    *,
    gpu: bool = False,
    block: int = BLOCK,
) -> Generator[tuple[Item, Result | Failure], None, None]:
    """Yield (item, result) in the order of ``items``, as `guarded_map` does, computed on the nodes of a Ray cluster.

    That of ``RAY_ADDRESS``, else one that runs on this machine, else one that is begun on it and ended with the generator.
    ``workers``: blocks that are worked on at a time, by default one for each core of the cluster; ``gpu``: each has a
    GPU for itself; ``block``: items that go to a node at once. Results depend on none of these, nor on a node that is lost.

    Raises:
        MissingExtraError: Ray is not installed.
        FacetellError: the cluster cannot be reached, or a block has lost its node too often.
        Exception: whatever ``function`` raises, when the item's turn comes.
    """
    blocks = batched(items, block)
    first = list(itertools.islice(blocks, 1))
    if not first:
        return
    with _ray() as ray:
        home = getattr(getattr(function, "func", function), "__module__", __name__)
        crew = (function, initializer, initargs), (home, *preload)
        task = ray.put(_Task(uuid.uuid4().hex, str(Path.cwd()), *crew))
        resources = {"num_cpus": 1, **({"num_gpus": 1} if gpu else {})}
        remote = ray.remote(max_retries=_RETRIES, **resources)(_block)
        most = workers or _AHEAD * max(1, int(ray.cluster_resources().get("GPU" if gpu else "CPU", 1)))
        blocks = itertools.chain(first, blocks)
        waiting: deque[tuple[tuple[Item, ...], ObjectRef[Any]]] = deque()
        try:
            while True:
                for given in itertools.islice(blocks, most - len(waiting)):
                    waiting.append((given, remote.remote(task, [(item, seconds(item)) for item in given])))
                if not waiting:
                    return
                given, answer = waiting.popleft()
                yield from zip(given, _given(ray, answer), strict=True)
        finally:
            for _, answer in waiting:
                ray.cancel(answer, force=True)


@contextlib.contextmanager
def _ray() -> Iterator[Any]:
    """Ray, connected to a cluster: to the one it is connected to already, or for as long as the block lasts."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers of each use
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # or it would build the environment anew on each node
    if _has_token():  # `ray start` asks for it wherever there is one, and who connects must say that it has it
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError:
        raise MissingExtraError("--engine ray", "cluster") from None
    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get("RAY_ADDRESS", "")
    try:
        _knock(address)
        _connect(ray)
    except Exception as error:
        if not address:  # a node of our own that does not begin in time: a busy machine may be quicker the second time
            with contextlib.suppress(Exception):
                _connect(ray)
        if not ray.is_initialized():
            raise FacetellError(
                f"the Ray cluster at {address} cannot be reached: {error}"
                if address
                else f"no Ray cluster begins: {error}",
                hint=_hint(address, str(error)),
            ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _has_token() -> bool:
    """Whether there is a token where Ray looks for it."""
    file = os.environ.get("RAY_AUTH_TOKEN_PATH") or home() / ".ray" / "auth_token"
    return "RAY_AUTH_TOKEN" in os.environ or Path(file).is_file()


def _hint(address: str, said: str) -> str:
    if "token" in said.lower():
        return "copy ~/.ray/auth_token here from the machine that began the cluster, or set RAY_AUTH_TOKEN"
    return "is RAY_ADDRESS right?" if address else "begin one before: ray start --head"


def _connect(ray: Any) -> None:
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except BaseException:
        ray.shutdown()
        raise


def _knock(address: str) -> None:
    """Raise ``OSError`` where nobody listens, for which Ray would wait many minutes."""
    place = re.fullmatch(r"(?:ray://)?\[?([^/]+?)\]?:(\d{1,5})", address)
    if place is not None:
        socket.create_connection((place[1], int(place[2])), timeout=_SECONDS).close()


def _given(ray: Any, answer: ObjectRef[Any]) -> Iterator[Any]:
    """The results of a block; an error among them is raised in its turn."""
    try:
        results = ray.get(answer)
    except ray.exceptions.RayError as error:
        why = str(getattr(error, "cause", None) or error).strip().splitlines()
        raise FacetellError(
            f"Ray could not do a block of work: {why[0] if why else type(error).__name__}",
            hint="run it again: what is finished is kept",
        ) from error
    for result in results:
        if isinstance(result, Exception):
            raise result
        yield result


@dataclass(frozen=True)
class _Task:
    """What is done with all items: a name for it, the caller's folder, and what a `Crew` takes."""

    name: str
    folder: str
    task: tuple[Any, ...]
    preload: tuple[str, ...]


class _Node:
    """What a process of Ray keeps between blocks: a guarded worker, for one task."""

    task = ""
    crew: Crew


def _block(task: _Task, items: list[tuple[Any, float]]) -> list[Any]:
    """On a node: the results of a block's items, up to the first that raises, which is given in its place."""
    if _Node.task != task.name:
        if _Node.task:
            _Node.crew.dismiss()
        with contextlib.suppress(OSError):
            os.chdir(task.folder)  # paths may be relative to it
        _Node.task, _Node.crew = task.name, Crew(task.task, task.preload)
    results: list[Any] = []
    for item, seconds in items:
        try:
            results.append(_Node.crew.do(item, seconds))
        except Exception as error:
            return [*results, error]
    return results
