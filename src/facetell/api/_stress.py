"""``stress``: how a detector holds out on faces that were compressed, resized, filmed and passed on."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facetell.api._measurable import measurable
from facetell.detector.calibration import uncalibrated
from facetell.detector.detector import Detector
from facetell.detector.places import DetectorLike, loaded
from facetell.detector.predictions import BATCH
from facetell.errors import DataError, ImageError, MissingExtraError, UsageError
from facetell.faceset.samples import check_split
from facetell.faceset.table import FaceSet, FaceSetLike
from facetell.ingest.prepare import open_or_prepare
from facetell.pixels.corruptions import STRENGTHS, Corruption, check_codec, choose, corrupt
from facetell.pixels.decode import decode, resize
from facetell.progress import Progress, ShowProgress, Step, callback
from facetell.reporting.stress import Conditions, check_stress, write_stress
from facetell.results import StressResult

__all__ = ["stress"]

_PIECE = 8
"""Crops of one task of a worker."""

Pixels = npt.NDArray[np.uint8]
Condition = tuple[str, int]
Work = tuple[list[Pixels], float, float]


def stress(
    detector: DetectorLike,
    faceset: FaceSetLike,
    out: str | Path | None = None,
    *,
    split: str = "test",
    only: Sequence[str] | None = None,
    at: str | None = None,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    progress: ShowProgress = None,
) -> StressResult:
    """Measure a detector on a split under every corruption and strength.

    Faces that the detector has learned from, or others of their groups, are left out, and the report says how many.

    Args:
        detector: a bundle, or a loaded one.
        faceset: a face set with real and fake faces in ``split``.
        out: where a report goes, a new folder or that of an earlier one; None writes none.
        split: of the face set.
        only: names of corruptions; default all nine (see `facetell.pixels.corruptions`).
        at: which of the detector's operating points decides; default its own.
        seed: draws the noise, the crops of screenshots and the bootstraps. Not the number of workers.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: threads that decode and corrupt; default one per core.
        progress: True shows a bar; a function is called as pictures are scored, each crop once per condition.

    Raises:
        UsageError: an unknown corruption or operating point; ``out`` holds something else; the detector has learned from
            half of the split or more.
        DataError: no such split, only one label in it, or a picture that does not decode.
        MissingExtraError: ``only`` asks for ``h264`` and the extra ``media`` is not installed.
    """
    chosen, left_out = _installed(only)
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}", hint="at least one")
    folder = None if out is None else Path(out)
    check_stress(folder)
    name, detector = loaded(detector, device)
    at = at or detector.operating_point
    if detector.calibration is None:
        raise uncalibrated("threshold to measure recall and false alarms at")
    decider, _ = detector.calibration.deciders(at)
    faces = open_or_prepare(faceset)
    check_split(faces, split, "stress on")
    keep, said = measurable(detector, faces, split)
    labels = faces.labels(split)[keep]
    if len(np.unique(labels)) < 2:
        raise DataError(f"split '{split}' of {faces.path} has one label only", hint="AUROC needs real and fake faces")
    conditions = [("none", 0), *((one.name, level) for one in chosen for level in range(1, STRENGTHS + 1))]
    scored, speed = _score(detector, faces, split, conditions, seed, workers or os.cpu_count() or 1, callback(progress))
    description = detector.description
    context = {
        "detector": name,
        "method": description["method"],
        "backbone": description["settings"]["backbone"],
        "input_size": detector.size,
        "crop_side_median": _median_side(faces, split),
        "operating_point": at,
        "faceset": faces.path.name,
        "faceset_fingerprint": faces.fingerprint,
        "split": split,
        "seed": seed,
        "versions": description["versions"],
    }
    groups = faces.columns(["group"], split)["group"].to_numpy()[keep]
    scored = {key: found[keep] for key, found in scored.items()}
    scores = {key: decider.scores(found) for key, found in scored.items()}
    table = Conditions(np.flatnonzero(keep), labels, groups, scored, scores)
    sample = _sample(faces, split, conditions, seed)
    about = {"threshold": decider.threshold, "context": context, "speed": speed, "warnings": [*left_out, *said]}
    return StressResult(**write_stress(folder, table, chosen, sample, about, seed=seed), path=folder)


def _installed(only: Sequence[str] | None) -> tuple[list[Corruption], list[str]]:
    """The corruptions that can be made here, and a warning of what cannot; what was asked for by name must be there."""
    chosen = choose(only)
    try:
        if any(one.name == "h264" for one in chosen):
            check_codec()
    except MissingExtraError as error:
        if only is not None:
            raise
        return [one for one in chosen if one.name != "h264"], [f"h264 is left out: {error.message} ({error.hint})"]
    return chosen, []


@dataclass
class _Clock:
    """Processor seconds by what they went to; ``scoring`` is that of the whole process less the workers'."""

    decoding: float = 0.0
    corrupting: float = 0.0
    resizing: float = 0.0


def _score(
    detector: Detector,
    faces: FaceSet,
    split: str,
    conditions: list[Condition],
    seed: int,
    workers: int,
    progress: Progress,
) -> tuple[dict[Condition, npt.NDArray[np.float32]], dict[str, Any]]:
    """Logits (N,) of each condition, and how fast it went."""
    count = len(faces.rows(split))
    logits = {condition: np.empty(count, np.float32) for condition in conditions}
    done, total = 0, count * len(conditions)
    clock, began, processor = _Clock(), time.perf_counter(), time.process_time()
    with contextlib.closing(_batches(faces, split, detector.size, conditions, seed, workers, clock)) as batches:
        for condition, first, pixels in batches:
            logits[condition][first : first + len(pixels)] = detector.logits(pixels)
            done += len(pixels)
            progress(Step("scoring", done, total, "pictures"))
    seconds, used = time.perf_counter() - began, time.process_time() - processor
    parts = {"decoding": clock.decoding, "corrupting": clock.corrupting, "resizing": clock.resizing}
    parts["scoring"] = max(0.0, used - sum(parts.values()))
    speed = {
        "images": total,
        "seconds": seconds,
        "images_per_s": total / seconds,
        "workers": workers,
        "processor_seconds": used,
        "parts": parts,
    }
    return logits, speed


def _batches(
    faces: FaceSet,
    split: str,
    size: int,
    conditions: list[Condition],
    seed: int,
    workers: int,
    clock: _Clock,
) -> Generator[tuple[Condition, int, Pixels], None, None]:
    """(condition, first row in the split, uint8 (B, size, size, 3)): all conditions of a batch of crops, then the next.

    Every crop is decoded once. In memory are two batches of crops at most and, of their conditions, the one that is
    scored and the one that the workers make meanwhile. Batches are those of ``evaluate``, to the bit.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="facetell-stress")
    waiting: deque[tuple[Condition, int, list[Future[Work]]]] = deque()

    def finished() -> tuple[Condition, int, Pixels]:
        condition, first, futures = waiting.popleft()
        pieces = [future.result() for future in futures]
        clock.corrupting += sum(piece[1] for piece in pieces)
        clock.resizing += sum(piece[2] for piece in pieces)
        return condition, first, np.stack(list(itertools.chain.from_iterable(piece[0] for piece in pieces)))

    try:
        for first, data in _chunks(faces, split):
            reading = [pool.submit(_decode, faces, first + at, data[at : at + _PIECE]) for at in _starts(data)]
            crops: list[Pixels] = []
            for future in reading:
                pixels, spent = future.result()
                crops += pixels
                clock.decoding += spent
            for condition in conditions:
                at_once = [
                    pool.submit(_make, crops[at : at + _PIECE], condition, size, seed, first + at)
                    for at in _starts(crops)
                ]
                waiting.append((condition, first, at_once))
                if len(waiting) > 1:
                    yield finished()
        while waiting:
            yield finished()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _starts(items: Sequence[object]) -> range:
    return range(0, len(items), _PIECE)


def _chunks(faces: FaceSet, split: str) -> Iterator[tuple[int, list[bytes]]]:
    """(first row in the split, bytes of `BATCH` pictures)."""
    pictures = itertools.chain.from_iterable(data for _, data in faces.images(split))
    for first in range(0, len(faces.rows(split)), BATCH):
        yield first, list(itertools.islice(pictures, BATCH))


def _decode(faces: FaceSet, first: int, data: list[bytes]) -> tuple[list[Pixels], float]:
    """Crops at their own resolution, and processor seconds; ``first`` is counted within the split."""
    began = time.thread_time()
    crops = []
    for number, picture in enumerate(data, start=first):
        try:
            crops.append(decode(picture))
        except ImageError as error:
            raise DataError(
                f"face set {faces.path}, picture {number} of the split: {error.message}", hint="prepare it again"
            ) from None
    return crops, time.thread_time() - began


def _make(crops: list[Pixels], condition: Condition, size: int, seed: int, first: int) -> Work:
    """Crops under one condition at the network's size, and processor seconds of corrupting and of resizing."""
    began = time.thread_time()
    made = [corrupt(pixels, *condition, seed, row) for row, pixels in enumerate(crops, start=first)]
    between = time.thread_time()
    ready = [resize(pixels, size) for pixels in made]
    return ready, between - began, time.thread_time() - between


def _median_side(faces: FaceSet, split: str) -> float:
    """Median of the longer sides (px): how much larger crops are than the input decides what a corruption can do."""
    sides = faces.columns(["width", "height"], split)
    return float(np.median(np.maximum(sides["width"].to_numpy(), sides["height"].to_numpy())))


def _sample(faces: FaceSet, split: str, conditions: list[Condition], seed: int) -> dict[Condition, Pixels]:
    """The split's first crop under every condition, at its own resolution."""
    pixels = decode(faces.image(faces.rows(split).start))
    return {condition: corrupt(pixels, *condition, seed, 0) for condition in conditions}
