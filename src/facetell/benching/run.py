"""Run a bench: what is finished is left alone, what failed is a row with its reason."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from importlib import metadata
from multiprocessing import connection
from pathlib import Path

from facetell.benching.cell import FAILURE, RESULT, Job, run_job
from facetell.benching.spec import Cell, Source, Spec, read_spec
from facetell.benching.table import write_tables
from facetell.detector.bundle import identity_of, located
from facetell.errors import DataError, FacetellError, UsageError
from facetell.faceset.table import INFO_FILE, FaceSet
from facetell.files import sha256_of
from facetell.ingest.prepare import prepare
from facetell.ingest.several import join
from facetell.media.processes import Process, start_process
from facetell.progress import Progress, ShowProgress, Step, callback
from facetell.results import BenchResult
from facetell.settings import check_counts
from facetell.threads import usable_cores

__all__ = ["bench"]

log = logging.getLogger("facetell")

_IMPORTED = ("facetell.benching.cell", "facetell.api._fit", "facetell.api._evaluate", "lightning_fabric")
"""What every cell needs, imported once for all: it takes longer than a small cell."""


def bench(
    spec: str | Path,
    out: str | Path,
    *,
    data: str | Path = ".",
    jobs: int | None = None,
    progress: ShowProgress = None,
) -> BenchResult:
    """Fit and measure every cell of a bench file and write the table to ``out``.

    ``spec``: a TOML file, or the name of one that comes along (``shipped_specs()``). ``data``: the folder that its face
    sets and weights lie in. ``jobs``: cells at a time, each in a process of its own with its share of the cores; default
    one per core, or one where there is a GPU. ``progress`` shows or is told how many cells are done, and what the running
    ones are at.

    A cell is known by all that decides it (method, settings, seed, face set, weights, the cell it starts from, version
    of facetell). A finished one is never computed again, an interrupted one goes on from its last whole epoch, a failed
    one is a row with its reason and is tried again by the next run.

    Raises ``SettingsError`` for a bench file that is wrong and ``UsageError`` when ``out`` holds something else.
    """
    check_counts(jobs=jobs)
    plan = read_spec(spec)
    out = Path(out)
    if out.exists() and any(out.iterdir()) and not (out / "cells").is_dir():
        raise UsageError(f"{out} exists and is no bench", hint="choose another folder with -o")
    (out / "cells").mkdir(parents=True, exist_ok=True)
    facesets = {name: _faceset(source, Path(data), out) for name, source in plan.sources.items()}
    queue = _Queue(plan, facesets, Path(data), out, _jobs(jobs))
    try:
        queue.run(callback(progress))
    finally:
        table = write_tables(plan, queue.jobs, queue.reasons, out)
    return BenchResult(**table, path=out)


def _jobs(wanted: int | None) -> int:
    if wanted is not None:
        return wanted
    import torch

    return 1 if torch.cuda.is_available() else usable_cores()


def _faceset(source: Source, data: Path, out: Path) -> FaceSet | str:
    """The face set of a source, prepared if it is none yet; or why there is none."""
    from facetell.ingest.extract import Extraction
    from facetell.media.frame_choice import parse

    place = data / source.path
    try:
        if (place / INFO_FILE).is_file():
            return FaceSet.open(place)
        if not place.exists():
            raise DataError(f"{place} does not exist")
        log.info("preparing %s", place)
        return prepare(
            place, out / "facesets" / source.name, layout=source.layout, options=source.options,
            extraction=Extraction(frames=parse(source.frames), largest=source.largest),
        )  # fmt: skip
    except FacetellError as error:
        log.warning("no face set '%s': %s", source.name, error.message)
        return f"no face set '{source.name}': {error.message}"


class _Queue:
    """The cells of a bench: the job of each, and why one cannot be done."""

    def __init__(self, plan: Spec, facesets: Mapping[str, FaceSet | str], data: Path, out: Path, at_once: int) -> None:
        self.facesets, self.data, self.out, self.at_once = facesets, data, out, at_once
        self.threads = max(1, usable_cores() // at_once)
        self.jobs: dict[Cell, Job] = {}
        self.reasons: dict[Cell, str] = {}
        self.keys: dict[Cell, str] = {}
        self.joined: dict[str, FaceSet] = {}
        for cell in plan.cells:
            try:
                self._add(cell)
            except FacetellError as error:
                self.reasons[cell] = error.message

    def _add(self, cell: Cell) -> None:
        if cell.start in self.reasons:
            raise DataError(f"its start failed: {self.reasons[cell.start]}")
        names = dict.fromkeys([*([cell.faceset] if cell.method else []), *(name for name, _ in cell.tests)])
        sets = {name: self._opened(name) for name in names}
        pretrained = str(cell.settings.get("pretrained", ""))
        file = self.data / pretrained
        start = sha256_of(file) if file.is_file() else identity_of(located(pretrained)) or pretrained
        known = {
            "version": metadata.version("facetell"),
            "method": cell.method,
            "settings": {**cell.settings, "pretrained": start},
            "faceset": sets[cell.faceset].fingerprint if cell.method else None,
            "split": cell.split,
            "shots": cell.shots,
            "seed": cell.seed,
            "start": self.keys[cell.start] if cell.start else None,
            "tests": [(sets[name].fingerprint, split) for name, split in cell.tests],
        }
        self.keys[cell] = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:10]
        self.jobs[cell] = Job(
            folder=self._folder(cell),
            method=cell.method,
            faceset=sets[cell.faceset].path if cell.method else Path(),
            split=cell.split,
            shots=cell.shots,
            settings={**cell.settings, "pretrained": str(file)} if file.is_file() else cell.settings,
            seed=cell.seed,
            tests=tuple((sets[name].path, split) for name, split in cell.tests),
            start=self.jobs[cell.start].detector if cell.start else None,
            threads=self.threads,
        )

    def _folder(self, cell: Cell) -> Path:
        """The cell's folder, also where it was made under another name."""
        slug = re.sub(r"[^a-z0-9.]+", "-", cell.name.lower()).strip("-")[:80]
        cells = self.out / "cells"
        return next(cells.glob(f"*-{self.keys[cell]}"), cells / f"{slug}-{self.keys[cell]}")

    def _opened(self, name: str) -> FaceSet:
        """A face set, or several (``a+b``) as one that is kept beside those that were prepared here."""
        found = [self.facesets[part] for part in name.split("+")]
        for one in found:
            if isinstance(one, str):
                raise DataError(one)
        whole = [one for one in found if isinstance(one, FaceSet)]
        if len(whole) == 1:
            return whole[0]
        if name not in self.joined:
            self.joined[name] = join(whole, self.out / "facesets" / name, overwrite=True)
        return self.joined[name]

    def run(self, progress: Progress) -> None:
        """Do all jobs that are not done, each as soon as the one it starts from is."""
        waiting = {cell: job for cell, job in self.jobs.items() if not (job.folder / RESULT).exists()}
        total = len(self.jobs)
        running: dict[Cell, Process] = {}
        said: dict[str, str] = {}
        try:
            while waiting or running:
                for cell in list(waiting):
                    if len(running) >= self.at_once:
                        break
                    if cell.start in self.reasons:
                        self.reasons[cell] = f"its start failed: {self.reasons[cell.start]}"
                        del waiting[cell]
                    elif cell.start not in waiting and cell.start not in running:
                        running[cell] = start_process(run_job, waiting[cell], preload=_IMPORTED)
                        said[cell.name] = "starting"
                        del waiting[cell]
                connection.wait([process.connection for process in running.values()], timeout=1.0)
                for cell, process in list(running.items()):
                    if _heard(process.connection, said, cell.name):
                        continue
                    del running[cell], said[cell.name]
                    self._finished(cell, process.wait())
                note = "; ".join(f"{name}: {at}" for name, at in said.items())
                progress(Step("bench", total - len(waiting) - len(running), total, "cells", note))
        finally:
            for process in running.values():
                process.end()

    def _finished(self, cell: Cell, exit_code: int | None) -> None:
        folder = self.jobs[cell].folder
        if (folder / RESULT).exists():
            return
        if (folder / FAILURE).exists():
            reason = json.loads((folder / FAILURE).read_text(encoding="utf-8"))["reason"]
        elif exit_code == -9:
            reason = "killed by the system: out of memory? (fewer --jobs)"
        else:
            reason = f"its process ended with exit code {exit_code}, see {folder / 'log.txt'}"
        self.reasons[cell] = reason
        log.warning("failed: %s: %s", cell.name, reason)


def _heard(line: connection.Connection, said: dict[str, str], name: str) -> bool:
    """Take in what a running cell says; False once it has ended."""
    try:
        while line.poll():
            said[name] = line.recv()
    except (EOFError, OSError):
        return False
    return True
