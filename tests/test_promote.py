"""A new detector beside the old one, then in its place, and back: over a real server, with none of its answers lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from serving_world import Server, served
from test_serve import metric, place, problem, send, until
from test_without_torch import BUNDLE, python

import facetell
from facetell.detector.bundle import identity_of
from facetell.errors import BundleError, UsageError

sql = pytest.importorskip("sqlalchemy", reason="needs the extra 'serve'")

from test_store import where  # noqa: E402  without the extra nothing below can be

from facetell.store.labels import label  # noqa: E402
from facetell.store.promotions import back, compare, differences, into_use, shadow, take_out, uses  # noqa: E402
from facetell.store.records import Accepted, Compared, Crop, Ended, Face  # noqa: E402
from facetell.store.store import Store  # noqa: E402
from facetell.store.tables import FACES, PARTS, TRAIL  # noqa: E402
from facetell.store.verdicts import accept, end, forget  # noqa: E402

__all__ = ["place", "where"]
pytestmark = pytest.mark.slow

STARTER = Path(facetell.__file__).parent / "box" / "starter"


@pytest.fixture(scope="module")
def other(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of the same pictures that ranks them the other way round."""
    folder = tmp_path_factory.mktemp("other")
    shutil.copytree(place / "faces", folder / "faces")
    python(folder, BUNDLE.replace("0.25", "-0.25").replace("-8.0", "8.0"))
    return Path(shutil.move(folder / "detector", folder / "other"))


def promote(where: str, *words: object) -> tuple[int, str, dict[str, Any]]:
    """Exit code, what was said on standard error, and the result, of the command where torch is missing."""
    done = subprocess.run(
        [sys.executable, "-m", "facetell", "promote", *map(str, words), "--store", where, "--json"],
        env={**os.environ, "PYTHONPATH": Server.path}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stderr, json.loads(done.stdout) if done.stdout else {}


def in_use(client: httpx.Client) -> str:
    return str(client.get("/v1/detectors").json()["detectors"][0]["identity"])


def test_in_shadow_in_use_and_back(where: str, place: Path, other: Path, tmp_path: Path) -> None:
    old, new = identity_of(place / "detector"), identity_of(other)
    pictures = sorted((place / "pictures").rglob("train-*.png"))[:8]
    options = ("--faces", "crops", "--workers", 1, "--store", where, "--keep-crops", 1)
    with served(tmp_path, place / "detector", *options) as server, server.client() as client:
        before = [item["verdict"]["decision"] for item in send(client, *pictures).json()["items"]]
        assert promote(where, "--back")[0] == 2
        assert promote(where, other, "--now")[0] == 2
        code, said, found = promote(where, other)
        assert (code, found["current"], found["shadow"]["identity"]) == (0, None, new), said
        assert "has judged nothing in shadow yet" in promote(where, "--now")[1]
        until(lambda: judged_in_shadow(client, pictures), 60)
        items = send(client, *pictures).json()["items"]
        assert [item["verdict"]["decision"] for item in items] == before, "the old one answers"
        assert {item["verdict"]["detector"] for item in items} == {old}
        until(lambda: told(client)["differences"]["files"] >= 16 and is_quiet(client))
        differs = told(client)["differences"]
        assert differs["different"] >= differs["files"] / 4, "one ranks as the other does not"
        assert metric(client, 'facetell_shadow_files_total{outcome="different"}') == differs["different"]
        assert {example["id"] for example in differs["examples"]} & {item["id"] for item in items}
        assert f"In shadow: other ({new})" in client.get("/review").text

        code, said, found = promote(where, "--now")
        assert (code, found["current"]["identity"], found["shadow"]) == (0, new, None), said
        assert found["differences"]["files"] >= 16
        until(lambda: in_use(client) == new)
        after = send(client, *pictures).json()["items"]
        assert {item["verdict"]["detector"] for item in after} == {new}
        assert sum(a["verdict"]["decision"] != b for a, b in zip(after, before, strict=True)) >= 2
        server.stop()
    with served(tmp_path, place / "detector", *options) as server, server.client() as client:
        assert in_use(client) == new, "a restart does not go back"
        assert promote(where, "--back")[0] == 0
        until(lambda: in_use(client) == old)
        again = send(client, *pictures).json()["items"]
        assert [item["verdict"]["decision"] for item in again] == before
        assert told(client) == {"current": None, "shadow": None, "differences": None}
    store = Store(where)
    with store.reading() as reading:
        trail = reading.execute(sql.select(TRAIL.c.what, TRAIL.c.about).order_by(TRAIL.c.id)).all()
    store.close()
    assert trail == [
        ("shadow", f"other ({new})"),
        ("promote", f"other ({new})"),
        ("back", f"other ({new}) was in use"),
    ]


def told(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/v1/promotion").json()
    return found


def is_quiet(client: httpx.Client) -> bool:
    """Whether all that the shadow has judged is written, and nothing more comes for a while."""
    seen = []
    for _ in range(2):
        counted = sum(
            metric(client, f'facetell_shadow_files_total{{outcome="{each}"}}') for each in ("same", "different")
        )
        seen += [counted, told(client)["differences"]["files"]]
        time.sleep(0.5)
    return len(set(seen)) == 1


def judged_in_shadow(client: httpx.Client, pictures: list[Path]) -> bool:
    """Whether files are judged in shadow by now; sends some."""
    send(client, *pictures)
    found = told(client)["differences"]
    return found is not None and found["files"] > 0


def test_no_answer_is_lost_and_a_bad_one_is_refused(place: Path, other: Path, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    pictures = sorted((place / "pictures").rglob("train-*.png"))[:4]
    options = ("--faces", "crops", "--workers", 1, "--store", path)
    with served(tmp_path, place / "detector", *options) as server, server.client() as client:
        old = in_use(client)
        assert promote(str(path), place / "detector")[0] == 0  # no other one than the server's own
        until(lambda: refused(Store(path)) == [f"detector ({old})"], 60)
        code, why, _ = promote(str(path), "--now")
        assert (code, "a server refused it, it is the one that this server judges by" in why) == (2, True), why
        assert told(client)["shadow"]["refused"] == "it is the one that this server judges by, and would never differ"
        page = client.get("/review").text
        assert "How it stands: a detector was refused" in page
        assert f"detector ({old}): it is the one that this server judges by" in page
        assert promote(str(path), "--back")[0] == 0
        assert "refused" not in client.get("/review").text
        bad = Path(shutil.copytree(other, tmp_path / "bad"))
        (bad / "weights.safetensors").write_bytes((bad / "weights.safetensors").read_bytes()[:-1] + b"x")
        code, said, _ = promote(str(path), bad)
        assert (code, "damaged" in said or "changed" in said) == (4, True), said
        assert told(client)["shadow"] is None
        store = Store(path)
        broken = shadow(store, other, "Ann").identity  # one that is damaged in the store itself
        with store.writing() as done:
            done.execute(PARTS.update().where(PARTS.c.path == "weights.safetensors").values(content=b"x"))
        until(lambda: refused(store)[1:] == [f"other ({broken})"], 60)
        assert send(client, *pictures).status_code == 200
        assert in_use(client) == old
        back(store, "Ann")
        with store.writing() as done:
            done.execute(PARTS.update().where(PARTS.c.path == "weights.safetensors").values(content=weights(other)))
        shutil.rmtree(next(server.folder.rglob(f"promoted-{broken}")), ignore_errors=True)
        accept(store, "me", [Accepted("one", "", "everyone", "a", False)])
        compare(store, [Compared("one", broken, old, "real", 0.1, "fake", 0.9)])
        shadow(store, other, "Ann")
        into_use(store, broken, "Ann")
        seen = set()
        while in_use(client) == old:
            answer = send(client, *pictures)
            assert answer.status_code == 200
            seen |= {item["verdict"]["detector"] for item in answer.json()["items"]}
        seen |= {item["verdict"]["detector"] for item in send(client, *pictures).json()["items"]}
        assert told(client)["current"]["refused"] is None, "what it was refused for before is mended"
        assert seen <= {old, broken}
        assert broken in seen
        store.close()


def weights(bundle: Path) -> bytes:
    return (bundle / "weights.safetensors").read_bytes()


def refused(store: Store) -> list[str]:
    with store.reading() as reading:
        rows = reading.execute(sql.select(TRAIL.c.about).where(TRAIL.c.what == "refuse")).scalars()
        return [row.partition(": ")[0] for row in rows]


def test_the_steps_in_a_store(where: str, tmp_path: Path) -> None:
    store = Store(where)
    first = shadow(store, STARTER, "Ann").identity
    assert identity_of(STARTER) == first
    take_out(store, first, tmp_path / "out")
    taken, kept = (facetell.Detector.load(path, "cpu") for path in (tmp_path / "out", STARTER))
    crops = np.random.default_rng(0).integers(0, 256, (1, taken.size, taken.size, 3), dtype=np.uint8)
    np.testing.assert_array_equal(taken.logits(crops), kept.logits(crops))
    with pytest.raises(UsageError, match="another detector is in shadow: starter"):
        into_use(store, "another", "Ann")
    face = Face(0, "real", 0.2, 0.5, None, False, "whole", (Crop(b"png", 3, 2),))
    names = [f"file-{k}" for k in range(6)]
    accept(store, "me", [Accepted(name, "owner", "Ann", "a.jpg", False) for name in names])
    end(store, [Ended(name, "done", "{}", "old", "s", name, (face,)) for name in names], 30)
    said = [
        ("fake", "real"),
        ("fake", "real"),
        ("real", "real"),
        ("unsure", "real"),
        ("real", "fake"),
        ("fake", "fake"),
    ]
    found = [Compared(name, first, "old", new, 0.5, old, 0.4) for name, (new, old) in zip(names, said, strict=True)]
    compare(store, [*found, Compared("gone", first, "old", "fake", 0.9, "real", 0.1)])
    compare(store, found)  # after an answer was lost
    with store.reading() as reading:
        faces = list(reading.execute(sql.select(FACES.c.id).order_by(FACES.c.file)).scalars())
    for number, word in zip(faces, ["fake", "real", "real", "fake", "unsure", "fake"], strict=True):
        label(store, "Bob", number, word, None, None)
    told = differences(store, first)
    assert (told.files, told.different) == (6, 4)
    assert told.changes == {"real to fake": 2, "fake to real": 1, "real to unsure": 1}
    assert (told.labelled, told.old_right, told.new_right) == (5, 3, 3)
    assert forget(store, "file-0", "owner", "Ann")
    assert differences(store, first).files == 5
    assert into_use(store, first, "Ann").identity == first
    assert (uses(store).current.identity, uses(store).shadow) == (first, None)  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="is in use already"):
        shadow(store, STARTER, "Ann")
    assert back(store, "Ann").identity == first
    assert uses(store).current is None
    with pytest.raises(UsageError, match="nothing was promoted"):
        back(store, "Ann")
    with pytest.raises(BundleError):
        facetell.promote(tmp_path / "none", store=where)
    with pytest.raises(UsageError, match="put into use, or it goes back"):
        facetell.promote(store=where, now=True, back=True)
    store.close()


def test_of_two_steps_at_once_each_is_taken_once(where: str) -> None:
    stores, told = [Store(where) for _ in range(4)], list[str]()

    def step(what: Callable[[Store], object]) -> None:
        def one(store: Store) -> None:
            with contextlib.suppress(UsageError):
                what(store)
                told.append("done")

        threads = [threading.Thread(target=one, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    step(lambda store: shadow(store, STARTER, "Ann"))
    assert len(told) == 4, "each in place of the one before"
    use = uses(stores[0]).shadow
    assert use is not None
    accept(stores[0], "me", [Accepted("one", "", "everyone", "a", False)])
    compare(stores[0], [Compared("one", use.identity, "old", "real", 0.1, "fake", 0.9)])
    told.clear()
    step(lambda store: into_use(store, None, "Ann"))
    step(lambda store: back(store, "Ann"))
    assert (len(told), uses(stores[0]).current) == (2, None)
    for store in stores:
        store.close()


def test_only_an_admin_sees_what_was_promoted(place: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    one, admin = (
        str(facetell.keys(keys, add=name, scopes=(scope,)).key) for name, scope in (("a", "review"), ("b", "admin"))
    )
    options = ("--faces", "crops", "--workers", 1, "--keys", keys, "--store", tmp_path / "store.db")
    with (
        served(tmp_path, place / "detector", *options) as server,
        server.client(one) as reviewer,
        server.client(admin) as client,
    ):
        problem(reviewer.get("/v1/promotion"), 403)
        assert client.get("/v1/promotion").status_code == 200
        problem(reviewer.get("/v1/trail"), 403)
        assert client.get("/v1/trail").json() == {"steps": []}
        problem(httpx.get(f"{server.url}/v1/promotion"), 401)
