"""Face sets in the cache folder: found there, or made now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from facetell.faceset.cache import ELSEWHERE, facesets_dir, prune
from facetell.faceset.table import FaceSet
from facetell.files import locked

__all__ = ["kept"]


def kept(name: str, make: Callable[[Path], FaceSet], lacks: Callable[[FaceSet], bool] = lambda _: False) -> FaceSet:
    """The face set of this name in the cache, else what ``make`` writes to the path it is given.

    The name says all that decides what is in it, but for what one ``lacks`` that could not be read then, and can be now.
    Of two processes that need it, one makes it and the other waits.
    Raises what ``make`` does, and DataError where the cache folder cannot be written.
    """
    out = facesets_dir() / name
    found = FaceSet.open_if_whole(out)
    if found is None or lacks(found):
        with locked(out, hint=ELSEWHERE):
            found = FaceSet.open_if_whole(out)  # the one before may have made it
            if found is None or lacks(found):
                found = make(out)
                prune(keep=out)
    return found
