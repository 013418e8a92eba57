"""Addresses in place of files: fetched from where the operator allows, and never from within the network."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any
from unittest.mock import Mock

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

import facetell
from facetell.errors import SettingsError
from facetell.serving import fetching
from facetell.serving.access import Access
from facetell.serving.app import service
from facetell.serving.fetching import Fetcher, is_outside
from facetell.serving.problems import Problem
from facetell.serving.settings import ServeSettings
from facetell.serving.uploads import receive

PICTURE = bytes(range(256)) * 40
INSIDE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "2002:7f00:1::", "2002:c0a8:101::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1", "fec0::1", "::127.0.0.1", "::8.8.8.8", "::ffff:0:127.0.0.1", "5f00::1",
]  # fmt: skip
"""RFC 6890 and its like; IPv4 within IPv6: RFC 4291, 3056, 6052, 8215, 2765;
site-local: RFC 3879."""
OUTSIDE = ["8.8.8.8", "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", INSIDE)
def test_inside(address: str) -> None:
    assert not is_outside(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_outside(address: str) -> None:
    assert is_outside(address)


class Site(BaseHTTPRequestHandler):
    asked: list[str]
    busy: list[int]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/wait"):
            self.wait()
            return
        if self.path == "/slow":
            self.drip()
            return
        status = {"/photo.png": 200, "/large.png": 200, "/away": 302}.get(self.path, 404)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/photo.png")
        self.end_headers()
        if status == 200:
            self.wfile.write(PICTURE * (1 if self.path == "/photo.png" else 100))

    def wait(self) -> None:
        """The end of the path, later; how many others were asked for meanwhile."""
        time.sleep(0.3)
        self.busy.append(sum(thread.name.startswith("facetell-fetch") for thread in threading.enumerate()))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path[-1].encode())

    def drip(self) -> None:
        """A header that does not end, a byte at a time."""
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            for _ in range(100):
                self.wfile.write(b"x")
                time.sleep(0.1)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Site]]:
    """A site on this machine at http://localhost, whose port counts as the usual one."""
    handler = type("Handler", (Site,), {"asked": [], "busy": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setitem(fetching._PORTS, "http", server.server_port)
        port = server.server_port
        real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda _, __, *rest, **more: real("127.0.0.1", port, *rest, **more))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield handler
        server.shutdown()
        thread.join()


def refused(fetcher: Fetcher, url: str, path: Path) -> Problem:
    with pytest.raises(Problem) as said:
        fetcher.fetch(url, path)
    return said.value


@pytest.mark.usefixtures("site")
def test_what_an_allowed_host_gives(site: type[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "is_outside", lambda _: True)
    fetcher = Fetcher(("*.Example.org",), 20_000)
    fetcher.fetch("http://img.example.org/photo.png", tmp_path / "photo")
    assert (tmp_path / "photo").read_bytes() == PICTURE
    assert refused(fetcher, "http://img.example.org/large.png", tmp_path / "large").status == 413
    assert "404" in refused(fetcher, "http://img.example.org/none", tmp_path / "none").detail
    site.asked.clear()
    assert "302" in refused(fetcher, "http://img.example.org/away", tmp_path / "away").detail
    assert site.asked == ["/away"], "a redirect leads elsewhere"


def test_an_answer_that_comes_byte_by_byte_ends(
    site: type[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its headers count, too: each byte is well within the time between two."""
    monkeypatch.setattr(fetching, "is_outside", lambda _: True)
    monkeypatch.setattr(fetching, "_IN_ALL", 0.5)
    begun = time.monotonic()
    fetcher = Fetcher(("example.org",), 20_000)
    for name in ("slow", "photo.png"):  # what one took, the other files of the request lack
        problem = refused(fetcher, f"http://example.org/{name}", tmp_path / name)
        assert "did not give the file within" in problem.detail
    assert time.monotonic() - begun < 5
    assert site.asked == ["/slow"]


def test_several_addresses_are_asked_for_at_once(
    site: type[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four, for a site is not to be overrun; each answer is that of its address, and one that is bad costs itself."""
    monkeypatch.setattr(fetching, "is_outside", lambda _: True)
    addresses = [f"http://example.org/wait{k}" for k in range(8)]
    addresses[3] = "http://elsewhere.org/wait"
    parts = [f'--x\r\nContent-Disposition: form-data; name="url"\r\n\r\n{address}\r\n' for address in addresses]

    async def body() -> Any:
        return {"type": "http.request", "body": "".join([*parts, "--x--\r\n"]).encode(), "more_body": False}

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    request = Request({"type": "http", "method": "POST", "headers": headers}, body)
    begun = time.monotonic()
    uploads = asyncio.run(receive(request, tmp_path, ServeSettings(fetch_from=("example.org",)), BoundedSemaphore(1)))
    assert time.monotonic() - begun < 7 * 0.3
    assert [upload.name for upload in uploads] == addresses
    assert [upload.problem is not None for upload in uploads] == [k == 3 for k in range(8)]
    assert [upload.path.read_text() for upload in uploads if not upload.problem] == list("0124567")
    assert max(site.busy) == 4


def test_hosts_that_hang_hold_up_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many requests are fetched for as may be; one more is sent away, before it holds a thread."""
    hangs = threading.Event()
    begun: list[str] = []

    def fetch(_: Fetcher, url: str, path: Path) -> None:
        begun.append(url)
        assert hangs.wait(30)
        path.write_text("text")

    monkeypatch.setattr(Fetcher, "fetch", fetch)
    app = service(Mock(), Access(None, 0), ServeSettings(fetch_from=("example.org",), fetching=2), tmp_path)
    address = {"url": (None, "http://example.org/x")}
    with TestClient(app, base_url="http://127.0.0.1") as client, ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(client.post, "/v1/verdicts", files=address) for _ in range(2)]
        while len(begun) < 2:
            time.sleep(0.01)
        files = {"file": ("a.png", b"picture"), **address}
        refused = client.post("/v1/verdicts", files=files)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        assert client.post("/v1/verdicts", files={"file": ("a.txt", b"text")}).status_code == 415
        hangs.set()
        assert [each.result(30).status_code for each in waiting] == [415, 415], "fetched, and no picture"
        assert client.post("/v1/verdicts", files=address).status_code == 415, "there is room again"
    assert list(tmp_path.iterdir()) == [], "nor is a file left of the one that was refused"


def test_nothing_within_the_network_is_asked(site: type[Site], tmp_path: Path) -> None:
    """Also where an allowed name is looked up as an address within."""
    fetcher = Fetcher(("*",), 20_000)
    for url in ("http://img.example.org/photo.png", "http://localhost/photo.png", "http://127.0.0.1/photo.png"):
        problem = refused(fetcher, url, tmp_path / "photo")
        assert (problem.status, problem.detail) == (422, "this address is not allowed")
    assert site.asked == []
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_looked_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is outside when it is checked, and within when it is connected to, gets no connection within."""
    answers = iter(["93.184.216.34", "127.0.0.1"])
    asked = []

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    def connect(address: tuple[str, int], *_: Any, **__: Any) -> None:
        asked.append(address[0])
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", connect)
    assert "does not give" in refused(Fetcher(("example.org",), 9), "http://example.org/x", tmp_path / "x").detail
    assert asked == ["93.184.216.34"]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://example.org/x", "http://user:pass@example.org/x", "http://example.org:22/x",
        "http://example.org.evil.net/x", "http://evil.net/example.org", "http://evil.net#example.org/", "http:///x", "http://[",
        "http://example.org:99999/", "http://ex\u0430mple.org/x", "http://example.org/\r\nHost: inside", "x" * 5000, "",
    ],
)  # fmt: skip
def test_addresses_that_are_refused_unasked(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("was looked up"))
    assert refused(Fetcher(("example.org",), 9), url, tmp_path / "x").status == 422


@pytest.mark.parametrize(
    "host",
    ["https://example.org", "example.org/", "example.org:443", "", "b\u00fccher.example", "a b", ["*.example.org", ""]],
)
def test_hosts_that_no_address_can_match_are_refused_at_the_start(
    host: str | list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facetell.serving.run.run", Mock())
    with pytest.raises(SettingsError, match="is no name of a host"):
        facetell.serve(fetch_from=host)


@pytest.mark.parametrize("host", ["*.example.org", "2606:2800:220:1::1", "cdn_1.example.org"])
def test_one_host_is_one_pattern(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text is a sequence of letters, too, and a single star would allow every host."""
    begun = Mock()
    monkeypatch.setattr("facetell.serving.run.run", begun)
    facetell.serve(fetch_from=host)
    assert begun.call_args.args[1].fetch_from == (host,)
