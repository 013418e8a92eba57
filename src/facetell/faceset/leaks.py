"""The same face in two splits: groups, identical pictures, and pictures that look alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.faceset.duplicates import equal_runs
from facetell.faceset.splits import SPLITS
from facetell.faceset.survey import Survey
from facetell.faceset.table import FaceSet
from facetell.labels import LABELS
from facetell.pixels.perceptual_hash import near_twins

__all__ = ["find_leaks"]

_EXAMPLES = 20


def find_leaks(faceset: FaceSet, seen: Survey) -> dict[str, Any]:
    """Look for what two splits of a face set share.

    Returns:
        ``groups`` in two splits (``count``, ``examples``); ``identical`` pictures, the same pixels in whatever file:
        ``across_splits`` and ``both_labels`` (``rows`` of such sets, ``same_file`` how many of them are the same bytes as
        another, ``examples`` of two rows each); ``near`` ones across splits (``rows``, ``by_split`` rows of each split
        that have a twin in another, ``examples`` of two rows with their ``difference``, worst first). Every example row
        has row, path, split, label and group. Ready for JSON.
    """
    table = faceset.columns(["label", "split", "group", "sha256"])
    labels = table["label"].to_numpy()
    splits = np.empty(len(faceset), np.int8)
    for name in faceset.splits:
        rows = faceset.rows(name)
        splits[rows.start : rows.stop] = SPLITS.index(name)
    encoded = table["group"].combine_chunks().dictionary_encode()
    groups = encoded.indices.to_numpy()
    files = table["sha256"].combine_chunks().dictionary_encode().indices.to_numpy()

    paths = faceset.columns(["path"])["path"].combine_chunks()

    def told(*rows: int) -> list[dict[str, Any]]:
        return [
            {
                "row": row,
                "path": paths[row].as_py(),
                "split": SPLITS[splits[row]],
                "label": LABELS[labels[row]],
                "group": encoded.dictionary[int(groups[row])].as_py(),
            }
            for row in rows
        ]

    bits = np.zeros(int(groups.max()) + 1, np.int8)
    np.bitwise_or.at(bits, groups, (1 << splits).astype(np.int8))
    torn = np.flatnonzero(bits & (bits - 1))
    twin, least = near_twins(seen.hashes, seen.thumbnails, seen.digests, splits)
    near = np.flatnonzero(twin >= 0)
    pairs = _each_row_once(near[np.argsort(least[near], kind="stable")], twin)
    return {
        "groups": {
            "count": len(torn),
            "examples": [str(encoded.dictionary[int(group)].as_py()) for group in torn[:_EXAMPLES]],
        },
        "identical": {
            "across_splits": _identical(seen.digests, splits, files, told),
            "both_labels": _identical(seen.digests, labels, files, told),
        },
        "near": {
            "rows": len(near),
            "by_split": {
                name: {"rows": int((splits[near] == SPLITS.index(name)).sum()), "of": len(faceset.rows(name))}
                for name in faceset.splits
            },
            "examples": [
                {"difference": round(float(least[one]), 4), "rows": told(one, other)}
                for one, other in pairs[:_EXAMPLES]
            ],
        },
    }


def _identical(digests: NDArray[np.uint8], kinds: NDArray[np.int8], files: NDArray[Any], told: Any) -> dict[str, Any]:
    """Sets of equal pixels that have rows of two kinds."""
    order, runs = equal_runs(digests, np.arange(len(digests)))
    rows = same_file = 0
    examples: list[list[dict[str, Any]]] = []
    for first, last in runs.tolist():
        twins = order[first : last + 1]
        if np.ptp(kinds[twins]):
            rows += len(twins)
            counts = np.unique(files[twins], return_counts=True)[1]
            same_file += int(counts[counts > 1].sum())
            if len(examples) < _EXAMPLES:
                other = twins[np.argmax(kinds[twins] != kinds[twins[0]])]
                examples.append(told(int(twins[0]), int(other)))
    return {"rows": rows, "same_file": same_file, "examples": examples}


def _each_row_once(ordered: NDArray[np.int64], twin: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The first pairs of ``ordered`` rows and their twins in which no row comes twice."""
    used: set[int] = set()
    pairs = []
    for one in ordered.tolist():
        other = int(twin[one])
        if one not in used and other not in used:
            used |= {one, other}
            pairs.append((min(one, other), max(one, other)))
        if len(pairs) == _EXAMPLES:
            break
    return pairs
