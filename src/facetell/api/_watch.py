"""``watch``: whether what a detector judges still looks like what it was fitted on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facetell.detector.bundle import identity_of, read_bundle
from facetell.detector.decider import Decider
from facetell.detector.places import DetectorLike, bundle_path
from facetell.detector.traffic import KINDS, Batch, read_batch, references, sketches_of, watched
from facetell.errors import UsageError
from facetell.evaluation.comparison import holm
from facetell.evaluation.drift import REPETITIONS, Sketch, drift
from facetell.evaluation.rates import rate_interval
from facetell.faceset.table import FaceSetLike, source_path
from facetell.progress import ShowProgress, callback
from facetell.reporting.watch import WATCH_FORMAT, WATCH_VERSION, check_watch_destination, write_watch
from facetell.reporting.watch_page import conclude
from facetell.results import WatchResult

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["watch"]

LEAST = 20
"""Files of a kind below which nothing is tested."""
EXAMPLES = 16
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Reference = dict[str, list[Sketch]]


def watch(
    detector: DetectorLike,
    predictions: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    reference: str | Path | None = None,
    look: bool = False,
    faceset: FaceSetLike | None = None,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    progress: ShowProgress = None,
) -> WatchResult:
    """Compare traffic without labels with what ``detector`` was validated on; write ``out``, a folder.

    ``predictions``: JSON Lines of ``detect`` or predictions.parquet of ``evaluate``, batches in the order of time, such
    as one a day. ``reference``: instead of the validation logits that the detector keeps, such a table: with labels, or
    of traffic that is known to be good. ``look``: also open the judged files again, at most 1,000 of them, and search for
    faces that lie together far from all validation faces; ``faceset`` is the face set of predictions.parquet, ``device``
    what is looked with (``auto``, ``cpu`` or ``cuda``). ``seed`` draws the bootstrap and the files; ``workers`` are
    processes that read these.

    Raises UsageError without a batch, for a detector that keeps no reference or another thing at ``out``; DataError for
    a table or a face set that cannot be used; BundleError for a damaged detector.
    """
    if not predictions:
        raise UsageError("there is nothing to watch", hint="give JSON Lines of `facetell detect … -o verdicts.jsonl`")
    if out is not None:
        check_watch_destination(Path(out))
    path = bundle_path(detector)
    description = read_bundle(path)[0]
    identity = identity_of(path)
    shown = dict(zip(KINDS, watched(description), strict=True))
    known = None if reference is None else read_batch(Path(reference), description, identity, seed)
    sketches = references(description) if known is None else sketches_of(known)
    batches = [read_batch(Path(each), description, identity, seed) for each in predictions]
    parts = [_measured(batch, sketches, shown, seed + k) for k, batch in enumerate(batches, start=1)]
    whole = parts[0] if len(parts) == 1 else _measured(_joined(batches), sketches, shown, seed)
    tests = [test for part in ([whole] if len(parts) == 1 else [whole, *parts]) for test in part["tests"]]
    for test, p in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test["p_holm"] = float(p)
    result: dict[str, Any] = {
        "format": WATCH_FORMAT,
        "version": WATCH_VERSION,
        "detector": path.name,
        "identity": identity,
        "seed": seed,
        "repetitions": REPETITIONS,
        "reference": {
            "of": "validation, when it was fitted" if reference is None else str(reference),
            "labelled": any(len(each) == 2 for each in sketches.values()),
            "sizes": {
                kind: [{"n": one.n, "effective": one.effective} for one in each] for kind, each in sketches.items()
            },
            "shares": None if known is None else _shares(known),
        },
        "whole": whole,
        "batches": parts,
        "warnings": _warnings(batches, sketches),
        "look": None,
    }
    sheets: list[Image.Image] = []
    if look:
        from facetell.api._look import look_at  # opens pictures

        tables = [Path(each) for each in predictions]
        of_faces = None if faceset is None else source_path(faceset)
        result["look"], sheets = look_at(
            path,
            description,
            tables,
            faceset=of_faces,
            seed=seed,
            device=device,
            workers=workers,
            progress=callback(progress),
        )
    result |= conclude(result)
    if out is not None:
        write_watch(result, Path(out), sheets)
    return WatchResult(**result, path=None if out is None else Path(out))


def _joined(batches: list[Batch]) -> Batch:
    return Batch(
        "all",
        sum((batch.statuses for batch in batches), Counter()),
        sum((batch.decisions for batch in batches), Counter()),
        any(batch.banded for batch in batches),
        {kind: np.concatenate([batch.logits[kind] for batch in batches]) for kind in KINDS},
        {kind: [path for batch in batches for path in batch.paths[kind]] for kind in KINDS},
    )


def _measured(batch: Batch, sketches: Reference, shown: dict[str, Decider], seed: int) -> dict[str, Any]:
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
        "shares": _shares(batch),
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


def _shares(batch: Batch) -> dict[str, Any]:
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


def _warnings(batches: list[Batch], sketches: Reference) -> list[str]:
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
