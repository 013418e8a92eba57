"""A server of its own process, as a person starts it, with a detector that needs no torch; and clients of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from test_without_torch import SOURCE, STAND_IN

__all__ = ["Server", "crop", "served"]


class Server:
    """``url``; ``log``: its lines so far; ``client``: with its key, if there is one; ``folder``: of its temporary files;
    ``path``: where it imports from."""

    path = os.pathsep.join([str(STAND_IN), str(SOURCE)])

    def __init__(self, process: subprocess.Popen[str], log: Path, key: str | None) -> None:
        self.process, self._log, self.key, self.folder = process, log, key, log.parent
        self.url = self._address()

    def _address(self) -> str:
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            for line in self.log:
                if line["message"] == "listening":
                    return str(line["address"])
            time.sleep(0.05)
        raise AssertionError(f"no server: {self._log.read_text('utf-8')}")

    @property
    def log(self) -> list[dict[str, Any]]:
        whole = self._log.read_text("utf-8").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def client(self, key: str | None = None) -> httpx.Client:
        token = key or self.key
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def workers(self) -> list[int]:
        """Processes that judge: grandchildren, of the one that starts them."""
        return [worker for starter in _children(self.process.pid) for worker in _children(starter)]

    def stop(self, how: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(60)


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(stat.parent.name))
    return found


@contextlib.contextmanager
def served(
    folder: Path, detector: Path, *options: object, key: str | None = None, code: str | None = None
) -> Iterator[Server]:
    """A server in ``folder``, ended with the block; ``code`` that starts it, instead of the command."""
    environment = {**os.environ, "PYTHONPATH": Server.path, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
    log = folder / f"log-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "facetell", "serve", str(detector), "--port", "0", *map(str, options)]
    if code is not None:
        command = [sys.executable, "-c", code]
    with (
        log.open("w") as file,
        subprocess.Popen(command, cwd=folder, env=environment, stderr=file, text=True) as process,
    ):
        try:
            yield Server(process, log, key)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()


def crop(path: Path) -> tuple[str, bytes]:
    """As httpx takes a file."""
    return path.name, path.read_bytes()
