"""The page of a server: what it says, that it opens nothing of a file's name, and how it works in a real browser."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from faceclips import save_clip, two_people
from PIL import Image
from serving_world import Server, crop, served
from signing import GENERATED
from test_declared import GOOGLE
from test_serve import place

import facetell

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
pytestmark = pytest.mark.slow

__all__ = ["place"]


class _Strict(html.parser.HTMLParser):
    """Every element that is opened is closed, and no id is there twice; gathers the text and what would be loaded."""

    EMPTY = ("meta", "link", "input", "img", "rect", "line", "circle", "image", "polyline")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.text = ""
        self.feed(page)
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        assert not any(name.startswith("on") or name == "style" for name in said), "nothing that the policy forbids"
        self.ids += [said["id"]] if said.get("id") else []  # type: ignore[list-item]
        if tag in ("link", "script", "image", "img"):
            self.loads.append(str(said.get("href") or said.get("src")))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.EMPTY:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def server(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("page"), place / "detector", "--faces", "crops", "--workers", 1) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


@pytest.fixture(scope="module")
def fake(place: Path) -> Path:
    return sorted((place / "pictures").rglob("train-*-fake.png"))[0]


def said_by_google(path: Path) -> bytes:
    """The picture with XMP that says what made it."""
    out = io.BytesIO()
    with Image.open(path) as picture:
        picture.save(out, "JPEG", xmp=GOOGLE.encode(), quality=95)
    return out.getvalue()


def test_a_verdict_in_words(client: httpx.Client, fake: Path) -> None:
    data = said_by_google(fake)
    verdict = client.post("/v1/verdicts", files={"file": ("a.jpg", data)}).json()["items"][0]["verdict"]
    answer = client.post("/", files={"file": ("<img src=x onerror=alert(1)>\u202e.jpg", data)})
    assert answer.status_code == 200
    page = _Strict(answer.text)
    assert {"fake": "Looks fake", "real": "Looks real"}[verdict["decision"]] in page.text
    assert f"score {verdict['score']:.2f}" in page.text
    assert f"From {verdict['threshold']:.2f} on a file is called fake" in page.text
    assert "Digital source type trainedAlgorithmicMedia, which means generated" in page.text
    assert "only claimed: anybody can write it" in page.text
    assert "What this verdict cannot tell" in page.text
    assert "<img src=x onerror=alert(1)>\N{REPLACEMENT CHARACTER}.jpg" in page.text, "as text"
    assert all(address.startswith(("data:", "/static/")) for address in page.loads), "nothing from elsewhere"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    (packed,) = re.findall(r'href="data:application/json;base64,([^"]+)"', answer.text)
    assert json.loads(base64.b64decode(packed))["verdict"]["logit"] == verdict["logit"]
    assert GENERATED in base64.b64decode(packed).decode()
    assert "What the score hangs on" in page.text
    pictures = [address.partition(",")[2] for address in page.loads if address.startswith("data:image/jpeg")]
    shown, look = (Image.open(io.BytesIO(base64.b64decode(picture))) for picture in pictures)
    with Image.open(fake) as sent:
        assert shown.size == sent.size
        face = look.crop((0, 0, look.height, look.height)).resize(sent.size)
        alike = np.corrcoef(np.asarray(face).ravel(), np.asarray(sent.convert("RGB")).ravel())[0, 1]
        assert alike > 0.9, "beside its map"
    assert look.width == 2 * look.height + 4


def test_without_a_file_and_with_one_that_is_none(client: httpx.Client, fake: Path) -> None:
    assert "Is this face fake?" in _Strict(client.get("/").text).text
    answer = client.post("/", files={"file": ("a.txt", b"hello")})
    assert "neither a picture nor a video" in _Strict(answer.text).text
    answer = client.post("/", data={"nothing": "x"}, files={"other": (None, "x")})
    assert answer.status_code == 422
    assert "the request holds no file" in _Strict(answer.text).text
    name = client.post("/v1/verdicts", files={"file": crop(fake)}).json()["items"][0]["id"]
    assert "The verdict, for programs" in _Strict(client.get(f"/page/{name}").text).text
    assert client.get("/static/page.js").headers["content-type"].startswith("text/javascript")


def test_people_get_a_page_where_programs_get_a_problem(client: httpx.Client, server: Server) -> None:
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for address, status in (("/nothing", 404), ("/page/unknown", 404), ("/static/page.js/x", 404)):
        answer = client.get(address, headers=browser)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert "Next: " in _Strict(answer.text).text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert client.get(address).json()["status"] == status
    assert client.get("/v1/verdicts/unknown", headers=browser).json()["status"] == 404
    assert client.put("/", headers=browser).headers["allow"] == "GET, POST"


def test_a_key_is_asked_for(place: Path, fake: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    key = facetell.keys(keys, add="one").key
    options = ("--faces", "crops", "--workers", 1, "--keys", keys)
    with served(tmp_path, place / "detector", *options) as server, server.client() as stranger:
        assert 'type="password"' in stranger.get("/").text
        assert "asks for a key" in stranger.post("/", files={"file": crop(fake)}).text
        assert stranger.post("/", files={"file": crop(fake)}).status_code == 401
        wrong = stranger.post("/v1/verdicts", files={"file": crop(fake)}, headers={"authorization": "Bearer wrong"})
        assert (wrong.status_code, wrong.json()["detail"]) == (401, "this server does not know the key")
        with server.client(key) as client:
            answer = client.post("/", files={"file": crop(fake)}, headers={"x-fragment": "1"})
            assert answer.status_code == 200
            assert answer.text.startswith("<article")
            name = re.findall(r'data-id="([^"]+)"', answer.text)[0]
            assert client.get(f"/page/{name}").status_code == 200
            assert stranger.get(f"/page/{name}").status_code == 401
            page = stranger.get(f"/page/{name}", headers={"accept": "text/html"})
            assert (page.status_code, "give the key there" in _Strict(page.text).text) == (401, True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs chromium")
    with sync.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser(server: Server, fake: Path, browser: Any, scheme: str, tmp_path: Path) -> None:
    """By keyboard, on a phone: no error of the script or the policy, nothing wider than the screen, no violation of axe."""
    page = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "request",
        lambda request: (
            errors.append(request.url) if not request.url.startswith((server.url, "data:", "blob:")) else None
        ),
    )
    page.goto(server.url)
    (tmp_path / "said.jpg").write_bytes(said_by_google(fake))
    clip = save_clip(tmp_path / "clip.mp4", two_people(3, count=6))
    page.set_input_files("#file", [tmp_path / "said.jpg"])
    page.focus("#file")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    article = page.wait_for_selector("article[data-state=done]", timeout=60_000)
    assert page.evaluate("document.activeElement.tagName") == "ARTICLE"
    assert article.query_selector("h2").text_content() in page.text_content("#status")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.set_input_files("#file", [clip])
    page.click("form button")
    page.wait_for_selector("article[data-state=done] .time, article[data-state=done]:nth-of-type(2)", timeout=120_000)
    assert page.locator("article").count() == 2
    with page.expect_download() as download:
        page.click("text=Report (HTML)")
    report = Path(download.value.path()).read_text("utf-8")
    assert "What this verdict cannot tell" in report
    assert "http" not in re.sub(r"https?://(www\.w3\.org|cv\.iptc\.org)\S*|data:\S+", "", report)
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"hello"})
    page.click("form button")
    page.wait_for_selector("article[data-state=failed]")
    assert errors == []
    page.close()


def test_in_a_browser_without_script(server: Server, fake: Path, browser: Any) -> None:
    """Its forms say where they come from, or they would be taken for another site's."""
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(server.url)
    page.set_input_files("#file", fake)
    page.click("form button")
    page.wait_for_selector("article[data-state=done]", timeout=60_000)
    page.close()
