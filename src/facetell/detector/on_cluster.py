"""A split of a face set judged by the nodes of a Ray cluster: each reads its part of the faces from the shards itself.

Parts are the batches of one process, so the logits are the same: to the bit where the runtime takes a face at a time.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import socket
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facetell.detector.corrupted import Condition, Logits, Work, decode_all, make, speed_of
from facetell.detector.detector import Detector
from facetell.detector.judge import Judge
from facetell.detector.many import Judging, judge_on_cluster
from facetell.detector.places import DetectorLike, bundle_path, loaded
from facetell.detector.predictions import BATCH, Predictions, predicted
from facetell.errors import DataError
from facetell.faceset.decoded import map_pictures
from facetell.faceset.table import FaceSet
from facetell.media.workers import Failure
from facetell.pixels.decode import decode_resized
from facetell.progress import Progress, Step

__all__ = ["judging_of", "loaded_for", "predict_on_cluster", "stress_on_cluster"]

_SECONDS = 5.0
"""For a face under one condition, far above what any network takes: only a hanging one is to be noticed."""


@dataclass(frozen=True)
class _Part:
    """Some faces of a split, rows ``first`` to ``stop`` - 1 of the face set, and the conditions to see them under.

    ``at``: the first of them, counted within the split.
    """

    faceset: str
    fingerprint: str
    first: int
    stop: int
    at: int
    conditions: tuple[Condition, ...] = ()

    def __len__(self) -> int:
        return self.stop - self.first


def loaded_for(engine: str, detector: DetectorLike, device: str, runtime: str | None) -> tuple[str, Detector]:
    """As `loaded`. Of the nodes' device this machine may have none, and needs none for what it adds to what they judge."""
    return loaded(detector, *(("cpu", None) if engine == "ray" else (device, runtime)))


def judging_of(detector: Detector, device: str, runtime: str | None) -> Judging:
    """How nodes judge as ``detector`` does. Raises ``UsageError`` for one that was never written."""
    unlike = None if detector.known is None else detector.unlike or 0.0
    path = str(bundle_path(detector))
    return Judging(path, device, detector.operating_point, faces="crops", unlike=unlike, runtime=runtime)


def predict_on_cluster(
    how: Judging, detector: Detector, faces: FaceSet, split: str, workers: int | None, progress: Progress
) -> Predictions:
    """As `predict` with ``known``. ``how`` is `judging_of` the detector; ``workers``: parts under way.

    Raises ``DataError`` for a face set that a node does not see, or a picture that does not decode.
    """
    count = len(faces.rows(split))
    logits, deviations = np.empty(count, np.float32), np.empty(count)
    with contextlib.closing(_judged(how, _parts(faces, split), _judge, workers)) as results:
        for part, found in results:
            rows = slice(part.at, part.at + len(part))
            logits[rows], deviations[rows] = found
            progress(Step("scoring", rows.stop, count, "faces"))
    return predicted(detector, faces, split, logits, detector.p_known(deviations))


def stress_on_cluster(
    how: Judging,
    faces: FaceSet,
    split: str,
    conditions: Sequence[Condition],
    seed: int,
    workers: int | None,
    progress: Progress,
) -> tuple[dict[Condition, Logits], dict[str, Any]]:
    """As `corrupted_logits`. A part has the strengths of one corruption: decoding them again costs little beside it."""
    by_name = [tuple(each) for _, each in itertools.groupby(conditions, key=lambda condition: condition[0])]
    count = len(faces.rows(split))
    logits = {condition: np.empty(count, np.float32) for condition in conditions}
    spent, seen, done, began = np.zeros(4), set(), 0, time.perf_counter()
    work = functools.partial(_stress, seed=seed)
    with contextlib.closing(_judged(how, _parts(faces, split, by_name), work, workers)) as results:
        for part, (found, seconds, who) in results:
            for condition, each in zip(part.conditions, found, strict=True):
                logits[condition][part.at : part.at + len(part)] = each
                done += len(part)
            spent += seconds
            seen.add(who)
            progress(Step("scoring", done, count * len(conditions), "pictures"))
    return logits, speed_of(done, time.perf_counter() - began, len(seen), spent)


def _parts(faces: FaceSet, split: str, conditions: Iterable[tuple[Condition, ...]] = ((),)) -> Iterator[_Part]:
    rows, place = faces.rows(split), str(faces.path.resolve())
    for first in range(rows.start, rows.stop, BATCH):
        for some in conditions:
            yield _Part(place, faces.fingerprint, first, min(first + BATCH, rows.stop), first - rows.start, some)


def _judged(
    how: Judging, parts: Iterator[_Part], work: Callable[[Judge, _Part], Any], workers: int | None
) -> Generator[tuple[_Part, Any], None, None]:
    results = judge_on_cluster(how, parts, work, _seconds, workers=workers, block=1)
    with contextlib.closing(results):
        for part, found in results:
            if isinstance(found, Failure):
                raise DataError(
                    f"face set {part.faceset}, rows {part.first} to {part.stop - 1}: judging them {found.reason}: "
                    f"{found.detail}",
                    hint="prepare the face set again",
                )
            yield part, found


def _seconds(part: _Part) -> float:
    return 60 + _SECONDS * len(part) * max(1, len(part.conditions))


@functools.lru_cache(1)
def _opened(path: str, fingerprint: str) -> FaceSet:
    """In a worker: the face set, opened once."""
    try:
        faces = FaceSet.open(path)
    except DataError as error:
        raise DataError(
            f"{socket.gethostname()} cannot read the face set: {error.message}",
            hint="put it on a disk that all nodes see",
        ) from None
    if faces.fingerprint != fingerprint:
        raise DataError(
            f"{socket.gethostname()} has another face set at {path}", hint="put it on a disk that all nodes see"
        )
    return faces


def _judge(judge: Judge, part: _Part) -> tuple[Logits, npt.NDArray[np.float64]]:
    """In a worker: logits and deviations (N,)."""
    faces, size = _opened(part.faceset, part.fingerprint), judge.detector.size
    chunks = faces.pick(np.arange(part.first, part.stop), BATCH)
    crops = np.stack(list(map_pictures(lambda _, data: decode_resized(data, size), faces, chunks)))
    return judge.detector.logits_and_deviations(crops)


def _stress(judge: Judge, part: _Part, seed: int) -> tuple[list[Logits], npt.NDArray[np.float64], tuple[str, int]]:
    """In a worker: logits (N,) of each condition, processor seconds as `speed_of` takes them, and which worker it is."""
    began = time.process_time()
    faces = _opened(part.faceset, part.fingerprint)
    data = [picture for _, some in faces.pick(np.arange(part.first, part.stop), BATCH) for picture in some]
    crops, decoding = decode_all(faces, part.at, data)
    made: Iterator[Work] = (make(crops, each, judge.detector.size, seed, part.at) for each in part.conditions)
    logits, spent = [], np.array([decoding, 0.0, 0.0])
    for pixels, corrupting, resizing in made:
        logits.append(judge.detector.logits(np.stack(pixels)))
        spent += (0.0, corrupting, resizing)
    whole = time.process_time() - began
    return logits, np.array([*spent, whole]), (socket.gethostname(), os.getpid())
