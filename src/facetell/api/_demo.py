"""``demo``: the whole way on drawn faces, with no download and no data of your own."""

from __future__ import annotations

import csv
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facetell.api._evaluate import evaluate
from facetell.api._fit import fit
from facetell.drawn.folder import write_drawn_faces
from facetell.errors import UsageError
from facetell.files import alone, write_csv
from facetell.ingest.prepare import prepare
from facetell.progress import ShowProgress, callback
from facetell.results import Result

__all__ = ["DemoResult", "demo"]

log = logging.getLogger("facetell")

KNOWN, NEW = "upsampled", "blended"
BASELINE = {
    "backbone": "resnet10t",
    "pretrained": "none",
    "epochs": 8,
    "batch_size": 32,
    "lr": 2e-3,
    "averaging": 0.98,
}
"""A small network with batch norm, which learns from random weights in about a minute."""
ADAPTATION = {"epochs": 32, "lr": 2e-3, "backbone_lr": 1.0, "averaging": 0.97, "zoom": 0.05, "rotate": 2.0}
"""That network has no ImageNet knowledge to be careful with: all of it learns at its own rate."""
SIZE = 64


@dataclass(frozen=True)
class DemoResult(Result):
    """AUROC on the test people: of the baseline on the kind it knows, and on the new kind before and after."""

    known: float | None
    before: float | None
    after: float | None
    shots: int
    interval: Mapping[str, tuple[float | None, float | None]]
    report: Path


@alone("out")
def demo(
    out: str | Path,
    *,
    people: int = 360,
    shots: int = 100,
    seed: int = 0,
    settings: Mapping[str, object] | None = None,
    adaptation: Mapping[str, object] | None = None,
    progress: ShowProgress = None,
) -> DemoResult:
    """Draw faces and two kinds of forgery; learn one kind, meet the other, learn it from ``shots`` per class.

    ``settings`` change the baseline's, ``adaptation`` FDFtNet's. Everything goes to the folder ``out``; an earlier demo
    there is replaced. These are *drawn* faces: the numbers
    show that the machinery works, not how it does on photographs.
    """
    out = Path(out)
    there = [path for path in out.iterdir() if not path.name.startswith(".")] if out.is_dir() else out.exists()
    if there and not (out / "pictures" / "index.csv").is_file():
        raise UsageError(f"{out} exists and is no earlier demo", hint="choose another folder with -o")
    shutil.rmtree(out, ignore_errors=True)
    log.info("Drawing %d people (drawn faces, no photographs) and two kinds of forgery: %s, %s", people, KNOWN, NEW)
    tell = callback(progress)
    pictures = write_drawn_faces(out / "pictures", people=people, seed=seed, size=SIZE, progress=tell)
    for kind in (KNOWN, NEW):
        prepare(_index_of(pictures, kind), out / kind, seed=seed)

    watch: dict[str, Any] = {"progress": tell, "seed": seed}
    log.info("Training a baseline on %s forgeries, from random weights", KNOWN)
    fit("finetune", out / KNOWN, out / "baseline", settings={**BASELINE, **(settings or {})}, **watch)
    known = evaluate(out / "baseline", out / KNOWN, out / "report-known", seed=seed)
    before = evaluate(out / "baseline", out / NEW, out / "report-before", seed=seed)
    log.info("A new kind appears: %s. FDFtNet learns it from %d pictures per class", NEW, shots)
    start = {"pretrained": str(out / "baseline"), **ADAPTATION, **(adaptation or {})}
    fit("fdftnet", out / NEW, out / "detector", settings=start, split="finetune", shots=shots, **watch)
    after = evaluate(out / "detector", out / NEW, out / "report-after", seed=seed)
    return DemoResult(
        known=known.metrics["auroc"].value,
        before=before.metrics["auroc"].value,
        after=after.metrics["auroc"].value,
        shots=shots,
        interval={
            name: (report.metrics["auroc"].low, report.metrics["auroc"].high)
            for name, report in (("before", before), ("after", after))
        },
        report=out / "report-after" / "report.md",
    )


def _index_of(pictures: Path, kind: str) -> Path:
    """Write an index of the drawn photos and one kind of forgery beside ``index.csv``."""
    with (pictures / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] in ("drawn", kind)]
    path = pictures / f"{kind}.csv"
    write_csv(path, list(rows[0]), (row.values() for row in rows))
    return path
