"""Finds the faces in photos and videos and cuts them out, several files at a time.

A file that crashes its worker process only costs that file, and an interrupted run continues where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.buckets import place
from facetell.errors import DataError, MediaError
from facetell.faces.finding import FaceFinder, Finding, FoundFace, Shot
from facetell.faces.load import load_face_detector
from facetell.faceset.rows import RowBuilder, Rows, Skipped
from facetell.faceset.splits import SPLITS
from facetell.files import write_error
from facetell.ingest.assemble import Crops
from facetell.ingest.crops_on_disk import (
    COLUMNS,
    GO_ON,
    Report,
    Workplace,
    new_part,
    part_path,
    read_images,
    read_tables,
)
from facetell.media.at_hand import at_hand
from facetell.media.cluster import cluster_map
from facetell.media.frame_choice import Choice, Spread
from facetell.media.limits import Limits
from facetell.media.workers import Failure, guarded_map, seconds_for
from facetell.pixels.encode import encode
from facetell.pixels.opening import FORMATS
from facetell.progress import Progress, Step, silent
from facetell.threads import usable_cores

__all__ = ["Extraction", "Plan", "extract"]


@dataclass(frozen=True)
class Extraction:
    """What is taken out of photos and videos.

    Attributes:
        finding: how faces are found and cut.
        frames: which frames of a video.
        jpeg: quality 1..100 of the stored crops, the same for real and fake; None: lossless (PNG).
        largest: only the largest usable face of each frame, for data sets where bystanders carry the video's label.
        limits: upper bounds for one video.
    """

    finding: Finding = field(default_factory=Finding)
    frames: Choice = field(default_factory=lambda: Spread(32))
    jpeg: int | None = None
    largest: bool = False
    limits: Limits = field(default_factory=Limits)


class Plan:
    """The files to search and the settings to do it with; ``key`` is a hash of both, ``keys`` one for each file."""

    def __init__(self, rows: Rows, extraction: Extraction) -> None:
        self.rows = rows
        self.extraction = extraction
        found = extraction.finding.as_dict(load_face_detector(extraction.finding.model))
        self.record: dict[str, Any] = {
            **found,
            "frames": str(extraction.frames),
            "jpeg": extraction.jpeg,
            "largest": extraction.largest,
        }
        settings = json.dumps([self.record, repr(extraction.limits)], sort_keys=True)
        self.keys = [self._key(row, settings) for row in range(len(rows))]
        said = hashlib.sha256()
        for row, key in enumerate(self.keys):
            line = (
                key,
                int(rows.labels[row]),
                int(rows.splits[row]),
                rows.group_name(int(rows.groups[row])),
                rows.source_names[rows.sources[row]],
            )
            said.update(repr(line).encode())
        self.key = said.hexdigest()

    def _key(self, row: int, settings: str) -> str:
        try:
            status = self.rows.full_path(row).stat()
            stamp = (status.st_size, status.st_mtime_ns)
        except OSError:
            stamp = (-1, -1)
        return hashlib.sha256(repr((self.rows.path(row), stamp, settings)).encode()).hexdigest()[:32]


def extract(
    plan: Plan, folder: Path, *, workers: int | None = None, engine: str = "local", progress: Progress = silent
) -> tuple[Rows, Crops, dict[str, Any]]:
    """Find and cut the faces in all files of ``plan``, but for files that an earlier run in ``folder`` has finished.

    Returns:
        One row for each crop, the crops, and the numbers of files, frames and faces for ``faceset.json``. ``workers``,
        ``engine`` (`ENGINES`) and interruptions do not change the result. ``folder`` must stay until the crops are written.

    Raises:
        DataError: the disk is full, or not one that the nodes of a cluster share.
    """
    workplace = Workplace(folder)
    done = workplace.done()
    rows, extraction = plan.rows, plan.extraction
    left = [row for row, key in enumerate(plan.keys) if key not in done]
    jobs = (_Job(str(rows.full_path(row)), plan.keys[row], str(folder)) for row in left)
    progress(Step("finding faces", len(rows) - len(left), len(rows), "files"))
    start: dict[str, Any] = {"initializer": _start_worker, "initargs": (extraction,)}
    few = isinstance(extraction.frames, Spread)

    def seconds(job: _Job) -> float:
        return seconds_for(place(job.path), few_frames=few)

    results = (
        cluster_map(_work, jobs, workers, seconds, **start)
        if engine == "ray"
        else guarded_map(_work, jobs, workers or usable_cores(), seconds, **start)
    )
    try:
        for number, (job, result) in enumerate(results, start=len(rows) - len(left) + 1):
            report = Report(job.key, error=(result.reason, result.detail)) if isinstance(result, Failure) else result
            if report.faces and not part_path(folder, job.key).is_file():
                raise DataError(f"{folder} is not seen by all nodes", hint="put the face set on a disk they share")
            workplace.note(report)
            done[job.key] = report
            progress(Step("finding faces", number, len(rows), "files"))
    except OSError as error:
        raise write_error(folder, error, GO_ON) from None
    finally:
        results.close()
    return _crops(plan, folder, [done[key] for key in plan.keys])


@dataclass(frozen=True)
class _Job:
    path: str
    key: str
    folder: str


class _Worker:
    """What a worker process keeps between files, so that the face detector is loaded once."""

    finder: FaceFinder
    extraction: Extraction


def _start_worker(extraction: Extraction) -> None:
    _Worker.extraction = extraction
    _Worker.finder = FaceFinder(extraction.finding, extraction.frames, extraction.limits)


def _work(job: _Job) -> Report:
    """Find and store the faces of one file; runs in a worker process."""
    report = Report(job.key)
    try:
        with new_part(part_path(Path(job.folder), job.key)) as part, at_hand(place(job.path)) as path:
            reading = _Worker.finder.read(path)
            report.kind = reading.kind
            for shot in reading:
                report.frames += 1
                for found in _chosen(shot, report):
                    part.add(_row(shot, found))
    except MediaError as error:
        return Report(job.key, kind=report.kind, frames=report.frames, error=(error.reason, error.message))
    report.missing, report.note, report.faces = reading.missing, reading.note, part.rows
    return report


def _chosen(shot: Shot, report: Report) -> Iterator[FoundFace]:
    """The faces of a frame that are kept; the reasons for leaving out the others go into the report."""
    where = "" if shot.time is None else f"frame {shot.index} at {shot.time:.2f} s: "
    if not shot.faces:
        report.skips.append(("no_face", f"{where}no face found"))
    usable = [found for found in shot.faces if found.reason is None]
    kept = usable
    if _Worker.extraction.largest and usable:
        kept = [max(usable, key=lambda found: (max(found.face.box[2:]), found.face.score))]
    for found in shot.faces:
        if not any(found is one for one in kept):
            left, top, width, height = (round(value) for value in found.face.box)
            said = (
                f"face of {width}x{height} at {left},{top}, score {found.face.score:.2f}, quality {found.quality:.2f}"
            )
            report.skips.append((found.reason or "not_largest", f"{where}{said}"))
    yield from kept


def _row(shot: Shot, found: FoundFace) -> dict[str, Any]:
    image = encode(found.crop, _Worker.extraction.jpeg)
    return {
        "image": image,
        "sha256": hashlib.sha256(image).digest(),
        "width": found.crop.shape[1],
        "height": found.crop.shape[0],
        "frame": None if shot.time is None else shot.index,
        "time": shot.time,
        "box": list(found.face.box),
        "landmarks": [value for point in found.face.landmarks for value in point],
        "face_score": found.face.score,
        "quality": found.quality,
        "scene": None if shot.time is None else shot.scene,
    }


def _crops(plan: Plan, folder: Path, reports: list[Report]) -> tuple[Rows, Crops, dict[str, Any]]:
    """Read what was stored of all files, without the pictures: rows in the order of files, frames and faces."""
    rows = plan.rows
    builder = RowBuilder(rows.root)
    skipped = list(rows.skipped)
    for row, report in enumerate(reports):
        path = rows.path(row)
        skipped.extend(_skips(path, report))
        if not report.faces:
            continue
        code = int(rows.groups[row])
        group = rows.named_groups[code] if code < len(rows.named_groups) else None
        split = SPLITS[rows.splits[row]] if rows.splits[row] >= 0 else ""
        for _ in range(report.faces):
            builder.add(path, int(rows.labels[row]), group, rows.source_names[rows.sources[row]], split)
    counts = np.array([report.faces for report in reports], dtype=np.int64)
    part_of_row = np.repeat(np.arange(len(reports)), counts)
    first_of_part = np.cumsum(counts) - counts

    def stream(order: NDArray[np.int64]) -> Generator[bytes, None, None]:
        return read_images(
            (part_path(folder, reports[part_of_row[row]].key), int(row - first_of_part[part_of_row[row]]))
            for row in order
        )

    whole = read_tables(part_path(folder, report.key) for report in reports if report.faces)
    total = int(counts.sum())
    code = FORMATS.index("PNG" if plan.extraction.jpeg is None else "JPEG")
    crops = Crops(
        digests=np.frombuffer(b"".join(whole["sha256"].to_pylist()), dtype=np.uint8).reshape(total, 32),
        formats=np.full(total, code, dtype=np.int8),
        widths=whole["width"].to_numpy(),
        heights=whole["height"].to_numpy(),
        usable=np.ones(total, dtype=np.bool_),
        skipped=skipped,
        stream=stream,
        columns={name: whole[name].combine_chunks() for name in COLUMNS},
    )
    return builder.build(), crops, _account(reports)


def _skips(path: str, report: Report) -> Iterator[Skipped]:
    """The lines of ``skipped.csv`` about one file."""
    if report.error is not None:
        yield Skipped(path, *report.error)
    if report.missing:
        yield Skipped(path, "truncated", f"{report.missing}; what is there was used")
    for reason, detail in report.skips:
        yield Skipped(path, reason, detail)


def _account(reports: list[Report]) -> dict[str, Any]:
    """Numbers over all files; files with faces, without faces and unusable ones add up to all files."""
    unusable = Counter(report.error[0] for report in reports if report.error)
    return {
        "files": len(reports),
        "pictures": sum(report.kind == "picture" for report in reports),
        "videos": sum(report.kind == "video" for report in reports),
        "with_faces": sum(report.faces > 0 for report in reports),
        "without_faces": sum(not report.faces and not report.error for report in reports),
        "unusable": dict(sorted(unusable.items())),
        "truncated": sum(bool(report.missing) for report in reports),
        "notes": dict(sorted(Counter(report.note for report in reports if report.note).items())),
        "frames": sum(report.frames for report in reports),
        "faces": sum(report.faces for report in reports),
    }
