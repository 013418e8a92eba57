"""``kill -9`` of a worker and of PostgreSQL in mid-job: what was accepted is finished or reported, labels are never lost.

Of the server itself: `test_store.test_what_a_killed_server_had_accepted_is_reported`.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from faceclips import save_clip, two_people
from postgres_world import cluster
from serving_world import served
from test_serve import metric, place, problem, send, until

pytest.importorskip("sqlalchemy", reason="needs the extra 'serve'")

__all__ = ["place"]
pytestmark = pytest.mark.slow


def test_a_worker(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    clip = save_clip(tmp_path / "clip.mp4", two_people(3, count=12))
    with served(tmp_path, place / "detector", "--workers", 1, "--store", path) as server, server.client() as client:
        for worker in server.workers():
            os.kill(worker, signal.SIGSTOP)
        (item,) = send(client, clip).json()["items"]
        until(lambda: client.get(f"/v1/verdicts/{item['id']}").json()["state"] == "running")
        for worker in server.workers():
            os.kill(worker, signal.SIGKILL)
        until(lambda: client.get(f"/v1/verdicts/{item['id']}").json()["state"] == "done", 120)
        assert metric(client, "facetell_worker_crashes_total") == 1
        server.stop()
    with closing(sqlite3.connect(path)) as read:
        assert read.execute("SELECT id, state FROM facetell_files").fetchall() == [(item["id"], "done")]


def test_postgresql(place: Path, tmp_path: Path) -> None:
    picture = sorted((place / "pictures").rglob("train-*.png"))[0]
    clip = save_clip(tmp_path / "clip.mp4", two_people(3, count=12))
    with cluster() as postgres:
        options = ("--workers", 1, "--store", postgres.address, "--keep-crops", 30)
        with served(tmp_path, place / "detector", "--faces", "crops", *options) as server, server.client() as client:
            (first,) = send(client, picture).json()["items"]
            (face,) = client.get("/v1/reviews").json()["next"]
            assert client.post("/v1/reviews", json={"face": face["face"], "label": "fake"}).status_code == 201
            for worker in server.workers():
                os.kill(worker, signal.SIGSTOP)
            (job,) = send(client, clip).json()["items"]
            postgres.kill()
            problem(send(client, picture), 503)
            problem(client.post("/v1/reviews", json={"face": face["face"], "label": "real"}), 503)
            for worker in server.workers():
                os.kill(worker, signal.SIGCONT)
            until(lambda: client.get(f"/v1/verdicts/{job['id']}").json()["state"] == "done", 120)
            until(lambda: client.get("/ready").status_code == 503)
            assert client.get("/health").status_code == 200
            postgres.start()
            until(lambda: client.get("/ready").status_code == 200, 60)
            (later,) = send(client, picture).json()["items"]
            server.stop()
        with served(tmp_path, place / "detector", "--faces", "crops", *options) as server, server.client() as client:
            for item in (first, job, later):
                assert client.get(f"/v1/verdicts/{item['id']}").json()["state"] == "done"
            standing = client.get("/v1/reviews", params={"count": 20}).json()
            assert face["face"] not in [each["face"] for each in standing["next"]], "it has its label"
