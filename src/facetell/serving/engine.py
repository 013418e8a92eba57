"""The detector that a server judges with, and how another takes its place without a request being lost."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from facetell.detector.bundle import identity_of, located, read_description, steadily
from facetell.detector.many import Judging
from facetell.errors import FacetellError
from facetell.serving.pool import Closed, Full, Pool, Task
from facetell.serving.problems import Problem, going_down
from facetell.serving.settings import ServeSettings

__all__ = ["Engine", "Generation"]

log = logging.getLogger("facetell.serve")


@dataclass(frozen=True, eq=False)
class Generation:
    """A detector in use: its ``pool``, ``identity``, the ``settings`` of its verdicts, since when (ISO 8601)."""

    pool: Pool
    identity: str
    settings: str
    description: dict[str, Any]
    since: str

    def as_dict(self, name: str) -> dict[str, Any]:
        """What a client is told of it."""
        said, calibration = self.description, self.description.get("calibration") or {}
        return {
            "name": name, "identity": self.identity, "settings": self.settings, "since": self.since,
            "method": said.get("method"), "runtime": said.get("runtime"), "input": said.get("input", {}).get("size"),
            "calibrated": bool(calibration),
        }  # fmt: skip


class Engine:
    """Judges with the detector ``how`` names, from a copy of its own in ``folder``: what changes on disk changes nothing
    until `reload`. `use` puts another one in its place; one in ``shadow`` judges the same files and is not heard."""

    def __init__(self, how: Judging, settings: ServeSettings, folder: Path) -> None:
        self._how, self._settings, self._folder = how, settings, folder
        self._own = located(how.detector)
        self._source, self.name = self._own, self._own.name
        self.shadow: Generation | None = None
        self._lock = threading.Lock()
        self._count = 0
        self._closed_crashes = 0
        self.reloads = {"done": 0, "refused": 0}
        self.current = self._load(self._source, settings.workers)

    def _load(self, source: Path, workers: int | None) -> Generation:
        """A new generation, ready to judge. Raises ``FacetellError`` for a detector that cannot."""
        self._count += 1
        copy = self._folder / f"detector-{self._count}"

        def copied() -> dict[str, Any]:
            read_description(source)  # what is wrong with it is said of it, and not of the copy
            shutil.rmtree(copy, ignore_errors=True)
            try:
                shutil.copytree(source, copy, copy_function=_linked)
            except (OSError, shutil.Error) as error:
                raise FacetellError(f"the detector cannot be copied: {error}") from None
            return read_description(copy)

        try:
            description = steadily(source, copied)
            how = replace(self._how, detector=str(copy))
            settings = self._settings
            pool = Pool(how, workers=workers, queue=settings.queue, seconds=settings.work_seconds)
            pool.start()
        except BaseException:
            shutil.rmtree(copy, ignore_errors=True)
            raise
        return Generation(
            pool, identity_of(copy), how.settings(), description, datetime.now(UTC).isoformat(timespec="seconds")
        )

    def submit(self, tasks: list[Task]) -> Generation:
        """Have files judged, all or none, by the generation it gives. Raises ``Problem``: 503 where too many wait."""
        while True:
            generation = self.current
            try:
                generation.pool.submit(tasks)
                return generation
            except Closed:
                if generation is self.current:
                    raise going_down() from None
            except Full:
                raise Problem(
                    503, f"{self._settings.queue} files wait already", "send it again in a few seconds", retry=5
                ) from None

    def reload(self) -> Generation:
        """Judge with what the detector is now. What has begun ends with the old one, which goes on where the new one is
        refused. Raises ``FacetellError`` then."""
        with self._lock:
            return self._replaced(self._source, self.name)

    def use(self, source: Path | None, name: str) -> Generation:
        """Judge with the detector at ``source``, which is called ``name``; None: again with the one of the beginning. Errors
        as of `reload`."""
        with self._lock:
            fresh = self._replaced(source or self._own, self._own.name if source is None else name)
            self._source, self.name = source or self._own, self._own.name if source is None else name
            return fresh

    def _replaced(self, source: Path, name: str) -> Generation:
        begin = time.monotonic()
        try:
            fresh = self._load(source, self._settings.workers)
        except FacetellError:
            self.reloads["refused"] += 1
            raise
        old, self.current = self.current, fresh
        self.reloads["done"] += 1
        said = {"detector": name, "identity": fresh.identity, "seconds": _since(begin)}
        log.info("detector reloaded", extra={"said": said})
        threading.Thread(target=self._retire, args=(old,), name="facetell-retire", daemon=True).start()
        return fresh

    def overshadow(self, source: Path | None) -> None:
        """Have the detector at ``source`` judge in shadow, by one worker; None: none. Raises ``FacetellError``."""
        with self._lock:
            fresh = None if source is None else self._load(source, 1)
            old, self.shadow = self.shadow, fresh
        if old is not None:
            threading.Thread(target=self._retire, args=(old,), name="facetell-retire", daemon=True).start()

    def _retire(self, old: Generation) -> None:
        old.pool.close()
        self._closed_crashes += old.pool.crashes

    @property
    def crashes(self) -> int:
        """How many workers died at a file."""
        return self._closed_crashes + self.current.pool.crashes

    def close(self, seconds: float) -> None:
        """Finish what waits, within that time, and end all workers."""
        if self.shadow is not None:
            self.shadow.pool.close(0)
        self.current.pool.close(seconds)


def _since(begin: float) -> float:
    return round(time.monotonic() - begin, 3)


def _linked(source: str, target: str) -> str:
    """The file under another name, which costs nothing: facetell writes files anew and changes none in place."""
    try:
        os.link(os.path.realpath(source), target)  # the cache of the hub is made of links, which lead nowhere elsewhere
    except OSError:
        shutil.copy2(source, target)
    return target
