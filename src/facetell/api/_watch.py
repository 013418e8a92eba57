"""``watch``: whether what a detector judges still looks like what it was fitted on."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facetell.api._opened_store import opened_store
from facetell.detector.bundle import identity_of, read_bundle
from facetell.detector.places import DetectorLike, bundle_path
from facetell.detector.traffic import KINDS, Batch, read_batch, references, sketches_of, watched
from facetell.detector.traffic_measures import joined, measured, shares, warnings
from facetell.errors import UsageError
from facetell.evaluation.comparison import holm
from facetell.evaluation.drift import REPETITIONS
from facetell.faceset.table import FaceSetLike, source_path
from facetell.progress import ShowProgress, callback
from facetell.reporting.watch import WATCH_FORMAT, WATCH_VERSION, check_watch_destination, write_watch
from facetell.reporting.watch_findings import conclude
from facetell.results import WatchResult
from facetell.settings import check_counts

if TYPE_CHECKING:
    from facetell.detector.look import Faces

__all__ = ["watch"]


def watch(
    detector: DetectorLike,
    predictions: Sequence[str | Path] = (),
    out: str | Path | None = None,
    *,
    store: str | Path | None = None,
    days: float = 7.0,
    reference: str | Path | None = None,
    look: bool = False,
    faceset: FaceSetLike | None = None,
    seed: int = 0,
    device: str = "auto",
    runtime: str | None = None,
    workers: int | None = None,
    progress: ShowProgress = None,
) -> WatchResult:
    """Compare traffic without labels with what ``detector`` was validated on; write ``out``, a folder.

    ``predictions``: JSON Lines of ``detect`` or predictions.parquet of ``evaluate``, batches in the order of time, such
    as one a day. ``store``: in their place the store of a server (:func:`facetell.serve`): what it judged by this detector
    in the last ``days``, a batch a day; something new is written into its audit trail. ``reference``: instead of the
    validation logits that the detector keeps, such a table: with labels, or
    of traffic that is known to be good. ``look``: also open the judged files again, at most 1,000 of them, and search for
    faces that lie together far from all validation faces; ``faceset`` is the face set of predictions.parquet, ``device``
    what is looked with (``auto``, ``cpu`` or ``cuda``). ``seed`` draws the bootstrap and the files; ``workers`` are
    processes that read these.

    Raises UsageError without a batch, for a detector that keeps no reference or another thing at ``out``; DataError for
    a table, a face set or a store that cannot be used; BundleError for a damaged detector.
    """
    check_counts(workers=workers)
    if not predictions and store is None:
        raise UsageError("there is nothing to watch", hint="give JSON Lines of `facetell detect … -o verdicts.jsonl`")
    if store is not None and (predictions or look):
        raise UsageError("a store is watched alone, and keeps no files to --look at", hint="leave out the other")
    if out is not None:
        check_watch_destination(Path(out))
    path = bundle_path(detector)
    description = read_bundle(path)
    identity = identity_of(path)
    shown = dict(zip(KINDS, watched(description), strict=True))
    known = None if reference is None else read_batch(Path(reference), description, identity, seed)
    sketches = references(description) if known is None else sketches_of(known)
    batches = (
        [read_batch(Path(each), description, identity, seed) for each in predictions]
        if store is None
        else _kept(store, days, description, identity, seed)
    )
    parts = [measured(batch, sketches, shown, seed + k) for k, batch in enumerate(batches, start=1)]
    whole = parts[0] if len(parts) == 1 else measured(joined(batches), sketches, shown, seed)
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
            "shares": None if known is None else shares(known),
        },
        "whole": whole,
        "batches": parts,
        "warnings": warnings(batches, sketches),
        "look": None,
    }
    pictures: list[Faces] = []
    if look:
        from facetell.detector.look import look_at  # opens pictures

        tables = [Path(each) for each in predictions]
        of_faces = None if faceset is None else source_path(faceset)
        result["look"], pictures = look_at(
            path,
            description,
            tables,
            faceset=of_faces,
            seed=seed,
            device=device,
            runtime=runtime,
            workers=workers,
            progress=callback(progress),
        )
    result |= conclude(result)
    if store is not None and result["seen"] == "new":
        result["next"] = _alarm(store, result)
    if out is not None:
        write_watch(result, Path(out), pictures)
    return WatchResult(**result, path=None if out is None else Path(out))


def _kept(store: str | Path, days: float, description: dict[str, Any], identity: str, seed: int) -> list[Batch]:
    """What a server judged by the detector, a batch a day."""
    with opened_store(store) as kept, tempfile.TemporaryDirectory(prefix="facetell-") as folder:
        from facetell.store.traffic import write_days

        files = write_days(kept, identity, days, Path(folder))
        return [replace(read_batch(file, description, identity, seed), name=file.stem) for file in files]


def _alarm(store: str | Path, result: dict[str, Any]) -> str:
    """Write into the trail what is new; what to do now."""
    with opened_store(store) as kept:
        from facetell.store.store import record, user

        with kept.writing() as done:
            record(done, user(), "alarm", f"{result['detector']} ({result['identity']}): {result['sentences'][0]}")
        return (
            "look at what is unsure and novel first, at /review of the server: another camera, crop or compression does this "
            "as well as a new kind of fake. If it is one, label some of it and as many reals, then: facetell adapt "
            f"{shlex.quote(result['detector'])} --store {shlex.quote(kept.name)} --kind NAME -o NEW"
        )
