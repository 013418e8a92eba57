"""``detect``: a verdict on every photo, video and face crop among some paths."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from facetell.detector.bundle import identity_of
from facetell.detector.calibration import DEFAULT
from facetell.detector.detector import Detector
from facetell.detector.many import Judging, failed, judge_files, judged
from facetell.detector.places import DetectorLike, bundle_path
from facetell.detector.verdict import Verdict
from facetell.errors import DataError
from facetell.media.cluster import check_engine
from facetell.media.frame_choice import Spread, parse
from facetell.media.walk import find_files
from facetell.media.workers import Failure
from facetell.progress import ShowProgress, callback
from facetell.settings import check_counts

if TYPE_CHECKING:
    from facetell.detector.judge import Judge

__all__ = ["detect"]


def detect(
    detector: DetectorLike,
    paths: Iterable[str | Path],
    *,
    at: str | None = None,
    prevalence: float | None = None,
    unlike: float | None = None,
    faces: str = "auto",
    frames: str = "32",
    face_model: str | None = None,
    device: str = "auto",
    runtime: str | None = None,
    annotate: str | Path | None = None,
    workers: int | None = None,
    engine: str = "local",
    progress: ShowProgress = None,
) -> Generator[Verdict, None, None]:
    """Judge files, one ``Verdict`` each, in order; a file that is broken, or breaks its reader, costs one verdict.

    Args:
        detector: a detector bundle, its name, or a loaded detector, whose operating point, prevalence and ``unlike`` hold.
        paths: files, folders (searched to the bottom, hidden files left out), and patterns such as ``inbox/*.mp4``.
        at: which of the detector's operating points decides, by default its own; ``facetell.threshold`` makes them.
        prevalence: share of fakes, in (0, 1), that the scores are meant for; decisions stay, see `Detector.load`.
        unlike: share of known faces, in [0, 1), that are called unlike all the detector knows and so unsure, see
            `Detector.load`; 0: none.
        faces: ``find`` looks for faces in pictures, ``crops`` takes each as one face crop, ``auto`` does as fits the
            detector, see `Judge`. Videos are always searched.
        frames: of a video: ``32`` (spread over time), ``2s`` (one every two seconds) or ``all``.
        face_model: another face detector than that of training: a name or an ONNX file.
        device: ``auto``, ``cpu`` or ``cuda``.
        runtime: what computes the logits: ``onnx``, ``torch`` or ``openvino``, by default what the detector is for.
        annotate: a folder for pictures of the verdicts, see `facetell.reporting.annotate`.
        workers: processes; default one per core, at most one per file. They do not change the verdicts.
        engine: ``ray`` has the nodes of a cluster judge, which must see the files, the detector and ``annotate`` by the same
            paths. It does not change the verdicts.
        progress: True shows a bar; a function is called after every file.

    Raises:
        BundleError, UsageError: before the first verdict.
        DataError: the folder ``annotate`` cannot be made. A picture in it that cannot be drawn is said in the verdict's note.
    """
    check_counts(workers=workers)
    check_engine(engine)
    choice = parse(frames)
    path = bundle_path(detector)
    if isinstance(detector, Detector):
        at, prevalence = at or detector.operating_point, prevalence or detector.prevalence
        if unlike is None and detector.known is not None:
            unlike = detector.unlike or 0.0
    how = Judging(str(path), device, at or DEFAULT, prevalence, faces, choice, face_model, unlike, runtime)
    identity, settings = identity_of(path), how.settings()
    few = isinstance(choice, Spread) and annotate is None  # a clip with boxes has all frames
    work = partial(_judge, annotated=None if annotate is None else _made(Path(annotate)))
    results = judge_files(
        how, list(find_files(paths)), work, few_frames=few, workers=workers, engine=engine, progress=callback(progress)
    )
    try:
        for file, found in results:
            verdict = failed(file, found) if isinstance(found, Failure) else found
            yield replace(verdict, detector=identity, settings=settings)
    finally:
        results.close()


def _judge(judge: Judge, path: Path, annotated: Path | None) -> Verdict:
    """In a worker: the verdict on a file, and its picture in the folder ``annotated``."""
    (verdict,) = judged(judge, [path])
    if annotated is not None and verdict.frames:
        from facetell.reporting.annotate import annotate

        try:
            verdict = replace(verdict, pictures=[drawn.name for drawn in annotate(verdict, annotated)])
        except (DataError, OSError) as error:  # costs this picture, and no verdict
            why = error.message if isinstance(error, DataError) else error.strerror or error
            said = f"no picture was drawn: {why}"
            verdict = replace(verdict, note=f"{verdict.note}; {said}" if verdict.note else said)
    return verdict


def _made(folder: Path) -> Path:
    """The folder for pictures, which is there now. Raises ``DataError``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot draw into {folder}: {error.strerror or error}", hint="give another folder") from None
    return folder
