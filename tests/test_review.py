"""What reviewers are shown, what becomes of their labels, and the page they label on."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest
from serving_world import Server, served
from sklearn.metrics import cohen_kappa_score
from test_page import _Strict, browser
from test_serve import place, problem, send
from test_store import where

import facetell
from facetell.errors import DataError

sql = pytest.importorskip("sqlalchemy", reason="needs the extra 'serve'")

from facetell.store.labels import agreements, kappa, label  # noqa: E402  without the extra nothing below can be
from facetell.store.records import Accepted, Crop, Ended, Face  # noqa: E402
from facetell.store.reviews import SHARE, estimates, kinds, left, next_cases  # noqa: E402
from facetell.store.store import Store  # noqa: E402
from facetell.store.tables import CROPS, FACES, LABELS, TRAIL  # noqa: E402
from facetell.store.verdicts import accept, end  # noqa: E402

__all__ = ["browser", "place", "where"]


def picture(seed: int, side: int = 96) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def fill(store: Store, faces: list[dict[str, Any]]) -> list[int]:
    """A file for each face, with the ``draw`` that it says; gives their numbers."""
    for number, said in enumerate(faces):
        given = {"decision": "real", "score": 0.2, "p_known": 0.5, "novel": False, **said}
        draw = given.pop("draw", 0.9)
        face = Face(0, threshold=0.5, cut="whole", crops=(Crop(picture(number), 96, 96),), **given)
        name = f"file-{number:03}"
        accept(store, "me", [Accepted(name, "owner", "Ann", "a.jpg", False)])
        end(store, [Ended(name, "done", "{}", "identity", "settings", f"sha-{number}", (face,))], 30)
        with store.writing() as done:
            done.execute(FACES.update().where(FACES.c.file == name).values(draw=draw))
    with store.reading() as reading:
        return list(reading.execute(sql.select(FACES.c.id).order_by(FACES.c.file)).scalars())


def test_kappa_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    one = rng.choice(["fake", "real", "unsure"], 200, p=[0.5, 0.4, 0.1])
    other = np.where(rng.random(200) < 0.7, one, rng.choice(["fake", "real", "unsure"], 200))
    pairs = list(zip(one.tolist(), other.tolist(), strict=True))
    assert kappa(pairs) == pytest.approx(cohen_kappa_score(one, other), abs=1e-12)
    assert kappa([("fake", "fake")] * 5) is None


def test_what_is_shown_next(where: str) -> None:
    store = Store(where)
    chance, novel, rare, near, unsure, far = fill(
        store,
        [
            {"draw": SHARE / 2},
            {"novel": True, "p_known": 0.004},
            {"novel": True, "p_known": 0.002},
            {"score": 0.45},
            {"decision": "unsure", "score": 0.3},
            {"score": 0.01},
        ],
    )
    assert left(store, "Ann") == {"random": 1, "disagreement": 0, "novel": 2, "unsure": 3}
    shown = next_cases(store, "Ann", 10)
    assert [(one.face, one.reason) for one in shown] == [
        (chance, "random"), (rare, "novel"), (unsure, "unsure"), (novel, "novel"), (near, "unsure"), (far, "unsure"),
    ]  # fmt: skip
    assert shown[0].crops == (picture(0),)
    for face, word in ((chance, "real"), (rare, "fake"), (unsure, "unsure")):
        label(store, "Ann", face, word, None, None)
    assert [one.face for one in next_cases(store, "Ann", 10)] == [near, novel, far]
    assert [one.face for one in next_cases(store, "Bob", 10)] == [chance, novel, near, far], (
        "two labels for one by chance"
    )
    label(store, "Bob", rare, "real", None, None)
    assert [(one.face, one.reason) for one in next_cases(store, "Eve", 1)] == [(chance, "random")]
    assert left(store, "Eve")["disagreement"] == left(store, "Ann")["disagreement"] == 1
    assert left(store, "Bob")["disagreement"] == 0, "who spoke last has nothing to add"
    label(store, "Ann", rare, "real", None, "looked again")
    assert left(store, "Eve")["disagreement"] == 0
    with store.writing() as done:
        done.execute(CROPS.update().values(expires=time.time() - 1))
    assert next_cases(store, "Eve", 10) == []
    store.close()


def test_the_estimate_is_of_faces_drawn_by_chance_alone(where: str) -> None:
    store = Store(where)
    said = [("fake", "fake")] * 8 + [("real", "fake")] * 2 + [("fake", "real")] * 1 + [("real", "real")] * 29
    faces = [{"decision": decision, "draw": SHARE * k / 100} for k, (decision, _) in enumerate(said)]
    hard = [{"decision": "real", "score": 0.49}] * 5
    numbers = fill(store, [*faces, {"decision": "unsure", "draw": 0.1}, {"draw": 0.12}, *hard])
    for face, (_, truth) in zip(numbers, said, strict=False):
        label(store, "Ann", face, truth, None, None)
    label(store, "Ann", numbers[40], "fake", None, None)
    for reviewer, word in (("Ann", "fake"), ("Bob", "real")):
        label(store, reviewer, numbers[41], word, None, None)
    for face in numbers[42:]:
        label(store, "Ann", face, "fake", "swap", None)
    (found,) = estimates(store)
    assert (found.detector, found.disagreed) == ("identity", 1)
    for rate, hits, n in (
        (found.error, 3, 40),
        (found.missed, 2, 10),
        (found.false_alarms, 1, 30),
        (found.unsure, 1, 41),
    ):
        exact = binomtest(hits, n).proportion_ci(0.95, "exact")
        assert (rate.hits, rate.n, rate.value) == (hits, n, pytest.approx(hits / n))
        assert (rate.low, rate.high) == (pytest.approx(exact.low), pytest.approx(exact.high))
    assert kinds(store) == ["swap"]
    (pair,) = agreements(store)
    assert (pair.reviewers, pair.n, pair.agreed) == (("Ann", "Bob"), 1, 0.0)
    with pytest.raises(DataError, match="there is no face 99999"):
        label(store, "Ann", 99_999, "fake", None, None)
    with store.reading() as reading:
        assert reading.execute(sql.select(sql.func.count()).select_from(LABELS)).scalar() == 48
        assert reading.execute(sql.select(sql.func.count()).where(TRAIL.c.what == "label")).scalar() == 48
    store.close()


# --- a server


@pytest.fixture(scope="module")
def world(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str], Path]]:
    """A server with a store and keys of a newsroom, which sends, and two reviewers."""
    folder = tmp_path_factory.mktemp("review")
    keys = {
        name: str(facetell.keys(folder / "keys.json", add=name, scopes=(scope,)).key)
        for name, scope in (("newsroom", "judge"), ("Ann", "review"), ("Bob", "review"))
    }
    options = ("--faces", "crops", "--workers", 1, "--keys", folder / "keys.json", "--store", folder / "s.db")
    with served(folder, place / "detector", *options, "--keep-crops", 30) as server:
        with server.client(keys["newsroom"]) as client:
            send(client, *sorted((place / "pictures").rglob("train-*.png"))[:12])
        store = Store(folder / "s.db")
        with store.writing() as done:  # one for the estimate at least, which waits for both
            done.execute(FACES.update().where(FACES.c.id == 1).values(draw=0.0))
        store.close()
        yield server, keys, folder / "s.db"


@pytest.mark.slow
def test_labelling_over_http(world: tuple[Server, dict[str, str], Path]) -> None:
    server, keys, path = world
    with server.client(keys["newsroom"]) as newsroom, server.client(keys["Ann"]) as client:
        problem(newsroom.get("/v1/reviews"), 403)
        problem(httpx.post(f"{server.url}/v1/reviews", json={}), 401)
        problem(client.get("/v1/verdicts/none"), 403)
        standing = client.get("/v1/reviews", params={"count": 20}).json()
        assert sum(standing["left"].values()) == len(standing["next"]) == 12
        assert set(standing["next"][0]) == {"face", "reason", "video", "crops"}, "no verdict before there is a label"
        face = standing["next"][0]["face"]
        answer = client.post("/v1/reviews", json={"face": face, "label": "fake", "kind": " swap ", "why": "the teeth"})
        assert answer.status_code == 201
        said = answer.json()
        assert said["decision"] in ("real", "fake", "unsure")
        assert {**said, "decision": 0, "score": 0, "detector": 0} == {
            "face": face, "label": "fake", "kind": "swap", "why": "the teeth", "decision": 0, "score": 0, "detector": 0,
        }  # fmt: skip
        words = "dents\N{NO-BREAK SPACE}: \N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN} \N{SOFT HYPHEN}"  # as people and phones type
        answer = client.post("/v1/reviews", json={"face": face, "label": "real", "kind": "swap", "why": words}).json()
        assert (answer["kind"], answer["why"]) == (None, words), "a kind is of a fake, and is not kept of a real"
        for bad, status in (
            (b"{", 400), (b"[" * 100_000, 400), (b"[]", 422), (b'{"face": true, "label": "fake"}', 422),
            (b'{"face": 1, "label": "Fake"}', 422), (b'{"face": 99999, "label": "fake"}', 404),
            (b'{"face": 1, "label": "fake", "why": "\\u0000"}', 422), (b'{"face": 1, "label": "fake", "why": "\\ud800"}', 422),
        ):  # fmt: skip
            problem(client.post("/v1/reviews", content=bad), status)
        problem(client.get("/v1/reviews", params={"count": "0"}), 422)
        described = client.get("/openapi.json").json()
        assert {"Label", "Labelled", "Reviews", "Estimate", "Case"} <= set(described["components"]["schemas"])
        assert "/review" not in described["paths"]
    store = Store(path)
    with store.reading() as reading:
        rows = reading.execute(sql.select(LABELS.c.reviewer, LABELS.c.label, LABELS.c.kind, LABELS.c.why)).all()
    store.close()
    assert rows == [("Ann", "fake", "swap", "the teeth"), ("Ann", "real", None, words)]


@pytest.mark.slow
def test_the_page_without_script(place: Path, tmp_path: Path) -> None:
    options = ("--faces", "crops", "--workers", 1, "--store", tmp_path / "s.db", "--keep-crops", 30)
    with served(tmp_path, place / "detector", *options) as server, server.client() as client:
        assert "Nothing waits for you" in _Strict(client.get("/review").text).text
        send(client, *sorted((place / "pictures").rglob("train-*.png"))[:2])
        page = _Strict(client.get("/review").text)
        assert "2 wait for you" in page.text
        assert all(address.startswith(("data:", "/static/")) for address in page.loads)
        face = re.findall(r'name="face" value="(\d+)"', client.get("/review").text)[0]
        answer = client.post("/review", data={"face": face, "label": "real", "kind": "", "why": ""})
        assert (answer.status_code, answer.headers["location"]) == (303, "/review")
        assert "1 waits for you" in client.get("/review").text
        other = {"origin": "http://elsewhere.example"}
        problem(client.post("/review", data={"face": face, "label": "fake"}, headers=other), 403)
        for face in ("x", "9" * 5000, "\N{SUPERSCRIPT TWO}", ""):
            problem(client.post("/review", data={"face": face, "label": "fake"}), 422)
        assert 'href="/review"' in client.get("/").text


@pytest.mark.slow
@pytest.mark.parametrize(("reviewer", "scheme", "width"), [("Ann", "light", 1000), ("Bob", "dark", 360)])
def test_in_a_browser(
    world: tuple[Server, dict[str, str], Path], browser: Any, reviewer: str, scheme: str, width: int, tmp_path: Path
) -> None:
    """By keyboard alone: label, go back, say otherwise; nothing wider than the screen, no violation of axe."""
    server, keys, _ = world
    page = browser.new_page(viewport={"width": width, "height": 740}, color_scheme=scheme)
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{server.url}/review")
    page.fill("#key", keys[reviewer])
    page.keyboard.press("Enter")
    first = page.wait_for_selector("section[data-face]").get_attribute("data-face")
    page.keyboard.press("f")
    page.wait_for_selector(f"section[data-face]:not([data-face='{first}'])")
    assert "You said fake; the detector had said" in page.text_content("#status")
    page.keyboard.press("b")
    page.wait_for_selector(f"section[data-face='{first}']")
    page.fill("#kind", "swap")
    page.keyboard.press("Enter")
    page.keyboard.press("r")
    page.wait_for_selector(f"section[data-face]:not([data-face='{first}'])")
    assert "You said real" in page.text_content("#status")
    assert page.input_value("#kind") == "swap"
    page.click("summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    kept = os.environ.get("FACETELL_SCREENSHOTS")
    if kept:
        page.screenshot(path=f"{kept}/review-{scheme}-{width}.png", full_page=True)
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    with server.client(keys[reviewer]) as client:
        while page.locator("section[data-face='']").count() == 0:
            shown = page.get_attribute("section[data-face]", "data-face")
            page.click("button[value=unsure]")
            page.wait_for_selector(f"section[data-face]:not([data-face='{shown}'])")
        assert sum(client.get("/v1/reviews").json()["left"].values()) == 0
    assert errors == []
    page.close()
