"""Judges many files in worker processes, so that one which crashes or hangs its reader costs that file alone."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from facetell.allocator import tune_allocator
from facetell.buckets import BucketPath, place
from facetell.detector.bundle import identity_of, read_description
from facetell.detector.calibration import deciders_of
from facetell.detector.detector import Detector
from facetell.detector.judge import Judge
from facetell.detector.known_faces import check_unlike
from facetell.detector.runtimes import home_of, runtime_for
from facetell.detector.verdict import FileStamp, Verdict, status_of
from facetell.files import sha256_of
from facetell.media.at_hand import at_hand
from facetell.media.cluster import BLOCK, cluster_map
from facetell.media.frame_choice import Choice, Spread, parse
from facetell.media.walk import find_files
from facetell.media.workers import Crew, Failure, guarded_map, seconds_for
from facetell.progress import Progress, Step, silent
from facetell.threads import usable_cores

__all__ = ["Judging", "crew_of", "failed", "judge_files", "judge_on_cluster", "judged", "seen"]

Item = TypeVar("Item")
Result = TypeVar("Result")
Crops = npt.NDArray[np.uint8]

AHEAD = 8
"""Files under way for each worker. Verdicts come in order, and a photo may take 25 times as long as the next: with two for
each of two workers these would stand still for a twelfth of the time, with eight for a 250th (worked out from 120 photos)."""


_MANY = 64  # files for each worker; of fewer, several at a time would leave some without work at the end
_SMALL = 2**19  # bytes; few crops have more, and few videos less


@dataclass(frozen=True)
class Judging:
    """How to judge: the detector's bundle, device and runtime, what it decides by, and how faces are looked for.

    ``at``, ``prevalence`` and ``unlike`` are as of `Detector.load`, ``faces``, ``frames`` and ``face_model`` as of `Judge`.
    """

    detector: str
    device: str = "auto"
    at: str = "default"
    prevalence: float | None = None
    faces: str = "auto"
    frames: Choice | None = None
    face_model: str | None = None
    unlike: float | None = None
    runtime: str | None = None

    def settings(self) -> str:
        """A hash of all that decides a verdict beside the file: what a verdict says as its ``settings``.

        Runtimes give the same logits, up to rounding.
        """
        model = self.face_model
        if model is not None and Path(model).is_file():
            model = sha256_of(Path(model))
        decides = (
            metadata.version("facetell"),
            identity_of(Path(self.detector)),
            self.at,
            self.prevalence,
            self.unlike,
            self.faces,
            str(self.frames),
        )
        return hashlib.sha256(repr((*decides, model)).encode()).hexdigest()[:16]


def judge_files(
    how: Judging,
    files: Sequence[Path],
    work: Callable[[Judge, Path], Result],
    *,
    few_frames: bool,
    workers: int | None = None,
    engine: str = "local",
    progress: Progress = silent,
) -> Generator[tuple[Path, Result | Failure], None, None]:
    """Yield (file, result) in order: ``work`` done on each file by a `Judge` that every worker process has for itself.

    ``work`` and its results must be picklable. ``few_frames``: it looks at few frames of a video, which bounds its time.
    ``workers``: processes, default one per core; ``engine``: where they are (`ENGINES`); neither changes the results.
    ``progress`` is told of every file. This process loads no network.

    Raises ``BundleError`` and ``UsageError`` before the first result.
    """
    description = _checked(how)
    cores = usable_cores()
    here = max(1, min(workers or cores, len(files)))
    doing, paths, needs = partial(_work, partial(_of_file, work)), map(str, files), _needs(how, description)

    def seconds(path: str) -> float:
        return seconds_for(place(path), few_frames=few_frames)

    if engine == "ray":
        results = judge_on_cluster(how, paths, partial(_of_file, work), seconds, workers=workers)
    else:
        share = max(1, cores // here)
        several = how.faces == "crops" and len(files) >= _MANY * here
        small = _is_small if several else (lambda path: False)
        results = guarded_map(doing, paths, here, seconds, _keep, (how, share), needs, AHEAD, small)
    try:
        for done, (path, result) in enumerate(results, start=1):
            yield place(path), result
            progress(Step("judging", done, len(files), "files"))
    finally:
        results.close()


def _is_small(path: str) -> bool:
    """Whether a file is judged faster than it is given to a worker, so that several may go together."""
    status = _status(Path(path))
    return status is not None and status.st_size <= _SMALL


def seen(
    detector: str | Path,
    paths: Iterable[str | Path],
    *,
    faces: str = "auto",
    frames: str = "8",
    face_model: str | None = None,
    device: str = "auto",
    runtime: str | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> Generator[tuple[Verdict, Crops | None], None, None]:
    """As `facetell.detect`, with the crops (F, size, size, 3) that the network saw, one for each of the verdict's faces.

    None where the reader of the file crashed.
    """
    choice = parse(frames)
    how = Judging(str(detector), device, faces=faces, frames=choice, face_model=face_model, runtime=runtime)
    files, few = list(find_files(paths)), isinstance(choice, Spread)
    results = judge_files(how, files, _seen, few_frames=few, workers=workers, progress=progress)
    try:
        for path, result in results:
            yield (failed(path, result), None) if isinstance(result, Failure) else result
    finally:
        results.close()


def judge_on_cluster(
    how: Judging,
    items: Iterable[Item],
    work: Callable[[Judge, Item], Result],
    seconds: Callable[[Item], float],
    *,
    workers: int | None = None,
    block: int = BLOCK,
) -> Generator[tuple[Item, Result | Failure], None, None]:
    """Yield (item, result) in order: ``work`` done on each item by a `Judge` on a node of a Ray cluster.

    ``work``, items and results must be picklable; the rest is as of `cluster_map`. Raises as it, and as `judge_files`.
    """
    needs, gpu = _needs(how, _checked(how)), how.device.startswith("cuda")
    threads = 1  # Ray gives each worker one core
    return cluster_map(
        partial(_work, work), items, workers, seconds, _keep, (how, threads), needs, gpu=gpu, block=block
    )


def _seen(judge: Judge, path: Path) -> tuple[Verdict, Crops | None]:
    """In a worker."""
    with at_hand(path) as here:
        verdict, crops = judge.seen(here)
    return replace(verdict, path=str(path)), crops


def crew_of(how: Judging, work: Callable[[Judge, Any], Any], workers: int) -> Crew:
    """Workers for as long as one likes: each does ``work`` on the items that it is given, with a `Judge` that it has for
    itself and loads for its first one. ``workers``: how many there will be at a time.

    Raises as `judge_files`.
    """
    description = _checked(how)
    threads = max(1, usable_cores() // workers)
    return Crew((partial(_work, work), _keep, (how, threads)), _needs(how, description))


def _checked(how: Judging) -> dict[str, Any]:
    """The detector's description, if it can judge so."""
    description = read_description(Path(how.detector))
    deciders_of(description, how.at, how.prevalence)
    check_unlike(how.unlike)
    return description


def _needs(how: Judging, description: dict[str, Any]) -> tuple[str, ...]:
    """What every worker imports."""
    finding = () if how.faces == "crops" else ("facetell.faces.finding",)
    return __name__, *finding, home_of(runtime_for(description, how.runtime, how.device))


def judged(judge: Judge, paths: Sequence[Path]) -> list[Verdict]:
    """The verdicts on files, each with what tells it from its next version."""
    with contextlib.ExitStack() as fetched:
        here = [fetched.enter_context(at_hand(path)) for path in paths]
        before = [_status(path) for path in here]
        return [
            replace(verdict, path=str(path), file=_stamp(status, there, path) if verdict.judged and status else None)
            for path, there, status, verdict in zip(paths, here, before, judge.files(here), strict=True)
        ]


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


def _stamp(status: os.stat_result, here: Path, path: Path) -> FileStamp | None:
    """Of a file that was judged. What is in a bucket has one time."""
    stamp = FileStamp.of(status, here)
    return replace(stamp, changed=stamp.modified) if stamp and isinstance(path, BucketPath) else stamp


def failed(path: Path, failure: Failure) -> Verdict:
    """The verdict on a file whose reader came to nothing."""
    return Verdict(str(path), status_of(failure.reason), reason=f"reading it {failure.reason}: {failure.detail}")


class _Worker:
    """What a worker process keeps."""

    how: Judging
    threads: int
    judge: Judge | None = None


def _keep(how: Judging, threads: int) -> None:
    _Worker.how, _Worker.threads, _Worker.judge = how, threads, None


def _of_file(work: Callable[[Judge, Path], Any], judge: Judge, path: str) -> Any:
    return work(judge, place(path))


def _work(work: Callable[[Judge, Any], Any], item: Any) -> Any:
    """In a worker; the detector is loaded with the first item, so that an error in it reaches the caller as it is."""
    if _Worker.judge is None:
        how, threads = _Worker.how, _Worker.threads
        tune_allocator()
        detector = Detector.load(
            how.detector,
            how.device,
            at=how.at,
            prevalence=how.prevalence,
            unlike=how.unlike,
            threads=threads,
            runtime=how.runtime,
        )
        _Worker.judge = Judge(detector, faces=how.faces, frames=how.frames, model=how.face_model, threads=threads)
    return work(_Worker.judge, item)
