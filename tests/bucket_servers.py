"""Servers of this machine that speak as S3 and as Google Cloud Storage do, with a folder's files in a bucket."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextlib.contextmanager
def served(words: list[str], port: int) -> Iterator[None]:
    """A server that is told to listen at ``port``, while it does."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """``s3://`` for this process and those it starts; yields the server's address."""
    port = free_port()
    with served(["-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port), pytest.MonkeyPatch.context() as patch:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}.items():
            patch.setenv(name, value)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def gs(bucket: str) -> Iterator[str]:
    """``gs://`` with a bucket; yields the server's address."""
    port = free_port()
    code = "from gcp_storage_emulator.__main__ import main; main()"
    words = ["-c", code, "start", "--host=127.0.0.1", f"--port={port}", "--in-memory", f"--default-bucket={bucket}"]
    with served(words, port), pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"


def copy_to(files: object, folder: Path, bucket: str) -> None:
    """All files below a folder into a bucket, by ``files``: a file system of pyarrow, which is not how they are read."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            with files.open_output_stream(f"{bucket}/{path.relative_to(folder).as_posix()}") as out:  # type: ignore[attr-defined]
                out.write(path.read_bytes())
