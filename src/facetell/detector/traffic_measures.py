"""What a batch of traffic shows: counts, shares with intervals, quantiles of its scores, and the test against the known."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from facetell.detector.decider import Decider
from facetell.detector.traffic import KINDS, Batch
from facetell.evaluation.drift import Sketch, drift
from facetell.evaluation.rates import rate_interval

__all__ = ["LEAST", "joined", "measured", "shares", "warnings"]

LEAST = 20
"""Files of a kind below which nothing is tested."""
EXAMPLES = 16
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Reference = dict[str, list[Sketch]]
"""The known logits of a kind (face, video): those of reals and of fakes, or of both together."""


def joined(batches: list[Batch]) -> Batch:
    """All batches as one."""
    return Batch(
        "all",
        sum((batch.statuses for batch in batches), Counter()),
        sum((batch.decisions for batch in batches), Counter()),
        any(batch.banded for batch in batches),
        {kind: np.concatenate([batch.logits[kind] for batch in batches]) for kind in KINDS},
        {kind: [path for batch in batches for path in batch.paths[kind]] for kind in KINDS},
    )


def measured(batch: Batch, sketches: Reference, shown: dict[str, Decider], seed: int) -> dict[str, Any]:
    """A batch as plain values."""
    tests = []
    quantiles = {}
    for kind, logits in batch.logits.items():
        if logits.size:
            scores = shown[kind].curve.scores(np.quantile(logits, QUANTILES))
            quantiles[kind] = dict(zip(map(str, QUANTILES), scores.tolist(), strict=True))
        if logits.size >= LEAST and kind in sketches:
            tests.append(_tested(batch, kind, sketches[kind], shown[kind], seed))
    return {
        "name": batch.name,
        "files": batch.statuses.total(),
        "statuses": dict(batch.statuses.most_common()),
        "shares": shares(batch),
        "quantiles": quantiles,
        "tests": tests,
    }


def _tested(batch: Batch, kind: str, sketches: list[Sketch], shown: Decider, seed: int) -> dict[str, Any]:
    """The test of a kind, with scores in place of logits, and files that lie where there are too many."""
    logits = batch.logits[kind]
    found = drift(logits, sketches, seed=seed)
    low, high = found.between
    inside = np.flatnonzero((logits > low) & (logits <= high))
    drawn = np.random.default_rng(seed).permutation(inside)[:EXAMPLES]
    return {
        "kind": kind,
        "n": found.n,
        "ks": found.ks,
        "kuiper": found.kuiper,
        "wasserstein": found.wasserstein,
        "p": found.p,
        "fakes": None if found.fakes is None else dict(zip(("value", "low", "high"), found.fakes, strict=True)),
        "excess": found.excess,
        "between": shown.curve.scores(found.between).tolist(),
        "examples": [batch.paths[kind][row] for row in sorted(drawn.tolist())],
    }


def shares(batch: Batch) -> dict[str, Any]:
    """``unjudged`` of all files, ``fake`` and ``unsure`` of the judged ones; None for unsure without a band."""
    judged = batch.decisions.total()
    files = batch.statuses.total()
    return {
        "unjudged": _share(files - judged, files),
        "fake": _share(batch.decisions["fake"], judged),
        "unsure": _share(batch.decisions["unsure"], judged) if batch.banded else None,
    }


def _share(hits: int, n: int) -> dict[str, float | int] | None:
    if not n:
        return None
    low, high = rate_interval(hits, n)
    return {"value": hits / n, "low": low, "high": high, "n": n}


def warnings(batches: list[Batch], sketches: Reference) -> list[str]:
    """What of the batches is not compared, and why."""
    counts = {kind: sum(batch.logits[kind].size for batch in batches) for kind in KINDS}
    return [
        f"{count:,} {kind}s are not compared: the reference has none"
        for kind, count in counts.items()
        if count and kind not in sketches
    ] + [
        f"{batch.name}: {batch.logits[kind].size} {kind}s are too few to compare, {LEAST} are needed"
        for batch in batches
        for kind in KINDS
        if kind in sketches and 0 < batch.logits[kind].size < LEAST
    ]
