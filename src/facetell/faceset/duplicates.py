"""Byte-identical pictures: one of each is kept, and contradictions between them are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from facetell.errors import LeakError
from facetell.faceset.rows import Rows, Skipped
from facetell.faceset.splits import SPLITS
from facetell.labels import LABELS

__all__ = ["equal_runs", "without_duplicates"]

_EXAMPLES = 5


def equal_runs(digests: NDArray[np.uint8], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find rows with equal digests.

    Args:
        digests: (N, 8 k) hashes of all rows.
        rows: (M,) the rows to look at, ascending.

    Returns:
        Those rows in the order of their digests (equal ones ascending), and the first and last place (R, 2) of each run
        of equal ones in it.
    """
    words = digests[rows].view(">u8")
    order = np.lexsort(words.T[::-1])
    same = np.ones(max(len(order) - 1, 0), dtype=np.bool_)
    for word in words.T:
        ordered = word[order]
        same &= ordered[1:] == ordered[:-1]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    return rows[order], edges.reshape(-1, 2)


def without_duplicates(
    rows: Rows, usable: NDArray[np.bool_], digests: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], list[Skipped]]:
    """Keep one of each set of byte-identical pictures: the first that has a split, else the first.

    Args:
        rows: all pictures.
        usable: (N,) the rows to look at.
        digests: (N, 32) hashes of all rows' files.

    Returns:
        The row numbers to keep, ascending, and the others with the path of the one kept instead.

    Raises:
        LeakError: identical pictures with different labels, or in two splits; names them.
    """
    by_hash, edges = equal_runs(digests, np.flatnonzero(usable))
    instead: dict[int, int] = {}
    labels_differ: list[str] = []
    splits_differ: list[str] = []
    for first, last in edges.tolist():
        twins = by_hash[first : last + 1]
        known = twins[rows.splits[twins] >= 0]
        if len(np.unique(rows.labels[twins])) > 1:
            labels_differ.append(_say(rows, twins, lambda row: LABELS[rows.labels[row]]))
        elif len(np.unique(rows.splits[known])) > 1:
            splits_differ.append(_say(rows, known, lambda row: SPLITS[rows.splits[row]]))
        else:
            kept = int(known[0]) if len(known) else int(twins[0])
            instead |= {row: kept for row in twins.tolist() if row != kept}
    if labels_differ:
        _refuse("with different labels", labels_differ, "correct the label, or remove the pictures")
    if splits_differ:
        _refuse("in two splits", splits_differ, "remove them from one: pictures seen in training prove nothing")
    dropped = sorted(instead)
    skipped = [Skipped(rows.path(row), "duplicate", f"duplicate of {rows.path(instead[row])}") for row in dropped]
    kept_rows = usable.copy()
    kept_rows[dropped] = False
    return np.flatnonzero(kept_rows), skipped


def _say(rows: Rows, twins: NDArray[np.int64], word: Callable[[int], str]) -> str:
    """One example for each different word, such as ``a.png (real) = b.png (fake)``."""
    _, firsts = np.unique([word(int(row)) for row in twins], return_index=True)
    return " = ".join(f"{rows.path(int(row))} ({word(int(row))})" for row in twins[np.sort(firsts)])


def _refuse(what: str, examples: list[str], hint: str) -> NoReturn:
    more = f"; and {len(examples) - _EXAMPLES} more" if len(examples) > _EXAMPLES else ""
    number = f"{len(examples)} pictures are" if len(examples) > 1 else "a picture is"
    raise LeakError(f"{number} there twice, byte for byte, {what}: {'; '.join(examples[:_EXAMPLES])}{more}", hint=hint)
