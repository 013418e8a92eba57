"""Has a server judge by what was promoted in its store, soon after it was: one thread that looks every other second."""

from __future__ import annotations

import logging
import shutil
import threading
from pathlib import Path

from facetell.errors import FacetellError, UsageError
from facetell.serving.engine import Engine
from facetell.store.promotions import Use, take_out, uses
from facetell.store.store import Store, StoreError, record

__all__ = ["Follower"]

log = logging.getLogger("facetell.serve")

EVERY = 2.0
"""Seconds between two looks."""


class Follower:
    """Follows the promotions in ``store``; detectors are taken out of it into ``folder``."""

    def __init__(self, store: Store, engine: Engine, folder: Path) -> None:
        self._store, self._engine, self._folder = store, engine, folder
        self._current: str | None = None
        self._shadow: str | None = None
        self._closing = threading.Event()
        self.look()
        self._thread = threading.Thread(target=self._loop, name="facetell-follow", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Do as the store says now. A detector that cannot judge is refused once, which is written into the trail."""
        said = uses(self._store)
        if _identity(said.current) != self._current:
            self._do(said.current, "use")
            self._current = _identity(said.current)
        if _identity(said.shadow) != self._shadow:
            self._do(said.shadow, "overshadow")
            self._shadow = _identity(said.shadow)

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
        self._thread.join(5)

    def _do(self, use: Use | None, how: str) -> None:
        place = None if use is None else self._folder / f"promoted-{use.identity}"
        try:
            if how == "overshadow" and use is not None and use.identity == self._engine.current.identity:
                raise UsageError("it is the one that this server judges by, and would never differ")
            if place is not None and use is not None and not place.exists():
                take_out(self._store, use.identity, place)
            if how == "use":
                self._engine.use(place, "" if use is None else use.name)
            else:
                self._engine.overshadow(place)
        except StoreError:
            if place is not None:  # half of it
                shutil.rmtree(place, ignore_errors=True)
            raise
        except FacetellError as error:
            name = "the server's own" if use is None else f"{use.name} ({use.identity})"
            log.error("the old detector goes on: %s", error.message)
            if how == "overshadow":
                self._engine.overshadow(None)
            with self._store.writing() as done:
                record(done, "facetell", "refuse", f"{name}: {error.message}")

    def _loop(self) -> None:
        while not self._closing.wait(EVERY):
            try:
                self.look()
            except StoreError:
                pass  # looked for again; the recorder says that it is away
            except Exception:
                log.exception("a fault in following the store")


def _identity(use: Use | None) -> str | None:
    return None if use is None else use.identity
