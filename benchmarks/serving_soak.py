"""A server under what it must survive: clients, killed workers, malformed uploads and reloads, for as long as one likes.

    python benchmarks/serving_soak.py DETECTOR FOLDER [--clip CLIP] [--faces crops] [--minutes 30] [--every 60]

Every answer must be the verdict that the file had at first, or a refusal that the description names, and every accepted job
must end. Prints the server's resident memory as it goes, and its slope over the second half.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def resident(pid: int) -> float:
    """MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def logit_of(answer: httpx.Response) -> float:
    assert answer.status_code == 200, answer.text
    found = answer.json()["items"][0]["verdict"]
    return float("nan") if found["logit"] is None else float(found["logit"])


class Clients:
    """Ask until ``end``, and count what came."""

    def __init__(self, url: str, files: list[tuple[str, bytes]], end: float) -> None:
        self.url, self.files, self.end = url, files, end
        self.counts: collections.Counter[str] = collections.Counter()
        with httpx.Client(base_url=url, timeout=120) as client:
            self.expected = [logit_of(client.post("/v1/verdicts", files={"file": file})) for file in files]

    def good(self, seed: int) -> None:
        rng = random.Random(seed)
        with httpx.Client(base_url=self.url, timeout=120) as client:
            while time.monotonic() < self.end:
                which = rng.randrange(len(self.files))
                found = logit_of(client.post("/v1/verdicts", files={"file": self.files[which]}))
                same = np.isclose(found, self.expected[which], atol=1e-3, equal_nan=True)
                self.counts["right" if same else "wrong"] += 1

    def jobs(self, clip: Path) -> None:
        """One video after the other, each until it has ended; one in four is given up half way."""
        rng, expected = random.Random(0), None
        with httpx.Client(base_url=self.url, timeout=120) as client:
            while time.monotonic() < self.end:
                answer = client.post("/v1/verdicts", files={"file": (clip.name, clip.read_bytes())})
                assert answer.status_code == 202, answer.text
                item = answer.json()["items"][0]
                self.counts["jobs accepted"] += 1
                if rng.random() < 0.25:
                    time.sleep(rng.random())
                    assert client.delete(f"/v1/verdicts/{item['id']}").status_code == 204
                    self.counts["jobs given up"] += 1
                    continue
                while item["state"] in ("queued", "running"):
                    time.sleep(0.2)
                    item = client.get(f"/v1/verdicts/{item['id']}").raise_for_status().json()
                verdict = item["verdict"] or {"status": item["state"], "logit": None}
                found = verdict["logit"]
                expected = found if expected is None else expected
                wrong = found is not None and not np.isclose(found, expected, atol=1e-3)
                self.counts[f"jobs {'wrong' if wrong else 'right' if found is not None else verdict['status']}"] += 1

    def bad(self) -> None:
        rng = random.Random(0)
        with httpx.Client(base_url=self.url, timeout=120) as client:
            while time.monotonic() < self.end:
                data = bytearray(rng.choice(self.files)[1])
                for _ in range(rng.randint(1, 30)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                file = "a", bytes(data[: rng.randint(1, len(data))])
                status = client.post("/v1/verdicts", files={"file": file}).status_code
                self.counts[f"malformed: {status}"] += 1
                time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clip", type=Path, help="a video that one more client sends again and again")
    parser.add_argument("--faces", default="auto")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument(
        "--every", type=float, default=60, help="seconds between kills, reloads and looks at the memory"
    )
    given = parser.parse_args()
    files = [(path.name, path.read_bytes()) for path in sorted(given.folder.iterdir())][:20]
    command = [sys.executable, "-m", "facetell", "serve", given.detector, "--port", "0", "--faces", given.faces]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        url = next(line["address"] for line in map(json.loads, server.stderr) if "address" in line)
        threading.Thread(target=server.stderr.read, daemon=True).start()
        clients = Clients(url, files, time.monotonic() + 60 * given.minutes)
        threads = [threading.Thread(target=clients.good, args=(seed,)) for seed in range(4)]
        threads.append(threading.Thread(target=clients.bad))
        if given.clip:
            threads.append(threading.Thread(target=clients.jobs, args=(given.clip,)))
        for thread in threads:
            thread.start()
        memory: list[float] = []
        while time.monotonic() < clients.end:
            time.sleep(given.every)
            workers = [worker for starter in children(server.pid) for worker in children(starter)]
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(random.choice(workers), signal.SIGKILL)
            server.send_signal(signal.SIGHUP)
            memory.append(resident(server.pid))
            print(f"{len(memory) * given.every:6.0f} s  {memory[-1]:7.1f} MB  {dict(clients.counts)}", flush=True)
        for thread in threads:
            thread.join()
        half = memory[len(memory) // 2 :]
        slope = np.polyfit(np.arange(len(half)) * given.every / 60, half, 1)[0] if len(half) > 1 else float("nan")
        print(f"slope over the second half: {slope:+.2f} MB a minute; {dict(clients.counts)}")
        server.terminate()
        server.wait(60)


if __name__ == "__main__":
    main()
