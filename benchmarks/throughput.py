"""`detect` against the bare sum of its parts, against itself on torch, and against the path of DeepfakeBench.

    python benchmarks/throughput.py --photos FOLDER... --crops FOLDER... --clips FOLDER...
    uv run --with dlib python benchmarks/throughput.py … --slow deepfakebench

A side is a command that starts, judges files with a process on each core, and ends; sides take turns. What it takes with a
tiny picture for each core, its start, is taken off and told apart. Of each kind files are drawn with seed 0, again and again
where there are fewer than asked for. Processor time is that of all processes of the command: on a machine that others use as
well it tells more than the clock.

- ``facetell``: ``facetell detect starter``.
- ``bare``: `bare.py`, its parts without what is around them; ``sessions``: of that, decoding and the two sessions alone.
- ``torch``: ``facetell detect starter --runtime torch``.
- ``deepfakebench``: `deepfakebench.py`, dlib's faces and Xception on torch.

The two slow sides get every `EVERY`-th file, and facetell the same ones once more.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from facetell.threads import usable_cores

COUNTS = {"photos": 1000, "crops": 10_000, "clips": 10}
EVERY = {"photos": 10, "crops": 20, "clips": 1}


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock and of all processors."""

    wall: float = 0.0
    processor: float = 0.0

    def plus(self, other: Cost, times: float = 1) -> Cost:
        return Cost(self.wall + times * other.wall, self.processor + times * other.processor)

    def times(self, share: float) -> Cost:
        return Cost(share * self.wall, share * self.processor)


@dataclass(frozen=True)
class Found:
    """Faces, and the share of its time that a bare side spends within decoding and sessions."""

    faces: int = 0
    within: float = 0.0

    def plus(self, other: Found) -> Found:
        faces = self.faces + other.faces
        share = (self.within * self.faces + other.within * other.faces) / faces if faces else 0.0
        return Found(faces, share)


def main() -> None:
    """Measure the kinds that are given, and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind, count in COUNTS.items():
        parser.add_argument(f"--{kind}", type=Path, nargs="+", metavar="FOLDER", help=f"{count:,} of them are judged")
    parser.add_argument("--share", type=float, default=1.0, help="of these numbers, for a quick look")
    parser.add_argument("--rounds", type=int, default=4, help="turns in which all files of a kind are judged once")
    parser.add_argument("--slow", choices=("torch", "deepfakebench"), nargs="*", default=["torch"])
    asked = parser.parse_args()
    for kind, count in COUNTS.items():
        if folders := getattr(asked, kind):
            compare(kind, _drawn(folders, max(asked.rounds, int(count * asked.share))), asked.rounds, asked.slow)


def _drawn(folders: list[Path], count: int) -> list[Path]:
    files = sorted(file for folder in folders for file in folder.rglob("*") if file.suffix in (".jpg", ".png", ".mp4"))
    random.Random(0).shuffle(files)
    return (files * (count // len(files) + 1))[:count]


def compare(kind: str, files: list[Path], rounds: int, slow: list[str]) -> None:
    """Print what a file costs each side."""
    with tempfile.TemporaryDirectory(prefix="facetell-") as name:
        folder = Path(name)
        tiny = folder / "tiny"
        tiny.mkdir()
        for core in range(usable_cores()):
            Image.new("RGB", (64, 64)).save(tiny / f"{core}.png")
        print(f"\n{len(files):,} {kind}, {len(set(files)):,} of them different; load {os.getloadavg()[0]:.1f}\n")
        print(
            "| | files | faces | start | a file | by the clock | facetell's rate over it | by the clock |\n"
            + "| --- " * 8
            + "|"
        )
        parts = [_linked(files[at::rounds], folder / f"part-{at}") for at in range(rounds)]
        _turns(["facetell", "bare"], kind, parts, tiny)
        if slow:
            _turns(["facetell", *slow], kind, [_linked(files[:: EVERY[kind]], folder / "some")], tiny)


def _linked(files: list[Path], folder: Path) -> Path:
    folder.mkdir()
    for number, file in enumerate(files):
        (folder / f"{number:05}{file.suffix}").symlink_to(file.resolve())
    return folder


def _turns(sides: list[str], kind: str, parts: list[Path], tiny: Path) -> None:
    """Have each side judge each part in turn, and print rows: seconds of processor time, and of the clock."""
    number = sum(len(list(part.iterdir())) for part in parts)
    starts, whole = dict.fromkeys(sides, Cost()), dict.fromkeys(sides, Cost())
    found = dict.fromkeys(sides, Found())
    for side in sides:
        _run(side, kind, tiny)  # reads all from the disk, and may compile Python's sources
    for part in parts:
        for side in sides:
            start, _ = _run(side, kind, tiny)
            cost, said = _run(side, kind, part)
            starts[side] = starts[side].plus(start)
            whole[side] = whole[side].plus(cost).plus(start, -1)
            found[side] = found[side].plus(said)
    ours = whole["facetell"]
    for side in sides:
        rows = {side: whole[side]}
        if side == "bare":
            rows["sessions"] = whole[side].times(found[side].within)
        for row, cost in rows.items():
            print(
                f"| {row} | {number:,} | {found[side].faces:,} | {starts[side].processor / len(parts):.2f} s "
                f"| {1000 * cost.processor / number:.1f} ms | {1000 * cost.wall / number:.1f} ms "
                f"| {cost.processor / ours.processor:.2f} | {cost.wall / ours.wall:.2f} |",
                flush=True,
            )


def _run(side: str, kind: str, folder: Path) -> tuple[Cost, Found]:
    """The command of a side, and what it says: a line for each file of facetell, one in all of the others."""
    command = [sys.executable, str(Path(__file__).with_name(f"{side}.py")), kind, str(folder)]
    if side in ("facetell", "torch"):
        command = [sys.executable, "-m", "facetell", "detect", "starter", str(folder), "--json"]
        command += ["--faces", "crops" if kind == "crops" else "find"]
        command += ["--runtime", "torch"] if side == "torch" else []
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as out:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        cost = Cost(time.perf_counter() - began, used.ru_utime + used.ru_stime)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 6):  # 6: files without a face
            sys.exit(f"{' '.join(command)} ended with exit code {process.returncode}")
        out.seek(0)
        said = [json.loads(line) for line in out]
    if side in ("facetell", "torch"):
        return cost, Found(sum(len(verdict["faces"]) for verdict in said), 0.0)
    return cost, Found(**said[0])


if __name__ == "__main__":
    main()
