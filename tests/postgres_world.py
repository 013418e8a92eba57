"""A PostgreSQL of a test's own, which it may kill."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Cluster", "cluster"]


class Cluster:
    """A server of PostgreSQL with its data in ``folder``. ``address`` of its database."""

    def __init__(self, programs: Path, folder: Path, **as_user: Any) -> None:
        self._programs, self._folder, self._as_user = programs, folder, as_user
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"postgresql://postgres@127.0.0.1:{self._port}/postgres"
        words = ["initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "postgres", "--no-sync"]
        subprocess.run([programs / words[0], *words[1:]], check=True, capture_output=True, timeout=120, **as_user)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it; children of one that was killed may still be on their way out."""
        psycopg = pytest.importorskip("psycopg")
        words = ["-D", str(self._folder / "data"), "-p", str(self._port), "-h", "127.0.0.1", "-k", str(self._folder)]
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(
                    [self._programs / "postgres", *words], stderr=subprocess.DEVNULL, **self._as_user
                )
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.address, connect_timeout=2).close()
                return
            time.sleep(0.2)
        raise AssertionError("PostgreSQL does not start")

    def kill(self) -> None:
        """``kill -9``."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """One that is gone with the block; skips the test where PostgreSQL is not installed."""
    found = shutil.which("postgres")
    places = [Path(found)] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not places:
        pytest.skip("needs the server of PostgreSQL")
    folder = Path(tempfile.mkdtemp(prefix="facetell-pg-"))
    as_user: dict[str, Any] = {"cwd": folder}
    try:
        if os.geteuid() == 0:  # which PostgreSQL refuses
            shutil.chown(folder, "postgres", "postgres")
            as_user |= {"user": "postgres", "group": "postgres", "extra_groups": []}
        started = Cluster(places[-1].parent, folder, **as_user)
        try:
            yield started
        finally:
            started.kill()
    except LookupError:
        pytest.skip("root cannot run PostgreSQL, and there is no user postgres")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
