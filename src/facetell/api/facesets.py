"""Face sets as arguments: a prepared one, or a folder or index that is prepared on the way."""

from __future__ import annotations

import logging
from pathlib import Path

from facetell.data.cache import cache_dir
from facetell.data.faceset import FaceSet, is_faceset
from facetell.data.prepare import prepare, source_fingerprint
from facetell.errors import DataError, near_miss

__all__ = ["check_split", "open_faceset"]

log = logging.getLogger("facetell")


def open_faceset(path: str | Path) -> FaceSet:
    """Open a face set; a picture folder or an index is prepared into the cache first (once, as long as it is the same)."""
    path = Path(path)
    if is_faceset(path):
        return FaceSet.open(path)
    prepared = cache_dir() / "facesets" / source_fingerprint(path)
    if not is_faceset(prepared):
        log.info("preparing %s (to keep a face set of your own: facetell prepare %s -o FACESET)", path, path)
        prepare(path, prepared)
    return FaceSet.open(prepared)


def check_split(faceset: FaceSet, split: str, purpose: str) -> None:
    """Raise ``DataError`` unless the face set has the split."""
    if split not in faceset.splits:
        raise DataError(
            f"{faceset.path} has no split '{split}' to {purpose}{near_miss(split, faceset.splits)}",
            hint=f"it has: {', '.join(faceset.splits)}",
        )
