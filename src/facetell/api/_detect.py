"""``detect``: a verdict on every photo, video and face crop among some paths."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from facetell.detector.verdict import Verdict, status_of
from facetell.errors import DataError
from facetell.media.frame_choice import Choice, Spread, parse
from facetell.media.workers import Failure, guarded_map, seconds_for

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from facetell.detector.judge import Judge

    Crops = npt.NDArray[np.uint8]

__all__ = ["detect", "find_files", "seen"]

PRELOAD = ("facetell.detector.detector", "facetell.faces.finding")


def detect(
    detector: str | Path,
    paths: Iterable[str | Path],
    *,
    at: str = "default",
    prevalence: float | None = None,
    faces: str = "auto",
    frames: str = "32",
    face_model: str | None = None,
    device: str = "auto",
    annotate: str | Path | None = None,
    workers: int | None = None,
    on_file: Callable[[int, int], None] | None = None,
) -> Generator[Verdict, None, None]:
    """Judge files, one ``Verdict`` each, in order; a file that is broken, or breaks its reader, costs one verdict.

    Args:
        detector: a detector bundle.
        paths: files, folders (searched to the bottom, hidden files left out), and patterns such as ``inbox/*.mp4``.
        at: which of the detector's operating points decides; ``facetell.threshold`` makes them.
        prevalence: share of fakes, in (0, 1), that the scores are meant for; decisions stay, see `Detector.load`.
        faces: ``find`` looks for faces in pictures, ``crops`` takes each as one face crop, ``auto`` does as fits the
            detector, see `Judge`. Videos are always searched.
        frames: of a video: ``32`` (spread over time), ``2s`` (one every two seconds) or ``all``.
        face_model: another face detector than that of training: a name or an ONNX file.
        device: ``auto``, ``cpu`` or ``cuda``.
        annotate: a folder for pictures of the verdicts, see `facetell.reporting.annotate`.
        workers: processes; default one per core, at most one per file. They do not change the verdicts.
        on_file: called with (files done, files in all).

    Raises:
        BundleError, UsageError: before the first verdict.
        DataError: ``annotate`` cannot be written.
        MissingExtraError: the extra ``media`` is not installed.
    """
    choice = parse(frames)
    files = list(find_files(paths))
    drawn = str(annotate) if annotate else None
    few = isinstance(choice, Spread) and annotate is None  # a clip with boxes has all frames
    job = _Job(str(detector), device, at, prevalence, faces, choice, face_model, drawn, 1)
    results = _over(files, _judge, job, few, workers, on_file)
    try:
        for verdict, _ in results:
            yield verdict
    finally:
        results.close()


def seen(
    detector: str | Path,
    paths: Iterable[str | Path],
    *,
    faces: str = "auto",
    frames: str = "8",
    face_model: str | None = None,
    device: str = "auto",
    workers: int | None = None,
    on_file: Callable[[int, int], None] | None = None,
) -> Generator[tuple[Verdict, Crops | None], None, None]:
    """As `detect`, with the crops (F, size, size, 3) that the network saw, one for each of the verdict's faces."""
    choice = parse(frames)
    job = _Job(str(detector), device, "default", None, faces, choice, face_model, None, 1)
    return _over(list(find_files(paths)), _see, job, isinstance(choice, Spread), workers, on_file)


def _over(
    files: list[Path],
    work: Callable[[str], tuple[Verdict, Crops | None]],
    job: _Job,
    few: bool,
    workers: int | None,
    on_file: Callable[[int, int], None] | None,
) -> Generator[tuple[Verdict, Crops | None], None, None]:
    """Do ``work`` on files in worker processes; ``few``: it looks at few frames of a video.

    This process stays light and quick to start: torch and the detector are only loaded where they are used.
    """
    cores = os.cpu_count() or 1
    workers = max(1, min(workers or cores, len(files)))
    job = replace(job, threads=max(1, cores // workers))
    if not files:  # else the first worker finds out
        from facetell.detector.bundle import read_bundle
        from facetell.detector.calibration import calibrations

        calibrations(read_bundle(Path(job.detector))[0], job.at, job.prevalence)

    def seconds(path: str) -> float:
        return seconds_for(Path(path), few_frames=few)

    results = guarded_map(work, map(str, files), workers, seconds, initializer=_keep, initargs=(job,), preload=PRELOAD)
    try:
        for done, (path, result) in enumerate(results, start=1):
            if isinstance(result, Failure):
                reason = f"reading it {result.reason}: {result.detail}"
                yield Verdict(path, status_of(result.reason), reason=reason), None
            else:
                yield result
            if on_file:
                on_file(done, len(files))
    finally:
        results.close()


def find_files(paths: Iterable[str | Path]) -> Iterator[Path]:
    """The files that paths, folders and patterns stand for. What does not exist stays, to get its verdict."""
    for path in map(Path, paths):
        # Not the methods of `Path`, which raise for a name that no file can have.
        if os.path.isdir(path):  # noqa: PTH112
            yield from _below(path, frozenset())
        elif not os.path.exists(path) and any(mark in str(path) for mark in "*?["):  # noqa: PTH110
            matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  absolute patterns too
            for match in map(Path, matches):
                yield from _below(match, frozenset()) if match.is_dir() else (match,)
            if not matches:
                yield path
        else:
            yield path


def _below(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    """All files below a folder but hidden ones, its own before those of its sub-folders; links are followed, loops are
    not. A folder that cannot be read is given itself, to get its verdict."""
    above |= {os.path.realpath(folder)}
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208  names alone
    except OSError:
        yield folder
        return
    folders = [name for name in names if (folder / name).is_dir()]
    inside = set(folders)
    yield from (folder / name for name in names if name not in inside)
    for name in folders:
        if os.path.realpath(folder / name) not in above:
            yield from _below(folder / name, above)


@dataclass(frozen=True)
class _Job:
    detector: str
    device: str
    at: str
    prevalence: float | None
    faces: str
    choice: Choice
    face_model: str | None
    annotate: str | None
    threads: int


class _Worker:
    """What a worker process keeps."""

    job: _Job
    judge: Judge | None = None


def _keep(job: _Job) -> None:
    _Worker.job = job


def _start(job: _Job) -> Judge:
    """Load the detector, with the first file: so an error in it reaches the caller as it is."""
    import torch

    from facetell.detector.detector import Detector
    from facetell.detector.judge import Judge
    from facetell.networks.acceleration import tune_allocator

    tune_allocator()
    torch.set_num_threads(job.threads)
    detector = Detector.load(job.detector, job.device, at=job.at, prevalence=job.prevalence)
    return Judge(detector, faces=job.faces, frames=job.choice, model=job.face_model, threads=job.threads)


def _at_work() -> Judge:
    if _Worker.judge is None:
        _Worker.judge = _start(_Worker.job)
    return _Worker.judge


def _see(path: str) -> tuple[Verdict, Crops | None]:
    return _at_work().seen(Path(path))


def _judge(path: str) -> tuple[Verdict, Crops | None]:
    job = _Worker.job
    verdict = _at_work().file(Path(path))
    if job.annotate is not None and verdict.frames:
        from facetell.reporting.annotate import annotate

        try:
            annotate(verdict, Path(job.annotate))
        except OSError as error:
            raise DataError(f"cannot draw {path} into {job.annotate}: {error.strerror or error}") from None
    return verdict, None
