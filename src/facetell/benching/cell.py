"""One cell of a bench, in a process of its own: fitted, measured, and its result kept."""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from facetell.errors import FacetellError
from facetell.files import locked, write_text

__all__ = ["Job", "peak_memory", "run_job"]

RESULT, FAILURE, LOG = "result.json", "failure.json", "log.txt"


@dataclass(frozen=True)
class Job:
    """A cell with its paths: what a process needs to know. ``start``: the detector to begin with, or to measure as it is."""

    folder: Path
    method: str | None
    faceset: Path
    split: str
    shots: int | None
    settings: Mapping[str, object]
    seed: int
    tests: tuple[tuple[Path, str], ...]
    start: Path | None
    threads: int

    @property
    def detector(self) -> Path:
        """Where the cell's detector lies."""
        return self.folder / "detector" if self.method else self.start  # type: ignore[return-value]

    def report(self, number: int) -> Path:
        """Where the report on test ``number`` lies."""
        return self.folder / f"report-{number}"


def run_job(line: Connection, job: Job) -> None:
    """Do the job. ``result.json`` or ``failure.json`` in its folder says how it ended; ``line`` is told where it is."""
    job.folder.mkdir(parents=True, exist_ok=True)
    with locked(job.folder):  # a second bench over the same folder waits here, and finds it done
        if (job.folder / RESULT).exists():
            return
        log = os.open(job.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
        try:
            (job.folder / FAILURE).unlink(missing_ok=True)
            result = _work(job, _Teller(line))
        except Exception as error:
            traceback.print_exc()
            reason = error.message if isinstance(error, FacetellError) else f"{type(error).__name__}: {error}"
            write_text(job.folder / FAILURE, json.dumps({"reason": reason}, indent=2))
        else:
            write_text(job.folder / RESULT, json.dumps(result, indent=2))


def _work(job: Job, tell: Callable[[str], None]) -> dict[str, Any]:
    import torch

    from facetell.allocator import tune_allocator
    from facetell.api._evaluate import evaluate
    from facetell.api._fit import fit
    from facetell.detector.detector import Detector
    from facetell.training.run import CHECKPOINT

    tune_allocator()
    torch.set_num_threads(job.threads)
    result: dict[str, Any] = {}
    if job.method and not job.detector.exists():
        partial = job.detector.with_name(job.detector.name + ".partial")
        resumed = (partial / CHECKPOINT).exists()
        began = time.perf_counter()
        settings = {**job.settings, **({"pretrained": str(job.start)} if job.start else {})}
        fit(
            job.method, job.faceset, job.detector, settings=settings, split=job.split, shots=job.shots, seed=job.seed,
            resume=True, progress=lambda step: tell(step.note or step.what),
        )  # fmt: skip
        result["fit_seconds"] = None if resumed else time.perf_counter() - began
        write_text(job.folder / "fit.json", json.dumps(result, indent=2))
    elif job.method:
        result |= json.loads((job.folder / "fit.json").read_text()) if (job.folder / "fit.json").exists() else {}
    tell("measuring")
    began = time.perf_counter()
    # Torch finds vectors in the cache; no pass for known faces either.
    detector = Detector.load(job.detector, unlike=0, runtime="torch")
    for number, (faceset, split) in enumerate(job.tests):
        shutil.rmtree(job.report(number), ignore_errors=True)
        evaluate(detector, faceset, job.report(number), split=split)
    result["measure_seconds"] = time.perf_counter() - began
    result["peak_bytes"] = peak_memory()
    result["gpu_peak_bytes"] = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return result


class _Teller:
    """Tells the bench where a cell is, at most once a second."""

    def __init__(self, line: Connection) -> None:
        self.line = line
        self.last = 0.0

    def __call__(self, text: str) -> None:
        if time.monotonic() - self.last >= 1.0:
            self.last = time.monotonic()
            try:
                self.line.send(text)
            except OSError:  # the bench is gone: stop as it would have stopped this
                raise KeyboardInterrupt from None


def peak_memory() -> int:
    """Most resident memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: getrusage would count the parent's memory too
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
