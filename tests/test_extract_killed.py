"""`prepare` killed at random moments and started again ends with the very bytes of a run that was left alone."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from faceclips import needs_media, save_clip, walk

from facetell.ingest.crops_on_disk import Report, Workplace

needs_media()

KILLS = 20
CLIPS = 12
NURSERY = """
import os, signal, sys
import facetell.ingest.extract, facetell.ingest.prepare
from facetell.cli.main import main
from facetell.media import processes

# Forked from here, a run starts in no time: the twenty kills fall on its work and not on its imports.
processes._begin = processes._copy
source = sys.argv[1]
pid = 0
print("ready", flush=True)
for line in sys.stdin:
    word, _, out = line.strip().partition(" ")
    if word == "start":
        pid = os.fork()
        if not pid:
            os.setsid()  # a group of its own, so that its workers die with it
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            try:
                main(["prepare", source, "-o", out, "--frames", "4", "--workers", "2"])
            except SystemExit as end:
                os._exit(int(end.code or 0))
            finally:
                os._exit(1)
        print("started", flush=True)
    else:
        if word == "kill":
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # over already, or not yet a group
        _, status = os.waitpid(pid, os.WNOHANG if word == "poll" else 0)
        print("running" if not _ else os.waitstatus_to_exitcode(status), flush=True)
"""


class Nursery:
    """A process that starts runs of ``prepare`` and ends them, one at a time."""

    def __init__(self, script: Path, source: Path) -> None:
        script.write_text(NURSERY)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(script), str(source)]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._answer()
        self.over = True

    def start(self, out: Path) -> None:
        self.say(f"start {out}")
        self.over = False

    def running(self) -> bool:
        if not self.over:
            self.over = self.say("poll") != "running"
        return not self.over

    def kill(self) -> None:
        if not self.over:
            self.say("kill")
        self.over = True

    def say(self, line: str) -> str:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        return self._answer()

    def _answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


def ledger(out: Path) -> list[str]:
    """Keys of finished files, in order; a torn line is none."""
    file = out.with_name(out.name + ".partial") / "ledger.jsonl"
    keys = []
    for line in file.read_bytes().split(b"\n") if file.is_file() else ():
        try:
            keys.append(str(json.loads(line)["key"]))
        except ValueError:
            continue
    return keys


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    for seed in range(CLIPS):
        save_clip(tmp_path / "media" / ("fake" if seed % 2 else "real") / f"{seed:02d}.mp4", walk(seed))
    nursery = Nursery(tmp_path / "nursery.py", tmp_path / "media")
    with nursery.process:
        yield nursery
        nursery.kill()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, and kills a group of processes")
def test_twenty_kills(nursery: Nursery, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "faces"
    began = time.monotonic()
    nursery.start(whole)
    assert nursery.say("wait") == "0"
    seconds = time.monotonic() - began

    rng = random.Random(3)
    stages: Counter[str] = Counter()
    done = 0
    for number in range(KILLS):
        nursery.start(out)
        # A third falls anywhere; the others right after a file, so that the run goes on by little and little.
        moment = time.monotonic() + rng.uniform(0, 1.2 * seconds)
        while nursery.running() and (len(ledger(out)) <= done if number % 3 and done < CLIPS else True):
            if time.monotonic() > moment and not number % 3:
                break
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.02))
        running = nursery.running()
        nursery.kill()
        finished = ledger(out)
        done = max(done, len(finished))
        stages["at work" if running and finished else "at the start" if running else "over"] += 1
        assert len(set(finished)) == len(finished), "a finished file was worked on again"
        if out.exists():
            assert content(out) == content(whole), "there is a whole face set or none"
        if not running:  # begin anew
            shutil.rmtree(out)
            done = 0
    nursery.start(out)
    assert nursery.say("wait") == "0"
    assert content(out) == content(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces", "media", "nursery.py", "whole"]
    assert stages["at work"] >= 8, stages


def test_a_file_that_the_machine_failed_at_is_tried_again(tmp_path: Path) -> None:
    for key, error in (
        ("a", ("crashed", "out of memory")),
        ("b", ("timeout", "1 s")),
        ("d", ("no_access", "cannot be read: Input/output error")),
        ("e", ("missing", "no such file")),
        ("c", ("unreadable", "damaged")),
    ):
        Workplace(tmp_path).note(Report(key, error=error))
    assert set(Workplace(tmp_path).done()) == {"c"}
    Workplace(tmp_path).note(Report("a", frames=1))
    assert set(Workplace(tmp_path).done()) == {"a", "c"}
