"""The memory of a detector: a small face set in its folder, which its description knows by fingerprint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from facetell.errors import BundleError, DataError
from facetell.faceset.table import FaceSet

__all__ = ["FOLDER", "TAUGHT", "described", "memory_of", "taught"]

FOLDER = "memory"
TAUGHT = "adapted/"
"""Stands before the groups of faces that `adapt` learned from, all of them, those of the split *validation* too."""


def memory_of(path: Path, description: dict[str, Any]) -> FaceSet | None:
    """The memory of the detector at ``path``, or None where it keeps none.

    Raises ``BundleError`` for one that is missing or is not the one the detector was given.
    """
    listed = description.get("memory")
    if listed is None:
        return None
    again = f"give it again: facetell remember {path} FACESET; or remove it: facetell remember {path} --forget"
    try:
        memory = FaceSet.open(path / FOLDER)
    except DataError as error:
        raise BundleError(f"{path}: its memory cannot be used: {error.message}", hint=again) from None
    if not isinstance(listed, dict) or memory.fingerprint != listed.get("fingerprint"):
        raise BundleError(f"{path}: its memory is not the one it was given", hint=again)
    return memory


def taught(memory: FaceSet, split: str) -> NDArray[np.bool_]:
    """Which faces (N,) of a split an `adapt` learned from; those of *train* were learned from in any case."""
    return np.asarray(pc.starts_with(memory.columns(["group"], split)["group"], TAUGHT))


def described(memory: FaceSet) -> dict[str, Any]:
    """What a detector's description says of its memory."""
    return {
        "fingerprint": memory.fingerprint,
        "faces": len(memory),
        "bytes": sum(int(shard["bytes"]) for shard in memory.info["shards"]),
        "counts": memory.info["counts"],
    }
