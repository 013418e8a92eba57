"""What a server keeps of the throughput of ``detect``: requests a second and their times at 1, 8 and 32 clients.

    python benchmarks/serving.py DETECTOR FOLDER [--faces crops] [--requests 300] [--clients 1,8,32]

Sends every file of FOLDER again and again, one a request, over loopback, and before that runs ``facetell detect`` on as many
files. All on the same cores, so the clients' own work is in the numbers.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import facetell

HEADERS = {"Content-Type": "multipart/form-data; boundary=x"}
HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


def bare(detector: str, files: list[Path], count: int, faces: str) -> float:
    """Files a second of one call of ``detect``, from its first verdict on: workers are started by then."""
    with tempfile.TemporaryDirectory() as folder:
        for number, path in zip(range(count), itertools.cycle(files), strict=False):
            (Path(folder) / f"{number:05d}{path.suffix}").symlink_to(path.resolve())
        verdicts = facetell.detect(detector, [folder], faces=faces)
        next(verdicts)
        begin = time.perf_counter()
        return sum(1 for _ in verdicts) / (time.perf_counter() - begin)


def load(url: str, files: list[Path], count: int, clients: int) -> dict[str, float]:
    """``count`` requests by ``clients`` that each wait for their answer."""
    bodies = [HEAD + path.read_bytes() + b"\r\n--x--\r\n" for path in files]
    numbers, times, lock = iter(range(count)), list[float](), threading.Lock()

    def ask() -> None:
        line = http.client.HTTPConnection(url.removeprefix("http://"), timeout=300)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            begin = time.perf_counter()
            line.request("POST", "/v1/verdicts", bodies[number % len(bodies)], HEADERS)
            answer = line.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
            times.append(time.perf_counter() - begin)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p50, p95, p99 = np.percentile(times, [50, 95, 99]) * 1000
    return {"requests_s": count / (time.perf_counter() - begin), "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faces", default="auto")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--clients", default="1,8,32")
    given = parser.parse_args()
    files = sorted(path for path in given.folder.iterdir() if path.is_file())
    alone = bare(given.detector, files, given.requests, given.faces)
    print(f"detect: {alone:.1f} files/s")
    command = [sys.executable, "-m", "facetell", "serve", given.detector, "--port", "0", "--faces", given.faces]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        address = next(line["address"] for line in map(json.loads, server.stderr) if "address" in line)
        threading.Thread(target=server.stderr.read, daemon=True).start()
        for clients in map(int, given.clients.split(",")):
            found = load(address, files, given.requests, clients)
            shown = "  ".join(f"{name} {value:8.1f}" for name, value in found.items())
            print(f"{clients:3d} clients: {shown}  {found['requests_s'] / alone:.0%} of detect", flush=True)
        server.terminate()


if __name__ == "__main__":
    main()
