"""A store that is there already, opened for a verb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from facetell.errors import MissingExtraError

if TYPE_CHECKING:
    from facetell.store.store import Store

__all__ = ["opened_store"]


@contextmanager
def opened_store(place: str | Path) -> Iterator[Store]:
    """The store at ``place``, see `facetell.store.store.Store`. Raises ``MissingExtraError`` without the extra ``serve``."""
    try:
        from facetell.store.store import Store
    except ModuleNotFoundError:
        raise MissingExtraError("a store", "serve") from None
    store = Store(place, make=False)
    try:
        yield store
    finally:
        store.close()
