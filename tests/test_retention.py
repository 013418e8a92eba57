"""What goes when its time is over, and what stays: labels, whoever else is at work on the store."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import facetell
from facetell.errors import DataError, SettingsError, UsageError

sql = pytest.importorskip("sqlalchemy", reason="needs the extra 'serve'")

from test_store import FACE, where  # noqa: E402  without the extra nothing below can be

from facetell.store import verdicts  # noqa: E402
from facetell.store.labels import label  # noqa: E402
from facetell.store.records import Accepted, Ended  # noqa: E402
from facetell.store.retention import MOST, expire_crops, expire_verdicts  # noqa: E402
from facetell.store.reviews import estimates  # noqa: E402
from facetell.store.store import Store  # noqa: E402
from facetell.store.tables import CROPS, FACES, FILES, LABELS, SERVERS, TRAIL  # noqa: E402
from facetell.store.verdicts import LEASE, accept, alive, end, find, forget  # noqa: E402

__all__ = ["where"]

DAY = 86_400.0


def fill(store: Store, *names: str, days: float, crops: bool = False) -> None:
    """Files with a face each that came so many days ago; their crops are gone already, or not."""
    accept(store, "me", [Accepted(name, "SECRET-owner", "SECRET-sender", "SECRET.jpg", False) for name in names])
    end(store, [Ended(name, "done", '"SECRET"', "one", "s", "SECRET-hash", (FACE,)) for name in names], 30)
    with store.writing() as done:
        done.execute(FILES.update().where(FILES.c.id.in_(names)).values(created=time.time() - days * DAY))
        if not crops:
            mine = sql.select(FACES.c.id).where(FACES.c.file.in_(names))
            done.execute(CROPS.update().where(CROPS.c.face.in_(mine)).values(expires=0.0))
    expire_crops(store)


def faces(store: Store) -> dict[str, int]:
    with store.reading() as reading:
        return dict(reading.execute(sql.select(FACES.c.file, FACES.c.id)).tuples().all())


def test_verdicts_go_and_labels_stay(where: str, tmp_path: Path) -> None:
    store = Store(where)
    accept(store, "me", [Accepted("waits", "SECRET-owner", "Ann", "a.jpg", True)])
    fill(store, "old", "labelled", days=31)
    fill(store, "shown", days=31, crops=True)
    fill(store, "young", days=29)
    with store.writing() as done:
        done.execute(FILES.update().where(FILES.c.id == "waits").values(created=0.0))
        done.execute(FACES.update().values(draw=0.0))  # for the estimate
    label(store, "Ann", faces(store)["labelled"], "real", None, "the teeth")
    said = estimates(store)
    assert (said[0].error.hits, said[0].error.n) == (1, 1)
    assert expire_verdicts(store, 30) == 2
    assert expire_verdicts(store, 30) == 0, "what waits is not over, what has crops is still looked at"
    assert find(store, "old", "SECRET-owner") is find(store, "labelled", "SECRET-owner") is None
    assert {name for name in ("waits", "shown", "young") if find(store, name, "SECRET-owner")} == {
        "waits",
        "shown",
        "young",
    }
    assert estimates(store) == said
    assert set(faces(store)) == {"labelled", "shown", "young"}
    end(store, [Ended("labelled", "done", '"SECRET"')], None)  # told twice, as its answer was lost
    with store.reading() as reading:
        (kept,) = reading.execute(sql.select(FILES).where(FILES.c.id == "labelled")).all()
        assert not any("SECRET" in str(value) for value in kept)
        assert reading.execute(sql.select(LABELS.c.reviewer, LABELS.c.label, LABELS.c.why)).all() == [
            ("Ann", "real", "the teeth")
        ]
        steps = reading.execute(sql.select(TRAIL.c.who, TRAIL.c.about).where(TRAIL.c.what == "expire")).all()
    assert steps[-1] == ("facetell", "2 verdicts, labels of 1 among them are kept")
    assert not forget(store, "labelled", "-", "Eve"), "nobody's"
    store.close()


def test_of_what_went_nothing_is_left_in_the_file_of_a_store_in_use(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = Store(path)
    fill(store, *(f"file-{k}" for k in range(20)), days=2)
    label(store, "Ann", faces(store)["file-3"], "fake", None, None)
    assert b"SECRET" in b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert expire_verdicts(store, 1) == 20
    assert b"SECRET" not in b"".join(each.read_bytes() for each in tmp_path.iterdir()), "neither in its log"
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM facetell_files").fetchall()
        fill(store, "later", days=2)
        begun = time.monotonic()
        assert expire_verdicts(store, 1) == 1, "who reads is not waited for"
        assert time.monotonic() - begun < 5
    store.close()


def test_no_label_is_lost_while_several_servers_remove(where: str) -> None:
    """Each label that was said to be written is there, and each that was refused has lost its face."""
    stores = [Store(where) for _ in range(4)]
    fill(stores[0], *(f"file-{k:03}" for k in range(MOST + 100)), days=2)
    numbers = sorted(faces(stores[0]).values())
    removed: list[int] = []
    written: list[tuple[str, int]] = []
    refused: list[tuple[str, int]] = []

    def remove(store: Store) -> Callable[[], None]:
        def loop() -> None:
            while count := expire_verdicts(store, 1):
                removed.append(count)

        return loop

    def say(store: Store, who: str) -> Callable[[], None]:
        def loop() -> None:
            for number in numbers[::-7] if who == "Ann" else numbers[::-5]:
                try:
                    label(store, who, number, "fake", "swap", None)
                    written.append((who, number))
                except DataError as error:
                    refused.append((error.message, number))

        return loop

    jobs = [remove(stores[0]), remove(stores[1]), say(stores[2], "Ann"), say(stores[3], "Bob")]
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while count := expire_verdicts(stores[0], 1):  # where the others passed each other by
        removed.append(count)
    assert sum(removed) == MOST + 100
    assert len(written) + len(refused) == len(numbers[::7]) + len(numbers[::5])
    with stores[0].reading() as reading:
        assert sorted(reading.execute(sql.select(LABELS.c.reviewer, LABELS.c.face)).all()) == sorted(written)
    assert {message for message, _ in refused} <= {f"there is no face {number}" for number in numbers}
    assert not {number for _, number in written} & {number for _, number in refused}
    assert set(faces(stores[0]).values()) == {number for _, number in written}
    for store in stores:
        store.close()


def test_servers_agree_on_who_is_gone_whatever_clocks_say(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(where)
    accept(store, "dead", [Accepted("one", "owner", "Ann", "a.jpg", False)])
    state = sql.select(FILES.c.state).where(FILES.c.id == "one")
    at = time.time()

    def beats(server: str, seconds: float) -> str:
        monkeypatch.setattr(verdicts, "now", lambda _: at + seconds)
        alive(store, server)
        with store.reading() as reading:
            return str(reading.execute(state).scalar())

    beats("dead", 3600.0)
    assert beats("me", 0.0) == "accepted", "the clock went back: it may be there as well"
    assert beats("me", LEASE - 1) == "accepted"
    assert beats("me", LEASE + 1) == "failed", "and an hour is not waited for"
    with store.reading() as reading:
        assert reading.execute(sql.select(SERVERS.c.id)).scalars().all() == ["me"]
    store.close()


def test_the_clock_of_several_machines_is_that_of_postgresql(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose own clock is an hour ahead takes no other for gone."""
    if not where.startswith("postgresql"):
        pytest.skip("one machine has one clock")
    store, real = Store(where), time.time
    alive(store, "other")
    accept(store, "other", [Accepted("one", "owner", "Ann", "a.jpg", False)])
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    for _ in range(2):
        alive(store, "me")
    assert (find(store, "one", "owner") or {})["state"] == "accepted"
    store.close()


def test_days_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for days in (0.0, -1.0, float("nan"), 4000.0):
        with pytest.raises(SettingsError, match="verdicts are kept for at most"):
            facetell.serve(store=tmp_path / "s.db", keep_verdicts=days)
    with pytest.raises(UsageError, match="are kept in a store"):
        facetell.serve(keep_verdicts=30)
    with pytest.raises(UsageError, match="kept for 7 days, and the crops of their faces for 30") as refused:
        facetell.serve(store=tmp_path / "s.db", keep_verdicts=7, keep_crops=30)
    assert "--keep-verdicts 30 or more" in (refused.value.hint or "")
    assert list(tmp_path.iterdir()) == []
