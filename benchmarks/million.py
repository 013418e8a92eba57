"""A million rows by simulation: what each step of many faces costs in processor time and memory, and what gives way first.

Crops are drawn (32x32 pixels, some 800 bytes each, all different) and the network is a stand-in that takes no time, so that
what is measured is facetell's own. Each step runs in a process of its own, after those that make its input.

    python benchmarks/million.py OUT [--rows 1000000]
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 32
FACES = 32
"""Of a clip."""


def crop(number: int) -> bytes:
    """A JPEG like no other: one of 256 drawings, with its number as a comment."""
    if not DRAWN:
        rng = np.random.default_rng(0)
        for _ in range(256):
            small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
            out = io.BytesIO()
            small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(out, "JPEG", quality=85)
            DRAWN.append(out.getvalue())
    comment = number.to_bytes(8, "big")
    return DRAWN[number % 256][:2] + b"\xff\xfe\x00\x0a" + comment + DRAWN[number % 256][2:]


DRAWN: list[bytes] = []


class StandIn:
    """A runtime whose logit is the mean of the red of a crop."""

    size = SIDE

    def logits(self, crops: np.ndarray) -> np.ndarray:
        return ((crops[..., 0].mean((1, 2)) - 127) / 32).astype(np.float32)


def index(out: Path, rows: int) -> int:
    """The table of files, before one is read."""
    listed(out, rows)
    return rows


def listed(out: Path, rows: int, each: int = 1) -> Any:
    from facetell.faceset.rows import RowBuilder

    builder = RowBuilder(out)
    for number in range(rows // each):
        name = ("real", "fake")[number % 2]
        builder.add(
            f"{name}/video-{number // FACES:06d}/{number:08d}.jpg", number % 2, f"v{number // FACES}", "drawn", ""
        )
    return builder.build()


def task(out: Path, split: str | None) -> Any:
    from facetell.ingest.assemble import Task
    from facetell.progress import silent

    return Task(out, out, 0, split, False, 4096, True, None, silent)


def ready(out: Path, rows: int) -> int:
    """`prepare` of ready crops after they were looked at: duplicates, splits, fingerprint, shards."""
    import hashlib

    from facetell.ingest.assemble import Crops, assemble

    def stream(order: np.ndarray) -> Generator[bytes, None, None]:
        yield from map(crop, order.tolist())

    digests = np.stack([np.frombuffer(hashlib.sha256(crop(n)).digest(), np.uint8) for n in range(rows)])
    sides, formats = np.full(rows, SIDE, np.int32), np.zeros(rows, np.int8)
    crops = Crops(digests, formats, sides, sides, np.ones(rows, np.bool_), [], stream)
    assemble(task(out / "faces", "test"), listed(out, rows), crops, {})
    return rows


def parts(out: Path, rows: int, each: int = FACES) -> int:
    """What `prepare` of clips leaves for each (not measured: it is finding faces that takes long)."""
    import hashlib

    import pyarrow as pa

    from facetell.ingest import crops_on_disk
    from facetell.ingest.extract import Extraction, Plan

    folder = out / f"parts-{each}"
    plan, number = Plan(listed(out, rows, each), Extraction()), 0
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "ledger.jsonl").open("w") as ledger:
        for key in plan.keys:
            images = [crop(number + face) for face in range(each)]
            number += each
            values = [{"image": image, "sha256": hashlib.sha256(image).digest(), "width": SIDE, "height": SIDE, "frame": at,
                       "time": at / 10, "box": [1.0] * 4, "landmarks": [1.0] * 10, "face_score": 0.9, "quality": 0.8,
                       "scene": 0} for at, image in enumerate(images)]  # fmt: skip
            path = crops_on_disk.part_path(folder, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            # As `new_part`, without waiting for the disk after each.
            with pa.ipc.new_file(str(path), crops_on_disk.SCHEMA) as writer:
                writer.write_batch(pa.RecordBatch.from_pylist(values, schema=crops_on_disk.SCHEMA))
            report = crops_on_disk.Report(key, "video" if each > 1 else "picture", each, each)
            ledger.write("\n" + json.dumps(asdict(report)))
    return rows


def photos(out: Path, rows: int) -> int:
    """The same of photos with a face each."""
    return parts(out, rows, 1)


def merge(out: Path, rows: int, each: int = FACES) -> int:
    """`prepare` of clips after their faces were found: the ledger, the parts, the face set."""
    from facetell.ingest.assemble import assemble
    from facetell.ingest.extract import Extraction, Plan, extract

    plan = Plan(listed(out, rows, each), Extraction())
    found, crops, account = extract(plan, out / f"parts-{each}")
    assert account["faces"] == rows, account
    assemble(task(out / f"merged-{each}", "test"), found, crops, {"crop": plan.record, "media": account})
    return rows


def merge_photos(out: Path, rows: int) -> int:
    """The same of photos with a face each."""
    return merge(out, rows, 1)


def verify(out: Path, rows: int) -> int:
    """`FaceSet.verify`: every byte, and the fingerprint."""
    from facetell.faceset.table import FaceSet

    FaceSet.open(out / "faces").verify()
    return rows


def judge_by(size: int) -> Any:
    """A detector that is the stand-in, with the calibration of starter."""
    from facetell.detector.bundle import located, read_description
    from facetell.detector.detector import Detector

    description = read_description(located("starter"))
    return Detector(StandIn(), {**description, "input": {**description["input"], "size": size}})


def score(out: Path, rows: int) -> int:
    """`Detector.predict`: decoding, scoring, the table."""
    from facetell.faceset.table import FaceSet

    assert len(judge_by(SIDE).predict(FaceSet.open(out / "faces"), "test")) == rows
    return rows


def report(out: Path, rows: int) -> int:
    """`evaluate` where the faces were decoded before: scoring, every number with its interval, the plots, the page."""
    import facetell

    assert facetell.evaluate(judge_by(SIDE), out / "faces", out / "report").counts["n"] == rows
    return rows


def score_parts(out: Path, rows: int) -> int:
    """What a node of a cluster does with its parts in `evaluate --engine ray`."""
    from facetell.detector import on_cluster
    from facetell.detector.judge import Judge
    from facetell.faceset.table import FaceSet

    judge = Judge(judge_by(SIDE))
    done = 0
    for part in on_cluster._parts(FaceSet.open(out / "faces"), "test"):
        done += len(on_cluster._judge(judge, part)[0])
    assert done == rows
    return rows


def verdicts(out: Path, rows: int) -> int:
    """`detect -o`: as many lines are written."""
    from facetell.detector.verdict import FaceVerdict, FileStamp, Verdict
    from facetell.detector.verdict_file import VerdictFile

    file = VerdictFile(out / "verdicts.jsonl")
    face = FaceVerdict(None, None, (1.0, 2.0, 3.0, 4.0), None, 0.9, 0.8, 0, 1.0, 0.7, True, None)
    for number in range(rows):
        stamp = FileStamp(20_000, 10**18 + number, 10**18 + number, "0" * 64)
        path = f"/data/inbox/video-{number // FACES:06d}/{number:08d}.jpg"
        file.add(
            Verdict(path, "fake", decision="fake", logit=1.0, score=0.7, faces=[face], file=stamp, settings="0" * 16)
        )
    file.close()
    return rows


def resume(out: Path, rows: int) -> int:
    """`detect -o` started again: what is there is found, of every file whether it was judged."""
    from facetell.detector.verdict_file import VerdictFile

    file = VerdictFile(out / "verdicts.jsonl")
    paths = [f"/data/inbox/video-{number // FACES:06d}/{number:08d}.jpg" for number in range(rows)]
    held = sum(file.holds(path, "0" * 16) for path in paths)
    assert held == rows, held
    file.close()
    return rows


STEPS: dict[str, Callable[[Path, int], int]] = {
    step.__name__: step
    for step in (index, ready, verify, score, report, score_parts, parts, merge, photos, merge_photos, verdicts, resume)
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--one", choices=STEPS, help="Run it in this process.")
    given = parser.parse_args()
    if given.one:
        began = time.process_time()
        rows = STEPS[given.one](given.out, given.rows)
        seconds = time.process_time() - began
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(f"{given.one:<14}{rows:>12,}{seconds:>10.1f}{rows / seconds:>12,.0f}{memory:>8,.0f}", flush=True)
        return
    given.out.mkdir(parents=True, exist_ok=True)
    print(f"{'step':<14}{'rows':>12}{'cpu s':>10}{'rows/cpu s':>12}{'MB':>8}", flush=True)
    for step in given.steps.split(","):
        subprocess.run(
            [sys.executable, __file__, str(given.out), "--rows", str(given.rows), "--one", step], check=False
        )


if __name__ == "__main__":
    main()
