"""``blend``: from the real faces of a face set alone to a face set of reals and made fakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.blending.pairs import Maker, pair_maker
from facetell.blending.writing import Order, real_rows, write_pairs
from facetell.errors import DataError, UsageError, learning, near_miss
from facetell.faceset.table import FaceSet, FaceSetLike, source_path
from facetell.faceset.writing import another_faceset, existing_faceset
from facetell.files import locked
from facetell.ingest.prepare import open_or_prepare
from facetell.progress import Progress, ShowProgress, callback

__all__ = ["KINDS", "blend"]

KINDS = {"self-blended": ("self-blended",), "generated": ("generated",), "both": ("self-blended", "generated")}
"""What ``kind`` can be, and the sources of the fakes that it makes."""
LEAST = 10
"""Fewest real faces that fakes are made from."""
SMALLEST = 16
"""Smallest side in pixels."""
_RECIPE = 1
"""Raise it whenever the same faces and seed give other pictures: an older face set is then no longer the same."""


def blend(
    faceset: FaceSetLike,
    out: str | Path,
    *,
    kind: str = "self-blended",
    draws: int = 2,
    seed: int = 0,
    size: int | None = None,
    progress: ShowProgress = None,
    overwrite: bool = False,
) -> FaceSet:
    """Make a face set at ``out`` of the real faces of another and of fakes made from them.

    Each draw of a real face is two rows: the face, cut and coloured a little otherwise, and a fake made of that very
    picture. Both were resampled and compressed in the same way. Group and split are the face's; the source of a fake is
    its kind. The fakes of ``faceset`` and its split *test* are left out: the result is for fitting.

    Args:
        faceset: a face set, or a picture folder or index.
        out: where the new one goes.
        kind: ``self-blended``, ``generated`` (drawn again by small networks, which are trained on the real faces
            first), or ``both``, half of each.
        draws: pairs made of each real face.
        seed: of all dice; a picture depends on it, on its own bytes and on the number of the draw. For ``generated``
            also on the networks, and so on the other faces and, in the last digit, on the machine.
        size: longer side in pixels to which larger crops are shrunk; None keeps their own size.
        progress: True shows bars; a function is called as networks are trained and pictures written.
        overwrite: replace another face set at ``out``.

    Returns:
        The face set; ``created`` is False if ``out`` was this very face set already, which is then left alone. What it
        was made from is ``info["made"]``.

    Raises:
        UsageError: an unknown kind, a number out of range, or ``out`` and ``faceset`` inside each other.
        DataError: fewer than 10 real faces outside the test split, a picture that does not decode, ``out`` is something
            else, the disk is full.
        MissingExtraError: ``generated`` or ``both`` without the extra ``learn``.
    """
    faceset, out = source_path(faceset), Path(out)
    _check(kind, draws, seed, size)
    if out.resolve() == faceset.resolve() or faceset.resolve() in out.resolve().parents:
        raise UsageError(f"{out} lies inside {faceset}", hint="put it beside the face set")
    faces = open_or_prepare(faceset)
    rows = real_rows(faces)
    if len(rows) < LEAST:
        raise DataError(
            f"{faceset} has {len(rows)} real faces outside the test split; at least {LEAST} are needed",
            hint="fakes are made from real faces: prepare more of them",
        )
    made: dict[str, Any] = {
        "by": "blend",
        "recipe": _RECIPE,
        "kind": kind,
        "draws": draws,
        "seed": seed,
        "size": size,
        "from": {"faceset": faces.path.name, "fingerprint": faces.fingerprint, "real": len(rows)},
    }
    with locked(out):
        existing = existing_faceset(out, overwrite=overwrite)
        if existing is not None:
            if _same(existing.info.get("made"), made):
                return existing
            if not overwrite:
                raise another_faceset(out)
        order = Order(KINDS[kind], draws, seed, size)
        tell = callback(progress)
        makers = _makers(order, faces, rows, tell)
        return write_pairs(faces, rows, out, order, makers, made, tell)


def _same(one: dict[str, Any] | None, other: dict[str, Any]) -> bool:
    """Whether two face sets were made in the same way of the same faces, under whatever name."""
    if one is None:
        return False
    same = one["from"]["fingerprint"] == other["from"]["fingerprint"]
    return same and {**one, "from": None} == {**other, "from": None}


def _check(kind: str, draws: int, seed: int, size: int | None) -> None:
    if kind not in KINDS:
        raise UsageError(
            f"unknown kind of fakes '{kind}'{near_miss(kind, KINDS)}", hint=f"there are: {', '.join(KINDS)}"
        )
    if draws < 1:
        raise UsageError(f"draws is {draws}", hint="at least one")
    if seed < 0:
        raise UsageError(f"seed is {seed}", hint="0 or more")
    if size is not None and size < SMALLEST:
        raise UsageError(f"size is {size}", hint=f"at least {SMALLEST} pixels")


def _makers(order: Order, faces: FaceSet, rows: NDArray[np.int64], progress: Progress) -> dict[str, Maker]:
    makers = {}
    for kind in order.kinds:
        if kind == "self-blended":
            makers[kind] = pair_maker(None)
        else:
            with learning("blend with generated fakes"):
                from facetell.blending.generators import fit_generators

            makers[kind] = pair_maker(fit_generators(faces, rows, order.size, order.seed, progress))
    return makers
