"""Face sets as arguments."""

from __future__ import annotations

from facetell.data.faceset import FaceSet
from facetell.errors import DataError, near_miss

__all__ = ["check_split"]


def check_split(faceset: FaceSet, split: str, purpose: str) -> None:
    """Raise ``DataError`` unless the face set has the split."""
    if split not in faceset.splits:
        raise DataError(
            f"{faceset.path} has no split '{split}' to {purpose}{near_miss(split, faceset.splits)}",
            hint=f"it has: {', '.join(faceset.splits)}",
        )
