"""A server as a person starts it, over a real socket: what it answers, refuses, survives and forgets."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from conftest import Shared
from faceclips import save_clip, two_people
from schema import errors
from serving_world import Server, crop, served
from signing import self_signed
from test_judge import SCHEMA
from test_without_torch import BUNDLE, python
from toy import COUNTS, toy_source

import facetell
from facetell.cli.main import main
from facetell.errors import DataError, FacetellError, SettingsError, UsageError

pytest.importorskip("fastapi", reason="needs the extra 'serve'")

from starlette.testclient import TestClient

from facetell.serving.access import Access
from facetell.serving.app import service
from facetell.serving.settings import ServeSettings

pytestmark = pytest.mark.slow

JSON_PROBLEM = "application/problem+json"
DETECT = """
import facetell, json
print(json.dumps([verdict.as_dict() for verdict in facetell.detect("detector", {}, faces="crops")]))
"""


@pytest.fixture(scope="module")
def place(shared: Shared) -> Path:
    """A folder with pictures, and a detector that the stand-in judges for."""

    def build(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(COUNTS, "train", 40)
            toy_source(folder / "pictures")
        python(folder, "import facetell; facetell.prepare('pictures', 'faces')" + BUNDLE)

    return shared("serving", build)


@pytest.fixture(scope="module")
def pictures(place: Path) -> list[Path]:
    return sorted((place / "pictures").rglob("train-*.png"))[:6]


@pytest.fixture(scope="module")
def server(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Without keys, two workers; its temporary folder is ``tmp`` in its own."""
    folder = tmp_path_factory.mktemp("server")
    with served(folder, place / "detector", "--faces", "crops", "--workers", 2, "--max-mb", 1) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


def send(client: httpx.Client, *files: Path | tuple[str, bytes]) -> httpx.Response:
    parts = [("file", crop(file) if isinstance(file, Path) else file) for file in files]
    return client.post("/v1/verdicts", files=parts)


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, JSON_PROBLEM), answer.text
    said: dict[str, Any] = answer.json()
    assert set(said) == {"type", "title", "status", "detail", "hint"}
    assert said["status"] == status
    assert said["detail"]
    assert said["hint"]
    return said


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def metric(client: httpx.Client, name: str) -> float:
    return sum(float(line.split()[-1]) for line in client.get("/metrics").text.splitlines() if line.startswith(name))


# --- what it answers


def test_the_verdict_is_that_of_detect(place: Path, client: httpx.Client, pictures: list[Path]) -> None:
    answer = send(client, *pictures)
    assert answer.status_code == 200
    items = answer.json()["items"]
    given = [str(path) for path in pictures]
    lines = json.loads(python(place, DETECT.format(given)))
    assert len(items) == len(lines) == 6
    for item, line, path in zip(items, lines, pictures, strict=True):
        assert (item["name"], item["state"], item["problem"]) == (path.name, "done", None)
        verdict = item["verdict"]
        assert list(verdict) == list(line), "the same fields in the same order"
        assert list(errors(verdict, SCHEMA, SCHEMA)) == []
        assert verdict.pop("path") == path.name
        assert line.pop("path") == str(path)
        for stamp in ("modified", "changed"):
            del verdict["file"][stamp], line["file"][stamp]
        assert verdict == line
    assert client.get(f"/v1/verdicts/{items[0]['id']}").json() == send_again(items[0], answer)


def send_again(item: dict[str, Any], answer: httpx.Response) -> dict[str, Any]:
    """The item as the first answer had it, whatever was taken out of it since."""
    return next(each for each in answer.json()["items"] if each["id"] == item["id"])


def test_one_bad_file_among_others_costs_itself(client: httpx.Client, pictures: list[Path]) -> None:
    answer = send(client, pictures[0], ("notes.txt", b"hello"), ("half.png", pictures[1].read_bytes()[:60]))
    assert answer.status_code == 200
    good, text, half = answer.json()["items"]
    assert good["verdict"]["decision"] in ("real", "fake")
    assert (text["state"], text["problem"]["status"]) == ("failed", 415)
    assert (half["state"], half["verdict"]["status"]) == ("done", "unreadable")


def test_a_video_is_a_job(place: Path, client: httpx.Client, tmp_path: Path) -> None:
    clip = save_clip(tmp_path / "clip.mp4", two_people(3, count=12))
    answer = send(client, clip)
    assert answer.status_code == 202
    where = answer.headers["location"]
    until(lambda: client.get(where).json()["state"] not in ("queued", "running"), 120)
    item = client.get(where).json()
    assert item["state"] == "done"
    (line,) = json.loads(python(place, DETECT.format([str(clip)])))
    for name in ("status", "logit", "frames", "faces", "tracks", "seconds", "kind", "window"):
        assert item["verdict"][name] == line[name], name
    assert item["shots"] == line["frames"]
    assert client.delete(where).status_code == 204
    problem(client.get(where), 404)


def test_what_it_says_of_itself(client: httpx.Client, pictures: list[Path]) -> None:
    send(client, pictures[0])
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/ready").json() == {"status": "ready"}
    (detector,) = client.get("/v1/detectors").json()["detectors"]
    assert (detector["name"], detector["runtime"], detector["calibrated"]) == ("detector", "stand-in", True)
    said = client.get("/openapi.json").json()
    assert set(said["paths"]) == {
        "/v1/verdicts", "/v1/verdicts/{id}", "/v1/detectors", "/v1/detectors/reload", "/metrics", "/health", "/ready"
    }  # fmt: skip
    names = {
        part.rpartition("/")[2] for part in json.dumps(said).split('"') if part.startswith("#/components/schemas/")
    }
    assert names == set(said["components"]["schemas"]), "every schema is there and used"
    assert said["components"]["schemas"]["Verdict"]["required"] == SCHEMA["required"]
    assert metric(client, "facetell_verdicts_total") > 0
    assert metric(client, "facetell_workers") == 2


# --- what it refuses


def test_problems_say_the_next_step(client: httpx.Client, pictures: list[Path]) -> None:
    problem(client.get("/v1/nothing"), 404)
    assert client.put("/v1/verdicts/1").headers["allow"] == "DELETE, GET"
    problem(client.put("/v1/verdicts"), 405)
    problem(client.post("/v1/verdicts", json={"file": "x"}), 415)
    assert "picture" in problem(send(client, ("a.txt", b"hello")), 415)["detail"]
    problem(client.post("/v1/verdicts", data={"file": "x"}, files={}), 415)
    problem(client.post("/v1/verdicts", files={"a": (None, "text")}), 422)
    assert "16 files" in problem(send(client, *[pictures[0]] * 17), 422)["detail"]
    problem(send(client, ("big.png", bytes(2**20))), 413)
    form = {"content-type": "multipart/form-data; boundary=x"}
    problem(client.post("/v1/verdicts", content=b"--x\r\nbroken", headers=form), 422)
    problem(client.post("/v1/verdicts", content=b"abc", headers={"content-type": "multipart/form-data"}), 400)
    problem(client.get("/v1/verdicts/unknown"), 404)

    def parts() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        for _ in range(40):
            yield bytes(2**16)

    problem(client.post("/v1/verdicts", content=parts(), headers=form), 413)


def test_names_open_nothing_and_nothing_is_kept(server: Server, client: httpx.Client, pictures: list[Path]) -> None:
    names = ["../../../etc/passwd", "/etc/passwd", "a\tb\\c", "ü" * 300, "%00", ""]
    for name in names:
        answer = send(client, (name, pictures[0].read_bytes()))
        assert answer.status_code in (200, 422), name
    log = json.dumps(server.log)
    assert "passwd" not in log
    assert "üü" not in log
    (folder,) = server.folder.glob("facetell-serve-*")
    assert list((folder / "uploads").iterdir()) == []


def test_mutated_bodies_are_no_fault_of_the_server(client: httpx.Client, pictures: list[Path]) -> None:
    rng = random.Random(5)
    data = pictures[0].read_bytes()
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    whole = head + data + b"\r\n--x--\r\n"
    for number in range(150):
        changed = bytearray(whole[: rng.randint(1, len(whole))] if number % 3 == 0 else whole)
        for _ in range(rng.randint(1, 12)):
            changed[rng.randrange(len(changed) if number % 2 else min(len(changed), 120))] = rng.randrange(256)
        answer = client.post(
            "/v1/verdicts", content=bytes(changed), headers={"content-type": "multipart/form-data; boundary=x"}
        )
        assert answer.status_code in (200, 400, 415, 422), answer.text


def test_huge_headers_and_no_http_at_all(server: Server, client: httpx.Client) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    for said in (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 2**20, b"\0\xff" * 1000 + b"\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=30) as line:
            try:
                line.sendall(said)
                answer = line.recv(1000)
            except ConnectionError:
                answer = b""
            assert answer == b"" or answer.split()[1].startswith(b"4")
    assert client.get("/health").status_code == 200


def test_without_keys_it_answers_this_machine_alone(server: Server, client: httpx.Client, place: Path) -> None:
    problem(client.get("/v1/detectors", headers={"host": "evil.example"}), 403)
    problem(client.get("/v1/detectors", headers={"origin": "https://evil.example"}), 403)
    assert client.get("/v1/detectors", headers={"origin": server.url}).status_code == 200
    with pytest.raises(UsageError, match="there is no key in"):
        facetell.serve(place / "detector", port=0, keys=place / "none.json")
    with pytest.raises(UsageError, match="no keys are asked for"):
        facetell.serve(place / "detector", host="0.0.0.0", port=0)


# --- keys


def test_keys(place: Path, pictures: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    one = facetell.keys(file, add="one").key
    two = facetell.keys(file, add="two", scopes=["judge", "admin"]).key
    reader = facetell.keys(file, add="reader", scopes=["review"]).key
    assert one is not None
    assert two is not None
    assert file.stat().st_mode & 0o777 == 0o600
    assert all(key.encode() not in file.read_bytes() for key in (one, two))
    with pytest.raises(UsageError, match="already"):
        facetell.keys(file, add="one")
    options = ("--faces", "crops", "--workers", 1, "--keys", file, "--rate", 20)
    with served(tmp_path, place / "detector", *options, key=one) as server, server.client() as client:
        with httpx.Client(base_url=server.url) as stranger:
            assert problem(send(stranger, pictures[0]), 401)
            assert send(stranger, pictures[0]).headers["www-authenticate"] == "Bearer"
            assert stranger.get("/health").status_code == 200
        item = send(client, pictures[0]).json()["items"][0]
        assert client.get(f"/v1/verdicts/{item['id']}").status_code == 200
        with server.client(two) as other:
            problem(other.get(f"/v1/verdicts/{item['id']}"), 404)
            problem(other.delete(f"/v1/verdicts/{item['id']}"), 404)
            assert other.get("/metrics").status_code == 200
            assert other.post("/v1/detectors/reload").status_code == 200
        problem(client.get("/metrics"), 403)
        problem(client.post("/v1/detectors/reload"), 403)
        with server.client(reader) as third:
            problem(send(third, pictures[0]), 403)
        answers = [send(client, *pictures) for _ in range(5)]
        assert [answer.status_code for answer in answers[:3]] == [200, 200, 200]
        assert "20 files a minute" in problem(answers[3], 429)["detail"]
        assert 1 <= int(answers[3].headers["retry-after"]) <= 60
        whole = file.read_bytes()
        file.write_bytes(whole[:40])
        problem(client.get("/v1/detectors"), 503)
        file.write_bytes(whole.replace(b'"one"', b'"a\\u0000b"'))
        problem(client.get("/v1/detectors"), 503)
        file.write_bytes(whole)
        facetell.keys(file, remove="one")
        problem(client.get("/v1/detectors"), 401)
        log = json.dumps(server.log)
        assert one not in log
        assert two not in log
        assert {line.get("key") for line in server.log if line.get("files")} == {"one"}


# --- what it survives


def _run(place: Path, settings: str) -> str:
    """Code that serves with settings that the command has no options for."""
    return (
        "from facetell.serving.run import run; from facetell.serving.settings import ServeSettings; "
        f"from facetell.detector.many import Judging; run(Judging({str(place / 'detector')!r}, faces='crops'), "
        f"ServeSettings({settings}), host='127.0.0.1', port=0, keys=None)"
    )


def _frozen(server: Server, how: int) -> None:
    for worker in server.workers():
        os.kill(worker, how)


def test_a_full_queue_and_workers_that_are_killed(place: Path, pictures: list[Path], tmp_path: Path) -> None:
    options = ("--faces", "crops", "--workers", 1, "--queue", 2)
    with (
        served(tmp_path, place / "detector", *options) as server,
        server.client() as client,
        ThreadPoolExecutor(3) as threads,
    ):
        expected = send(client, pictures[0]).json()["items"][0]["verdict"]["logit"]
        _frozen(server, signal.SIGSTOP)
        first = threads.submit(send, client, pictures[0])
        until(lambda: metric(client, "facetell_busy_workers") == 1)
        others = [threads.submit(send, client, pictures[0]) for _ in range(2)]
        until(lambda: metric(client, "facetell_waiting_files") == 2)
        assert "2 files wait" in problem(send(client, pictures[0]), 503)["detail"]
        problem(client.get("/ready"), 503)
        _frozen(server, signal.SIGKILL)
        for answer in (first, *others):
            item = answer.result(60).json()["items"][0]
            assert item["verdict"]["logit"] == expected, "judged by the next worker"
        assert metric(client, "facetell_worker_crashes") == 1
        assert client.get("/ready").status_code == 200


def test_a_job_can_be_given_up(place: Path, pictures: list[Path], tmp_path: Path) -> None:
    clip = save_clip(tmp_path / "clip.mp4", two_people(3, count=8))
    with served(tmp_path, place / "detector", "--faces", "crops", "--workers", 1) as server, server.client() as client:
        _frozen(server, signal.SIGSTOP)
        where = send(client, clip).headers["location"]
        until(lambda: client.get(where).json()["state"] == "running")
        assert client.delete(where).status_code == 204
        assert send(client, pictures[0]).status_code == 200, "by a new worker"


def test_reloading_loses_no_request(place: Path, pictures: list[Path], tmp_path: Path) -> None:
    detector = tmp_path / "mine"
    shutil.copytree(place / "detector", detector)
    with served(tmp_path, detector, "--faces", "crops", "--workers", 1) as server, server.client() as client:
        old = client.get("/v1/detectors").json()["detectors"][0]["identity"]
        _frozen(server, signal.SIGSTOP)
        frozen = server.workers()
        with ThreadPoolExecutor(1) as threads:
            begun = threads.submit(send, client, pictures[0])
            until(lambda: metric(client, "facetell_busy_workers") == 1)
            python(
                tmp_path, f"import facetell; facetell.calibrate('mine', {str(place / 'faces')!r}, method='temperature')"
            )
            answer = client.post("/v1/detectors/reload")
            assert answer.status_code == 200
            new = answer.json()["detectors"][0]["identity"]
            assert new != old
            assert send(client, pictures[0]).json()["items"][0]["verdict"]["detector"] == new
            for worker in frozen:
                os.kill(worker, signal.SIGCONT)
            assert begun.result(60).json()["items"][0]["verdict"]["detector"] == old
        (detector / "detector.json").write_text("{}")
        assert "the old detector goes on" in problem(client.post("/v1/detectors/reload"), 422)["detail"]
        server.process.send_signal(signal.SIGHUP)
        until(lambda: any("old detector goes on" in line["message"] for line in server.log))
        assert send(client, pictures[0]).json()["items"][0]["verdict"]["detector"] == new
        shutil.rmtree(detector)
        shutil.copytree(place / "detector", detector)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: client.get("/v1/detectors").json()["detectors"][0]["identity"] == old)
        until(lambda: len(server.workers()) == 1)


def test_its_end_waits_for_what_has_begun(place: Path, pictures: list[Path], tmp_path: Path) -> None:
    with served(tmp_path, place / "detector", "--faces", "crops", "--workers", 1) as server, server.client() as client:
        workers = server.workers()
        _frozen(server, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as threads:
            begun = threads.submit(send, client, pictures[0])
            until(lambda: metric(client, "facetell_busy_workers") == 1)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            for worker in workers:
                os.kill(worker, signal.SIGCONT)
            assert begun.result(60).status_code == 200
        assert server.stop() == 0
        assert "Traceback" not in json.dumps(server.log)
        assert list(tmp_path.glob("facetell-serve-*")) == [], "its temporary folder is gone"
        assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]], ids=["SIGTERM", "Ctrl-C twice"])
def test_what_cannot_end_in_time_is_told_so(
    place: Path, pictures: list[Path], tmp_path: Path, signals: list[int]
) -> None:
    code = _run(place, "workers=1, grace_seconds=" + ("1" if len(signals) == 1 else "60"))
    with served(tmp_path, place / "detector", code=code) as server, server.client() as client:
        _frozen(server, signal.SIGSTOP)
        with ThreadPoolExecutor(2) as threads:
            begun = threads.submit(send, client, pictures[0])
            until(lambda: metric(client, "facetell_busy_workers") == 1)
            waits = threads.submit(send, client, pictures[0])
            until(lambda: metric(client, "facetell_waiting_files") == 1)
            for number in signals:
                server.process.send_signal(number)
                time.sleep(0.3)
            for answer in (begun.result(60), waits.result(60)):
                assert "going down" in problem(answer, 503)["detail"]
                assert answer.headers["retry-after"] == "60"
        server.stop()
        assert "Traceback" not in json.dumps(server.log)


def test_it_can_be_ended_while_it_loads(place: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "facetell", "serve", str(place / "detector"), "--port", "0", "--workers", "1"]
    environment = {**os.environ, "PYTHONPATH": Server.path, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: any(tmp_path.glob("facetell-serve-*/detector-1")))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    assert list(tmp_path.glob("facetell-serve-*")) == []


def test_what_a_killed_server_left_is_cleared(place: Path, pictures: list[Path], tmp_path: Path) -> None:
    options = ("--faces", "crops", "--workers", 1)
    with served(tmp_path, place / "detector", *options) as server:
        workers = server.workers()
        server.stop(signal.SIGKILL)
        (left,) = tmp_path.glob("facetell-serve-*")
        until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    with served(tmp_path, place / "detector", *options) as one, served(tmp_path, place / "detector", *options) as other:
        assert not left.exists()
        for server in (one, other):
            with server.client() as client:
                assert send(client, pictures[0]).status_code == 200


def test_slow_clients_are_given_up(place: Path, tmp_path: Path) -> None:
    code = _run(place, "workers=1, idle_seconds=1.0")
    with served(tmp_path, place / "detector", code=code) as server, server.client() as client:
        host, port = server.url.removeprefix("http://").split(":")
        begin = time.monotonic()
        lines = [socket.create_connection((host, int(port)), timeout=20) for _ in range(20)]
        head = b"POST /v1/verdicts HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        for number, line in enumerate(lines):
            line.sendall(head if number % 2 else head + b"Content-Length: 1000\r\n\r\n--x")
        assert client.get("/health").status_code == 200
        answers = [line.recv(1000) for line in lines]
        assert time.monotonic() - begin < 15
        assert all(answer == b"" for answer in answers[1::2])
        assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers[::2])
        for line in lines:
            line.close()
        with socket.create_connection((host, int(port)), timeout=20) as line:
            line.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /heal")
            answer = b""
            while more := line.recv(1000):
                answer += more
            assert answer.count(b"HTTP/1.1 200") == 1, "the second one never came"


def test_tls(place: Path, pictures: list[Path], tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    files = ("--certificate", certificate, "--private-key", key)
    with served(tmp_path, place / "detector", "--faces", "crops", "--workers", 1, *files) as server:
        assert server.url.startswith("https://127.0.0.1:")
        with httpx.Client(base_url=server.url, verify=ssl.create_default_context(cafile=certificate)) as client:
            assert send(client, pictures[0]).status_code == 200
    with pytest.raises(DataError, match="the certificate cannot be used"):
        facetell.serve(place / "detector", port=0, certificate=key, private_key=key)
    with pytest.raises(UsageError, match="private key"):
        facetell.serve(place / "detector", port=0, certificate=certificate)


def test_an_address_that_is_taken_and_a_detector_that_is_none(server: Server, place: Path) -> None:
    for detector, port in ((place / "detector", server.url.rpartition(":")[2]), (place / "pictures", "0")):
        done = subprocess.run(
            [sys.executable, "-m", "facetell", "serve", str(detector), "--port", port, "--workers", "1"],
            capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": server.path},
        )  # fmt: skip
        assert done.returncode != 0
        assert "error:" in done.stderr
        assert "Traceback" not in done.stderr


def test_requests_of_many_clients_at_once(client: httpx.Client, pictures: list[Path]) -> None:
    alone = [send(client, path).json()["items"][0]["verdict"] for path in pictures]
    found: list[tuple[int, float]] = []

    def ask(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(12):
            which = rng.randrange(len(pictures))
            found.append((which, send(client, pictures[which]).json()["items"][0]["verdict"]["logit"]))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 96
    assert all(logit == pytest.approx(alone[which]["logit"], abs=1e-4) for which, logit in found)


def test_without_a_store_no_database_is_imported(tmp_path: Path) -> None:
    said = "import sys, facetell.serving.run, facetell.serving.work; print('sqlalchemy' in sys.modules)"
    assert python(tmp_path, said).strip() == "False"


def test_nowhere_to_put_what_clients_send_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(prefix: str) -> str:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(DataError, match="no folder for what clients send: Read-only file system") as refused:
        facetell.serve("starter", port=0)
    assert refused.value.hint == "set TMPDIR to a folder that can be written"


def test_an_address_in_place_of_a_file(place: Path, tmp_path: Path, pictures: list[Path]) -> None:
    """It is refused beside a file that is judged, and alone; tests/test_fetching.py fetches."""
    options = ("--faces", "crops", "--workers", 1, "--fetch-from", "localhost")
    with served(tmp_path, place / "detector", *options) as running, running.client() as client:
        address = ("url", (None, b"http://localhost/photo.png"))
        items = client.post("/v1/verdicts", files=[("file", crop(pictures[0])), address]).json()["items"]
        assert [item["state"] for item in items] == ["done", "failed"]
        assert items[1]["problem"]["detail"] == "this address is not allowed"
        alone = client.post("/v1/verdicts", files=[address])
        assert (alone.status_code, alone.headers["content-type"]) == (422, JSON_PROBLEM)
        assert "localhost" in alone.json()["hint"]
        body = client.get("/openapi.json").json()["paths"]["/v1/verdicts"]["post"]["requestBody"]["content"]
        assert "address" in body["multipart/form-data"]["schema"]["properties"]["url"]["items"]["description"]


def test_numbers_of_drift_are_those_of_watch(place: Path, tmp_path: Path) -> None:
    files = sorted((place / "pictures").rglob("*.png"))[:24]
    options = ("--faces", "crops", "--workers", 1)
    with served(tmp_path, place / "detector", *options) as running, running.client() as client:
        assert "facetell_drift_p{" not in client.get("/metrics").text, "of nothing"
        verdicts = [
            item["verdict"] for part in (files[:12], files[12:]) for item in send(client, *part).json()["items"]
        ]
        (tmp_path / "verdicts.jsonl").write_text("".join(json.dumps(verdict) + "\n" for verdict in verdicts))
        (test,) = facetell.watch(place / "detector", [tmp_path / "verdicts.jsonl"]).whole["tests"]
        told = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
        assert float(told['facetell_drift_files{kind="face"}']) == test["n"] == 24
        assert float(told['facetell_drift_distance{kind="face"}']) == pytest.approx(test["kuiper"], abs=1e-6)
        assert float(told['facetell_drift_p{kind="face"}']) == pytest.approx(test["p"], abs=0.1)


def test_what_cannot_be_served_says_the_next_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An address of elsewhere (RFC 5737) is not one that another program has; what is no number is no limit."""
    with pytest.raises(SettingsError, match="and not nan"):
        facetell.serve(max_seconds=float("nan"))
    facetell.keys(tmp_path / "keys.json", add="me")
    with pytest.raises(FacetellError, match=r"192\.0\.2\.1:0 cannot be had") as refused:
        facetell.serve(host="192.0.2.1", port=0, keys=tmp_path / "keys.json")
    assert "an address of this machine" in (refused.value.hint or "")
    with pytest.raises(SystemExit) as stop:
        main(["keys", str(tmp_path / "none.json")])
    assert not stop.value.code
    assert "there is no key in" in capsys.readouterr().err


def test_no_answer_waits_for_an_acknowledgement(client: httpx.Client) -> None:
    """The quickest of many on one connection: where Nagle's algorithm is on, each waits 40 ms (Linux's TCP_DELACK_MIN)."""
    seconds = []
    for _ in range(40):
        begin = time.perf_counter()
        assert client.get("/health").status_code == 200
        seconds.append(time.perf_counter() - begin)
    assert min(seconds[20:]) < 0.03


def test_a_fault_of_ours_is_a_problem_too(tmp_path: Path) -> None:
    """With the number under which the log has it, and nothing of what went wrong."""
    engine = Mock(**{"current.as_dict.side_effect": RuntimeError("a secret")})
    app = service(engine, Access(None, 0), ServeSettings(), tmp_path)
    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    answer = client.get("/v1/detectors")
    assert problem(answer, 500)["hint"] == f"its log says more; request {answer.headers['x-request-id']}"
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
