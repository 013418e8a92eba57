"""Runs of the command, forked from a process that has imported all of it, and killed where a test wants it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

STEPS = ("replace", "rename", "fsync", "unlink", "rmdir", "mkdir", "truncate", "ftruncate", "utime", "link")
"""Functions of ``os`` that change what is on the disk, or that wait for it. ``_exchange`` of `facetell.files` is one too."""


@dataclass
class Run:
    """A run of the command: ``code`` once it is over, negative for a signal."""

    nursery: Nursery
    pid: int
    said: Path
    code: int | None = None

    def over(self) -> bool:
        if self.code is None:
            self.code = self.nursery.ask(do="poll", pid=self.pid)
        return self.code is not None

    def wait(self) -> int:
        if self.code is None:
            self.code = self.nursery.ask(do="wait", pid=self.pid)
        assert self.code is not None
        return self.code

    def kill(self) -> bool:
        """Kill it with its workers; whether it was at work."""
        if not self.over():
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()
        return self.code == -signal.SIGKILL


class Nursery:
    """A process that has imported everything and starts runs, several at a time. What they say is kept in ``folder``."""

    def __init__(self, folder: Path, cache: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "FACETELL_CACHE": str(cache)}
        self.folder, self.count = folder, 0
        self.process = subprocess.Popen(
            [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.process:  # which closes its input, and so ends it
            pass

    def start(self, arguments: Sequence[object], die_at: int | None = None) -> Run:
        """Start a run; with ``die_at`` it kills itself in place of that step, counted from 0."""
        self.count += 1
        said = self.folder / f"said-{self.count}"
        pid = self.ask(do="start", arguments=[str(each) for each in arguments], die_at=die_at, said=str(said))
        return Run(self, pid, said)

    def steps(self, arguments: Sequence[object]) -> list[str]:
        """What a whole run does to the disk, step by step."""
        run = self.start(arguments)
        assert run.wait() == 0, run.said.read_text()
        return run.said.with_suffix(".steps").read_text().split("\n")[:-1]

    def ask(self, **what: Any) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def _count_steps(said: Path, die_at: int | None) -> None:
    """Write every step to a file; die in place of one."""
    import facetell.files

    done = 0
    log = os.open(said.with_suffix(".steps"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def counted(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal done
            if done == die_at:
                os.killpg(0, signal.SIGKILL)
            done += 1
            os.write(log, f"{name} {' '.join(map(str, arguments))}\n".encode())
            return None if name == "fsync" else real(*arguments, **options)  # a kill loses nothing that was written

        setattr(owner, name, call)

    for name in STEPS:
        counted(os, name)
    if hasattr(facetell.files, "_exchange"):
        counted(facetell.files, "_exchange")


def _run(order: dict[str, Any]) -> None:
    """In the child: the command, and the end."""
    from facetell.cli.main import main

    os.setsid()  # a group of its own, so that its workers die with it
    said = Path(order["said"])
    opened = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(opened, 1)
    os.dup2(opened, 2)
    _count_steps(said, order["die_at"])
    code = 1
    try:
        main(order["arguments"])
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _serve() -> None:
    import importlib

    from PIL import Image

    import facetell
    from facetell.cli.main import VERBS
    from facetell.media import processes

    for verb in VERBS:
        importlib.import_module(f"facetell.cli.{verb}")
    for name in (
        "adaptation.flow", "api._fit", "api._evaluate", "api._threshold", "api._calibrate", "api._remember", "api._detect",
        "detector.runtimes.torch", "detector.judge", "faceset.decoded", "reporting.report", "ingest.prepare",
    ):  # fmt: skip
        importlib.import_module(f"facetell.{name}")
    for name in ("matplotlib.pyplot", "pyarrow.pandas_compat", "filelock", "tqdm.auto", "scipy.optimize"):
        importlib.import_module(name)
    Image.init()
    facetell.list_methods()
    # Forked from here a worker starts in no time: kills fall on the work and not on imports.
    processes._begin = processes._copy
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "start":
            pid = os.fork()
            if not pid:
                _run(order)
            answer: int | None = pid
        else:
            found, status = os.waitpid(order["pid"], os.WNOHANG if order["do"] == "poll" else 0)
            answer = os.waitstatus_to_exitcode(status) if found else None
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
