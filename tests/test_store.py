"""What a server keeps with ``--store``: across a restart and a kill, for its owner alone, and for no longer than it may."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sqlite3
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import httpx
import numpy as np
import pytest
from faceclips import needs_media, portrait, save_clip, save_photo, two_people
from PIL import Image
from serving_world import served
from test_serve import place, problem, send, until

import facetell
from facetell.errors import DataError, SettingsError, UsageError

sql = pytest.importorskip("sqlalchemy", reason="needs the extra 'serve'")

from facetell.detector.detector import Detector  # noqa: E402  without the extra nothing below can be
from facetell.detector.judge import Judge  # noqa: E402
from facetell.faceset.table import FaceSet  # noqa: E402
from facetell.media.limits import Limits  # noqa: E402
from facetell.pixels.decode import decode  # noqa: E402
from facetell.serving.crops import faces_of  # noqa: E402
from facetell.serving.items import Item  # noqa: E402
from facetell.serving.keys import Key  # noqa: E402
from facetell.serving.problems import Problem  # noqa: E402
from facetell.serving.recorder import Recorder  # noqa: E402
from facetell.store.records import Accepted, Crop, Ended, Face  # noqa: E402
from facetell.store.retention import expire_crops  # noqa: E402
from facetell.store.store import Store, StoreError  # noqa: E402
from facetell.store.tables import CROPS, FACES, FILES, TRAIL  # noqa: E402
from facetell.store.verdicts import accept, end, find, forget  # noqa: E402

__all__ = ["place"]

POSTGRES = "postgresql://postgres@127.0.0.1:5432/test"
"""As a developer's machine and CI have one; see CONTRIBUTING.md. Each test has a schema of its own in it."""


def postgres(address: str = POSTGRES) -> Iterator[str]:
    """The address of an empty schema in a real PostgreSQL; the test is skipped where there is none."""
    psycopg = pytest.importorskip("psycopg", reason="needs the extra 'serve'")
    name = f"facetell_{uuid.uuid4().hex[:12]}"
    try:
        connection = psycopg.connect(address, connect_timeout=3, autocommit=True)
    except psycopg.OperationalError:
        pytest.skip("needs PostgreSQL at 127.0.0.1:5432 with a database 'test'")
    with connection:
        connection.execute(f"CREATE SCHEMA {name}")
    yield f"{address}?options=-csearch_path%3D{name}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store is to be, of both kinds."""
    if request.param == "sqlite":
        yield str(tmp_path / "store.db")
    else:
        yield from postgres()


@pytest.fixture
def pictures(place: Path) -> list[Path]:
    return sorted((place / "pictures").rglob("train-*.png"))[:6]


FACE = Face(0, "fake", 0.75, 0.5, 0.25, False, "whole", (Crop(b"a picture", 3, 2), Crop(b"another", 3, 2, 1.5)))


# --- the store by itself


def test_files_and_crops_until_their_time_is_over(where: str) -> None:
    store = Store(where)
    accept(
        store,
        "me",
        [Accepted("one", "owner", "Ann", "a.jpg", False), Accepted("two", "owner", "Ann", "b\0\ud800", True)],
    )
    assert (find(store, "two", "owner") or {})["name"] == "b\N{REPLACEMENT CHARACTER}?", "what no database can hold"
    assert find(store, "one", "owner") == {"name": "a.jpg", "video": False, "state": "accepted", "answer": None}
    assert find(store, "one", "another") is None
    end(store, [Ended("one", "done", "{}", "identity", "settings", "hash", (FACE,))], 30)
    end(store, [Ended("one", "done", "{}", "identity", "settings", "hash", (FACE,))], 30)  # after an answer was lost
    end(store, [Ended("two", "done", "{}", faces=(FACE,))], None)
    with store.reading() as reading:
        assert reading.execute(sql.select(FACES.c.file, FACES.c.score, FACES.c.novel)).all() == [("one", 0.75, False)]
        rows = reading.execute(sql.select(CROPS.c.png, CROPS.c.time, CROPS.c.expires).order_by(CROPS.c.id)).all()
    assert [row[:2] for row in rows] == [(b"a picture", None), (b"another", 1.5)]
    assert all(abs(row.expires - time.time() - 30 * 86_400) < 60 for row in rows)
    assert expire_crops(store) == 0
    with store.writing() as done:
        done.execute(CROPS.update().values(expires=time.time() - 1))
    assert expire_crops(store) == 2
    assert not forget(store, "one", "another", "Eve")
    assert forget(store, "one", "owner", "Ann")
    with store.reading() as reading:
        assert reading.execute(sql.select(sql.func.count()).select_from(FACES)).scalar() == 0
        assert reading.execute(sql.select(TRAIL.c.who, TRAIL.c.what, TRAIL.c.about).order_by(TRAIL.c.id)).all() == [
            ("facetell", "expire", "2 crops"),
            ("Ann", "forget", "one"),
        ]
    store.close()


def test_what_is_no_store_is_refused(where: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no store"):
        Store(where, make=False)
    store = Store(where)
    with store.writing() as done:
        done.execute(sql.text("UPDATE facetell_about SET value = '99' WHERE name = 'version'"))
    store.close()
    with pytest.raises(DataError, match="is of version 99, and this facetell knows version 1"):
        Store(where)


def test_other_files_and_addresses_are_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE mine (a)")
    before = (tmp_path / "other.db").read_bytes()
    with pytest.raises(DataError, match="a database of something else"):
        Store(tmp_path / "other.db")
    assert (tmp_path / "other.db").read_bytes() == before, "not even its journal mode"
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match="there is no store"):
        Store(tmp_path / "empty", make=False)
    assert (tmp_path / "empty").stat().st_size == 0
    with pytest.raises(DataError, match="is a folder"):
        Store(tmp_path)
    with pytest.raises(UsageError, match="empty"):
        Store("")
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(DataError, match="cannot be used: file is not a database"):
        Store(tmp_path / "text")
    with pytest.raises(DataError, match="cannot be opened: No such file"):
        Store(tmp_path / "nowhere" / "store.db")
    for unreadable in ("a\0b", "postgresql://localhost/\udcff", "postgresql://localhost:port/x"):
        with pytest.raises(UsageError, match="NUL|cannot be read"):
            Store(unreadable)
    with pytest.raises(UsageError, match="not mysql"):
        Store("mysql://localhost/test")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError, match="cannot be used") as refused:
        Store(f"postgresql://me:secret@127.0.0.1:{port}/test")
    assert "secret" not in str(refused.value)
    with pytest.raises(SettingsError, match="crops are kept for"):
        facetell.serve(store="a.db", keep_crops=0)
    with pytest.raises(UsageError, match="are kept in a store"):
        facetell.serve(keep_crops=3)


def test_the_next_step_names_an_address_that_can_be_typed(where: str) -> None:
    """It is one of the kinds that ``--store`` takes, and quoted for a shell."""
    with pytest.raises(DataError, match="there is no store") as refused:
        Store(where, make=False)
    words = shlex.split(refused.value.hint or "")
    assert words[words.index("--store") + 1] == where


def test_no_store_is_in_memory_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite would keep a database of that name nowhere."""
    monkeypatch.chdir(tmp_path)
    store = Store(":memory:")
    accept(store, "me", [Accepted("one", "owner", "Ann", "a.jpg", False)])
    store.close()
    with closing(sqlite3.connect(tmp_path / ":memory:")) as read:
        assert read.execute("SELECT id FROM facetell_files").fetchall() == [("one",)]


def test_nothing_is_written_to_a_file_that_was_deleted(tmp_path: Path) -> None:
    """The system keeps it for who has it open, and nobody finds it again."""
    store = Store(tmp_path / "store.db")
    for path in tmp_path.iterdir():
        path.rename(path.with_name(f"away-{path.name}"))
    with pytest.raises(DataError, match="was moved or deleted") as refused:
        accept(store, "me", [Accepted("one", "owner", "Ann", "a.jpg", False)])
    assert refused.value.hint is not None
    for path in tmp_path.iterdir():
        path.rename(path.with_name(path.name.removeprefix("away-")))
    accept(store, "me", [Accepted("one", "owner", "Ann", "a.jpg", False)])
    assert find(store, "one", "owner") is not None
    store.close()


def test_new_files_are_refused_while_verdicts_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk may have room for the line of a new file, and none for what is larger."""
    full = StoreError("full", again=True)
    monkeypatch.setattr("facetell.serving.recorder.end", Mock(side_effect=full))
    recorder = Recorder(Store(tmp_path / "store.db"), None)
    try:
        item, key = Item("owner", "a.jpg", False), Key("Ann", ("judge",), "owner", "")
        recorder.accept([item], key)
        recorder.ended(item, None)
        until(lambda: recorder.away, 10)
        with pytest.raises(Problem) as refused:
            recorder.accept([Item("owner", "b.jpg", False)], key)
        assert refused.value.status == 503
        monkeypatch.undo()
        until(lambda: not recorder.away, 10)
        recorder.accept([Item("owner", "b.jpg", False)], key)
    finally:
        recorder.close(10)


def test_the_file_is_its_owners_alone_and_in_wal_mode(tmp_path: Path) -> None:
    Store(tmp_path / "store.db").close()
    assert stat.S_IMODE((tmp_path / "store.db").stat().st_mode) == 0o600
    with closing(sqlite3.connect(tmp_path / "store.db")) as read:
        assert read.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_what_is_deleted_is_not_in_the_file(tmp_path: Path) -> None:
    store, path = Store(tmp_path / "store.db"), tmp_path / "store.db"
    secret = np.random.default_rng(0).bytes(50_000)
    accept(store, "me", [Accepted("one", "owner", "Ann", "a.jpg", False)])
    end(store, [Ended("one", "done", "{}", faces=(replace(FACE, crops=(Crop(secret, 3, 2),)),))], 1)
    store.close()
    assert secret[2000:2100] in path.read_bytes()
    with store.writing() as done:
        done.execute(CROPS.update().values(expires=0.0))
    assert expire_crops(store) == 1
    store.close()
    assert not Path(f"{path}-wal").exists(), "gone with the last that has it open"
    assert not any(secret[start : start + 100] in path.read_bytes() for start in range(0, 50_000, 1000))


@pytest.mark.slow
def test_crops_are_those_of_a_face_set_made_of_the_same_photo(tmp_path: Path) -> None:
    """By the detector in the box, whose faces were found as `prepare` finds them."""
    needs_media()
    for number in range(2):
        save_photo(tmp_path / "photos" / "real" / f"{number}.png", portrait(number, 480, 360, 240))
        save_photo(tmp_path / "photos" / "fake" / f"{number}.png", portrait(number + 2, 480, 360, 240))
    faces: FaceSet = facetell.prepare(tmp_path / "photos", tmp_path / "faces", faces="find", split="test")
    kept = {path: decode(image) for path, image in zip(*map(list, _columns(faces)), strict=True)}
    judge = Judge(Detector.load(Path(facetell.__file__).parent / "box" / "starter"))
    for photo in sorted((tmp_path / "photos").rglob("*.png")):
        (face,) = faces_of(judge, photo, judge.file(photo), Limits())
        (png,) = face.crops
        np.testing.assert_array_equal(decode(png.png), kept[photo.relative_to(tmp_path / "photos").as_posix()])


def _columns(faces: FaceSet) -> tuple[list[str], list[bytes]]:
    table = faces.columns(["path", "image"])
    return table["path"].to_pylist(), table["image"].to_pylist()


# --- a server with one


@pytest.mark.slow
def test_verdicts_outlive_a_restart_for_their_owner_alone(
    where: str, place: Path, pictures: list[Path], tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    one, other = (str(facetell.keys(keys, add=name).key) for name in ("one", "other"))
    options = ("--faces", "crops", "--workers", 1, "--keys", keys, "--store", where, "--keep-crops", 30)
    with served(tmp_path, place / "detector", *options) as server, server.client(one) as client:
        items = send(client, *pictures, ("notes.txt", b"hello")).json()["items"]
        assert "kept for a time" in client.get("/").text
        server.stop()
    with (
        served(tmp_path, place / "detector", *options) as server,
        server.client(one) as client,
        server.client(other) as stranger,
    ):
        for item in items:
            assert client.get(f"/v1/verdicts/{item['id']}").json() == item
            problem(stranger.get(f"/v1/verdicts/{item['id']}"), 404)
            problem(stranger.delete(f"/v1/verdicts/{item['id']}"), 404)
        assert "The verdict, for programs" in client.get(f"/page/{items[0]['id']}").text
        assert client.delete(f"/v1/verdicts/{items[0]['id']}").status_code == 204
        problem(client.get(f"/v1/verdicts/{items[0]['id']}"), 404)
    store = Store(where)
    with store.reading() as reading:
        rows = reading.execute(sql.select(FILES.c.id, FILES.c.state, FILES.c.sender, FILES.c.detector)).all()
        crops = reading.execute(
            sql.select(FILES.c.name, CROPS.c.png).join(FACES, FACES.c.file == FILES.c.id).join(CROPS)
        ).all()
    store.close()
    assert {row.id: row.state for row in rows} == {item["id"]: item["state"] for item in items[1:]}
    assert {row.detector for row in rows if row.state == "done"} == {items[0]["verdict"]["detector"]}
    assert {row.sender for row in rows} == {"one"}
    sent = {path.name: path for path in pictures[1:]}
    assert sorted(name for name, _ in crops) == sorted(sent)
    for name, png in crops:
        with Image.open(sent[name]) as picture:
            np.testing.assert_array_equal(decode(png), np.asarray(picture.convert("RGB")))


@pytest.mark.slow
def test_nothing_is_kept_of_a_file_without_keep_crops(place: Path, pictures: list[Path], tmp_path: Path) -> None:
    where = tmp_path / "store.db"
    with served(tmp_path, place / "detector", "--faces", "crops", "--workers", 1, "--store", where) as server:
        with server.client() as client:
            assert send(client, *pictures).status_code == 200
            assert "kept for a time" not in client.get("/").text
        server.stop()
    with closing(sqlite3.connect(where)) as read:
        assert read.execute("SELECT count(*) FROM facetell_files WHERE state = 'done'").fetchone() == (6,)
        assert read.execute("SELECT count(*) FROM facetell_crops").fetchone() == (0,)
    pixels = Image.open(pictures[0]).tobytes()
    assert pixels[:64] not in where.read_bytes()


@pytest.mark.slow
def test_what_a_killed_server_had_accepted_is_reported(
    where: str, place: Path, pictures: list[Path], tmp_path: Path
) -> None:
    clip = save_clip(tmp_path / "clip.mp4", two_people(3, count=12))
    options = ("--workers", 1, "--store", where)
    with served(tmp_path, place / "detector", *options) as server, server.client() as client:
        done = send(client, pictures[0]).json()["items"][0]
        for worker in server.workers():
            os.kill(worker, signal.SIGSTOP)
        waiting = send(client, clip, clip).json()["items"]
        assert {item["state"] for item in waiting} <= {"queued", "running"}
        server.stop(signal.SIGKILL)
    with served(tmp_path, place / "detector", *options) as server, server.client() as client:
        assert client.get(f"/v1/verdicts/{done['id']}").json() == done
        for item in waiting:
            until(_is_over(client, item["id"]), 30)
            found = client.get(f"/v1/verdicts/{item['id']}").json()
            assert (found["state"], found["problem"]["status"]) == ("failed", 503)
            assert "send it again" in found["problem"]["hint"]
        again = send(client, clip).json()["items"][0]
        until(_is_over(client, again["id"]), 120)
        assert client.get(f"/v1/verdicts/{again['id']}").json()["state"] == "done"


def _is_over(client: httpx.Client, name: str) -> Callable[[], bool]:
    return lambda: client.get(f"/v1/verdicts/{name}").json()["state"] in ("done", "failed")


@pytest.mark.slow
def test_of_two_servers_each_answers_for_both(place: Path, pictures: list[Path], tmp_path: Path) -> None:
    for where in postgres():
        store = Store(where)
        accept(store, "one before", [Accepted("old", "", "everyone", "a.jpg", False)])
        end(store, [Ended("old", "done", '{"verdict": null}')], None)
        with store.writing() as done:
            done.execute(FILES.update().values(created=time.time() - 31 * 86_400))
        store.close()
        options = ("--faces", "crops", "--workers", 1, "--store", where)
        with (
            served(tmp_path, place / "detector", *options) as one,
            served(tmp_path, place / "detector", *options, "--keep-verdicts", 30) as two,
            one.client() as client,
            two.client() as other,
        ):
            for each in (client, other):
                until(lambda each=each: each.get("/v1/verdicts/old").status_code == 404)  # type: ignore[misc]
            (step,) = client.get("/v1/trail").json()["steps"]
            assert (step["what"], step["about"]) == ("expire", "1 verdicts")
            item = send(client, pictures[0]).json()["items"][0]
            assert other.get(f"/v1/verdicts/{item['id']}").json() == item
            assert other.delete(f"/v1/verdicts/{item['id']}").status_code == 204
            for each in (client, other):
                problem(each.get(f"/v1/verdicts/{item['id']}"), 404)
