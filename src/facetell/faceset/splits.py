"""Who goes to train, validation and test: group-disjoint, stratified, seeded, fast with half a million groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.errors import DataError, LeakError

__all__ = ["FRACTIONS", "SPLITS", "assign", "check_groups"]

SPLITS = ("train", "validation", "test", "finetune")
"""Names of the splits; a split's code is its place here, and -1 means that a row has none yet."""

FRACTIONS = {"train": 0.7, "validation": 0.15, "test": 0.15}
"""Parts of the rows that each split gets when splits are made."""

_EXAMPLES = 5


def assign(
    labels: NDArray[np.int8], groups: NDArray[Any], sources: NDArray[Any], known: NDArray[np.int8], seed: int
) -> NDArray[np.int8]:
    """Give a split to every row that has none.

    Args:
        labels: (N,) 0 = real, 1 = fake.
        groups: (N,) codes of groups, 0 and up; a group never crosses a split.
        sources: (N,) codes of sources; fractions are kept per label and source.
        known: (N,) codes of splits, -1 where a row has none. Known splits are never changed.
        seed: the same seed and rows give the same splits.

    Returns:
        (N,) codes of splits.

    A row whose group has a split takes it. The other groups go to train, and to validation and test unless the rows
    already name those: a held-out split that was given is complete as it is, and is never added to. Groups are taken
    in a seeded order, largest first, each to the split that lacks most of the group's label and source.

    Raises:
        LeakError: a group is in two splits already.
        DataError: an open split cannot get both labels without tearing a group apart.
    """
    check_groups(groups, known)
    group_split = np.full(int(groups.max(initial=-1)) + 1, -1, dtype=np.int8)
    np.maximum.at(group_split, groups, known)
    result: NDArray[np.int8] = group_split[groups]
    free = result < 0
    if not free.any():
        return result
    used = {SPLITS[code] for code in np.unique(known[known >= 0])}
    open_splits = [name for name in FRACTIONS if name == "train" or name not in used]
    codes = np.array([SPLITS.index(name) for name in open_splits])
    weights = np.array([FRACTIONS[name] for name in open_splits])
    weights /= weights.sum()

    _, strata = np.unique(sources.astype(np.int64) * 2 + labels, return_inverse=True)
    n_strata = int(strata.max()) + 1
    counted = free | np.isin(result, codes)
    lacking = np.outer(np.bincount(strata[counted], minlength=n_strata), weights)  # (strata, open splits)
    for j, code in enumerate(codes):
        lacking[:, j] -= np.bincount(strata[result == code], minlength=n_strata)

    parts = _Parts.of(groups[free], strata[free], len(group_split))
    order = _order(groups[free], len(group_split), seed)
    kinds = _labels_of_groups(labels[free], groups[free], len(group_split))
    has = np.array([[bool(np.any(labels[result == code] == label)) for label in (0, 1)] for code in codes])
    choice = np.full(len(group_split), -1, dtype=np.int8)
    for group, j in _first_of_each_label(order, kinds, has, open_splits).items():
        choice[group] = j
        for stratum, count in parts.of_group(group):
            lacking[stratum, j] -= count
    _fill(order[choice[order] < 0], parts, lacking.tolist(), choice)
    taken = choice >= 0
    group_split[taken] = codes[choice[taken]]
    result = group_split[groups]
    return result


def check_groups(groups: NDArray[Any], splits: NDArray[np.int8], names: Callable[[int], str] = str) -> None:
    """Refuse groups that are in two splits.

    Args:
        groups: (N,) group codes, 0 and up.
        splits: (N,) split codes; rows with -1 are ignored.
        names: gives a group's name by its code, for the message.

    Raises:
        LeakError: names up to five such groups with their splits, and says how many there are.
    """
    known = splits >= 0
    if not known.any():
        return
    size = int(groups.max()) + 1
    low = np.full(size, len(SPLITS), dtype=np.int8)
    high = np.full(size, -1, dtype=np.int8)
    np.minimum.at(low, groups[known], splits[known])
    np.maximum.at(high, groups[known], splits[known])
    torn = np.flatnonzero(high > low)
    if not len(torn):
        return
    lines = []
    for group in torn[:_EXAMPLES]:
        codes = np.unique(splits[known & (groups == group)])
        lines.append(f"'{names(int(group))}' in {' and '.join(SPLITS[code] for code in codes)}")
    more = f" and {len(torn) - _EXAMPLES} more" if len(torn) > _EXAMPLES else ""
    raise LeakError(
        f"{len(torn)} group{'s' if len(torn) > 1 else ''} in two splits: {'; '.join(lines)}{more}",
        hint="a group (one person or video) belongs to one split; if these sub-folders are generators, "
        "say that sub-folders are sources, else move the pictures or give groups in an index",
    )


@dataclass(frozen=True)
class _Parts:
    """How many rows each group has in each stratum: entries ``starts[g]`` to ``starts[g + 1]`` belong to group g."""

    starts: NDArray[np.int64]
    strata: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, groups: NDArray[Any], strata: NDArray[Any], n_groups: int) -> _Parts:
        width = int(strata.max()) + 1
        keys, counts = np.unique(groups.astype(np.int64) * width + strata, return_counts=True)
        return cls(np.searchsorted(keys // width, np.arange(n_groups + 1)), keys % width, counts)

    def of_group(self, group: int) -> list[tuple[int, int]]:
        entries = slice(int(self.starts[group]), int(self.starts[group + 1]))
        return list(zip(self.strata[entries].tolist(), self.counts[entries].tolist(), strict=True))


def _fill(order: NDArray[np.int64], parts: _Parts, deficit: list[list[float]], choice: NDArray[np.int8]) -> None:
    """Choose for each group in ``order`` the split that lacks most of its strata; updates ``deficit``, ``choice``."""
    step = 8192  # so that Python numbers of few groups exist at a time
    for at in range(0, len(order), step):
        block = order[at : at + step]
        firsts = parts.starts[block]
        single = (parts.starts[block + 1] - firsts == 1).tolist()
        strata, counts = parts.strata[firsts].tolist(), parts.counts[firsts].tolist()
        best_of_block = []
        for group, alone, stratum, count in zip(block.tolist(), single, strata, counts, strict=True):
            mine = [(stratum, count)] if alone else parts.of_group(group)
            gain = (
                deficit[stratum] if alone else [sum(n * deficit[s][j] for s, n in mine) for j in range(len(deficit[0]))]
            )
            best = gain.index(max(gain))
            for s, n in mine:
                deficit[s][best] -= n
            best_of_block.append(best)
        choice[block] = best_of_block


def _order(groups: NDArray[Any], n_groups: int, seed: int) -> NDArray[np.int64]:
    """The groups present, largest first, in seeded random order where equal."""
    sizes = np.bincount(groups, minlength=n_groups)
    shuffled = np.random.default_rng([seed, 0x5B117]).permutation(np.flatnonzero(sizes))
    return shuffled[np.argsort(-sizes[shuffled], kind="stable")]


def _labels_of_groups(labels: NDArray[np.int8], groups: NDArray[Any], n_groups: int) -> NDArray[np.int8]:
    """(groups,) bit 1 = holds real rows, bit 2 = holds fake rows."""
    bits = np.zeros(n_groups, dtype=np.int8)
    np.bitwise_or.at(bits, groups, (1 << labels).astype(np.int8))
    return bits


def _first_of_each_label(
    order: NDArray[np.int64], bits: NDArray[np.int8], has: NDArray[np.bool_], names: list[str]
) -> dict[int, int]:
    """Put the smallest groups where a split would else lack a label.

    Exact: a group with both labels fills any one need, a real-only and a fake-only group together fill one split that
    needs both; so single needs take one-label groups first, then pairs serve the splits that need both, and mixed
    groups the rest.
    """
    kinds = bits[order]
    available = {kind: int(np.sum(kinds & kind > 0)) for kind in (1, 2)}
    # The order is largest first, so that pop() takes the smallest.
    pools = {kind: order[kinds == kind][-2 * len(names) :].tolist() for kind in (1, 2, 3)}
    chosen: dict[int, int] = {}
    lacking: list[str] = []
    single = [(j, 1 << label) for j in range(len(names)) if has[j].sum() == 1 for label in (0, 1) if not has[j][label]]
    for j, need in single:
        pool = pools[need] or pools[3]
        if pool:
            chosen[pool.pop()] = j
        else:
            lacking.append(names[j])
    for j in (j for j in range(len(names)) if not has[j].any()):
        if pools[1] and pools[2]:
            chosen[pools[1].pop()] = j
            chosen[pools[2].pop()] = j
        elif pools[3]:
            chosen[pools[3].pop()] = j
        else:
            lacking.append(names[j])
    if lacking:
        raise DataError(
            f"too few groups for {', '.join(names)} to have both real and fake pictures: "
            f"{available[1]} groups with real, {available[2]} with fake; {' and '.join(lacking)} would miss a label",
            hint="add pictures of other people or videos, or give the splits in an index",
        )
    return chosen
