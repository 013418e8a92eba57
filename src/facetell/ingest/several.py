"""Several face sets as one: written by the verb ``join``, or kept in the cache for a fit on all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from facetell.errors import UsageError
from facetell.faceset.join import join_whole, parts_of
from facetell.faceset.kept import kept
from facetell.faceset.table import FaceSet, FaceSetLike
from facetell.faceset.writing import another_faceset, existing_faceset
from facetell.files import alone
from facetell.ingest.prepare import open_or_prepare
from facetell.progress import ShowProgress

__all__ = ["join", "listed", "open_several"]


@alone("out")
def join(
    facesets: Sequence[FaceSetLike], out: str | Path, *, overwrite: bool = False, progress: ShowProgress = None
) -> FaceSet:
    """Write several face sets, picture folders or indexes as one face set at ``out``, every row in the split that it has.

    Of byte-identical pictures the first is kept, one of train before one of validation or test. Sources of one name are
    one source; groups of one name in several sets are different groups. ``overwrite``: replace another face set at ``out``.

    Returns:
        The face set; ``created`` is False if ``out`` was this very face set already.

    Raises:
        UsageError: fewer than two, or one of them twice.
        DataError: faces that were not cut alike, ``out`` is something else, the disk is full.
        LeakError: a picture is real in one of them and fake in another.
    """
    out, opened = Path(out), _opened(facesets, progress)
    existing = existing_faceset(out, overwrite=overwrite)
    if existing is not None:
        if existing.info.get("joined") == parts_of(opened):
            return existing
        if not overwrite:
            raise another_faceset(out)
    made = join_whole(out, opened)
    made.created = True
    return made


def open_several(facesets: FaceSetLike | Sequence[FaceSetLike], *, progress: ShowProgress = None) -> FaceSet:
    """Open one face set, or several as one that is kept in the cache. Arguments and errors are those of `join`."""
    given = listed(facesets)
    if len(given) == 1:
        return open_or_prepare(given[0], progress=progress)
    opened = _opened(given, progress)
    key = hashlib.sha256(repr([(faces.path.name, faces.fingerprint) for faces in opened]).encode()).hexdigest()
    names = "+".join(faces.path.name[:20] for faces in opened)[:60]
    return kept(f"{names}-{key[:24]}", lambda out: join_whole(out, opened))


def listed(facesets: FaceSetLike | Sequence[FaceSetLike]) -> Sequence[FaceSetLike]:
    """One face set, or several, as several."""
    return [facesets] if isinstance(facesets, FaceSet | str | Path) else facesets


def _opened(facesets: Sequence[FaceSetLike], progress: ShowProgress) -> list[FaceSet]:
    if len(facesets) < 2:
        raise UsageError("there is nothing to join", hint="give two face sets or more")
    opened = [open_or_prepare(each, progress=progress) for each in facesets]
    for number, faces in enumerate(opened):
        if faces.fingerprint in [other.fingerprint for other in opened[:number]]:
            raise UsageError(f"{faces.path} is given twice", hint="give every face set once")
    return opened
