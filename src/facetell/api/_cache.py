"""``cache``: what is kept to be quick the next time."""

from __future__ import annotations

from facetell.faceset.cache import cache_dir, cache_limit, clear, entries
from facetell.results import CacheResult

__all__ = ["cache"]


def cache(*, clear_all: bool = False) -> CacheResult:
    """List the cache: decoded pictures, features, and face sets made of plain folders.

    ``clear_all`` removes all but face sets that a process has open. Nothing is lost by that but time.

    Raises ``UsageError`` where ``FACETELL_CACHE_GB`` is not a number.
    """
    folder, limit = cache_dir(), int(cache_limit())
    removed = [path.relative_to(folder).as_posix() for path in clear()] if clear_all else []
    kept = entries()
    said = [
        {"name": each.path.relative_to(folder).as_posix(), "kind": each.kind, "bytes": each.bytes, "used": each.used}
        for each in kept
    ]
    return CacheResult(folder, sum(each.bytes for each in kept), limit, said, removed)
