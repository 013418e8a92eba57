"""How long `facetell adapt` takes from 50 samples to a checked, saved detector, and where the time goes.

    python benchmarks/monday.py DETECTOR FAKES REALS --shots 50

DETECTOR has a replay buffer (`facetell remember`). The command is run as a user types it, in a process of its own, twice: the
second time the pictures are decoded already. Then once in this process, with the time of each part.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from facetell.errors import AcceptanceError


def command(detector: Path, fakes: Path, reals: Path, shots: int, seed: int) -> tuple[float, int]:
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["adapt", detector, "--fake", fakes, "--real", reals, "--shots", shots, "--seed", seed]
        line = [sys.executable, "-c", "from facetell.cli.main import main; main()", *map(str, arguments)]
        began = time.perf_counter()
        ended = subprocess.run([*line, "-o", f"{folder}/new"], capture_output=True, check=False)
        return time.perf_counter() - began, ended.returncode


def parts(detector: Path, fakes: Path, reals: Path, shots: int, seed: int) -> dict[str, float]:
    """Seconds of importing, of reading and decoding, of each strategy in the race, and of the rest."""
    spent: dict[str, float] = defaultdict(float)
    last = [time.perf_counter(), "importing"]

    def tick(name: str) -> None:
        now = time.perf_counter()
        spent[str(last[1])] += now - float(last[0])
        last[:] = [now, name]

    from facetell.api import adapt

    tick("reading, decoding, old logits")
    with tempfile.TemporaryDirectory() as folder:
        try:
            adapt(
                detector, f"{folder}/new", fake=fakes, real=reals, shots=shots, seed=seed,
                progress=lambda step: tick(f"{step.what} {step.note}") if step.what == "trying" else None,
            )  # fmt: skip
        except AcceptanceError as refused:
            print(f"refused: {refused.message}")
        tick("")
    return dict(spent)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("detector", "fakes", "reals"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--shots", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    where = (given.detector, given.fakes, given.reals, given.shots, given.seed)
    for run in (1, 2):
        seconds, code = command(*where)
        print(f"whole command, run {run}: {seconds:.1f} s, exit code {code}")
    found = parts(*where)
    for name, seconds in found.items():
        print(f"  {seconds:6.1f} s  {name}")
