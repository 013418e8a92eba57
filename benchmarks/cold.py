"""What a first verdict costs: ``facetell detect FILE`` as a command that starts, judges one file and ends.

    python -m venv fresh && fresh/bin/pip install facetell
    python benchmarks/cold.py fresh/bin/python photo.jpg crop.jpg

Nothing is built here: PYTHON is that of an environment in which facetell is installed, the photo a picture in which a face is
looked for, the crop one that is a face. A first start of each is not counted: files then lie in the page cache, and Python's
bytecode beside its sources, which pip writes when it installs, and other installers leave to the first start. The clock's best of
the rounds is what two idle cores would give; processor time counts every process of the command and tells less of what else
runs. Memory is the largest process, and all of them together with shared pages counted once, sampled in a round of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Round:
    """One start: seconds by the clock and of all processors, MiB of the largest process."""

    wall: float
    processor: float
    largest: float


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("crop", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every start compiles all sources, twice the work
    print(f"installed: {installed(asked.python):.0f} MB; load before: {os.getloadavg()[0]:.1f}")
    print("| | wall, best (median) | processor, best (median) | largest process | all together |")
    print("| --- | --- | --- | --- | --- |")
    for name, words in {
        "`facetell --help`": ["--help"],
        "photo": ["detect", str(asked.photo)],
        "crop": ["detect", str(asked.crop), "--faces", "crops"],
    }.items():
        command = [str(asked.python), "-m", "facetell", *words]
        start(command)
        rounds = [start(command) for _ in range(asked.rounds)]
        wall, processor = ([getattr(each, what) for each in rounds] for what in ("wall", "processor"))
        print(
            f"| {name} | {min(wall):.2f} s ({statistics.median(wall):.2f}) "
            f"| {min(processor):.2f} s ({statistics.median(processor):.2f}) "
            f"| {max(each.largest for each in rounds):.0f} MiB | {together(command):.0f} MiB |"
        )


def start(command: list[str]) -> Round:
    """Run the command. What its processes used is in its own account, as it waits for them."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    if status:
        sys.exit(f"{' '.join(command)} ended with exit code {os.waitstatus_to_exitcode(status)}")
    process.returncode = 0
    return Round(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def together(command: list[str]) -> float:
    """MiB that all processes of the command take at their highest."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    most = 0
    while process.poll() is None:
        most = max(most, sum(map(proportional, members(process.pid))))
        time.sleep(0.01)
    return most / 1024


def members(group: int) -> list[Path]:
    """The processes of a group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[2]) == group:
                found.append(folder)
    return found


def proportional(process: Path) -> int:
    """KiB of a process, of a page that several share its part."""
    with contextlib.suppress(OSError):
        for line in (process / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def installed(python: Path) -> float:
    """MB of the packages that the environment holds."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    folder = Path(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip())
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


if __name__ == "__main__":
    main()
