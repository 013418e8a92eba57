"""What is made of a store: an alarm, and a detector that has learned what people labelled."""

from __future__ import annotations

import csv
import json
import shlex
import time
from pathlib import Path

import pytest
from monday import Monday, fill

import facetell
from facetell.cli.main import main
from facetell.errors import DataError, UsageError

sql = pytest.importorskip("sqlalchemy", reason="needs the extra 'serve'")

from store_world import judged, say  # noqa: E402  without the extra nothing below can be
from test_adapt import area  # noqa: E402
from test_store import where  # noqa: E402
from test_watch import batch, detector, traffic  # noqa: E402

from facetell.detector.bundle import identity_of  # noqa: E402
from facetell.store.records import WHOLE, Accepted, Ended  # noqa: E402
from facetell.store.reviewed import INDEX, write_reviewed  # noqa: E402
from facetell.store.store import Store  # noqa: E402
from facetell.store.tables import CROPS, FACES, FILES, LABELS, TRAIL  # noqa: E402
from facetell.store.verdicts import accept, end  # noqa: E402

__all__ = ["detector", "where"]

pytestmark = pytest.mark.slow


def test_labels_that_are_agreed_on_become_pictures(where: str, made: Monday, tmp_path: Path) -> None:
    store = Store(where)
    files = sorted(made["smooth"].iterdir())[:9]
    one, two, torn, mixed, bare, gone, cut, real, double = judged(store, made.bare, files)
    say(store, "Ann", [one, two, torn, gone, cut, double], "fake", "smooth")
    say(store, "Ann", [mixed], "fake", "flat")
    say(store, "Ann", [bare], "fake")
    say(store, "Bob", [one], "unsure")  # who has no vote
    say(store, "Bob", [torn, real], "real")
    say(store, "Bob", [mixed], "fake", "smooth")
    say(store, "Bob", [two], "fake", "SMOOTH ")  # the same kind
    with store.writing() as done:
        done.execute(LABELS.update().where(LABELS.c.reviewer == "Ann", LABELS.c.face == double).values(kind="SmooTH"))
    again = judged(store, made.bare, files[-1:], sender="Bob")  # the last picture once more, with the other label
    say(store, "Bob", again, "real")
    with store.writing() as done:
        done.execute(CROPS.delete().where(CROPS.c.face == gone))
        done.execute(FACES.update().where(FACES.c.id != real).values(cut="mine"))
        done.execute(FACES.update().where(FACES.c.id == cut).values(cut="another"))
    found = write_reviewed(store, tmp_path / "out", "mine", "Smooth")
    assert (found.fakes, found.reals, found.disagreed, found.other, found.gone, found.foreign) == (2, 1, 4, 1, 1, 1)
    assert found.sentence == (
        "reviewed: 2 fakes of the kind 'smooth' and 1 reals; left out: 4 (reviewers disagree on them), 1 (of another kind, or "
        "of none that was named), 1 (their crops are deleted), 1 (cut out in another way than this detector's faces)"
    )
    with (tmp_path / "out" / "fake" / INDEX).open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["group"] for row in rows] == ["Ann-smooth-00", "Ann-smooth-01"]
    assert {(row["label"], row["source"]) for row in rows} == {("fake", "smooth")}
    assert write_reviewed(store, tmp_path / "all", WHOLE).fakes == 0, "all but one are cut in another way"
    with pytest.raises(DataError) as short:
        write_reviewed(store, tmp_path / "flat", "mine", "flat").check(6, reals=True, named=["flat", "smooth"])
    assert "named are: flat, smooth" in (short.value.hint or "")
    with pytest.raises(UsageError, match="the name of the kind is empty"):
        facetell.adapt(made.bare, tmp_path / "new", store=tmp_path / "store.db", kind=" ")
    store.close()


def test_watch_raises_the_alarm(where: str, detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the same verdicts it finds in a store what it finds in files."""
    store, identity = Store(where), identity_of(detector)
    days = {"2026-01-03": traffic(1, 400), "2026-01-04": traffic(2, 400), "2026-01-05": traffic(3, 300, new=100)}
    files = [batch(detector, tmp_path / f"{name}.jsonl", logits) for name, logits in days.items()]
    with pytest.raises(DataError, match="holds no verdict of this detector in 7 days"):
        facetell.watch(detector, store=where)
    for day, (name, path) in enumerate(zip(days, files, strict=True)):
        lines = path.read_text("utf-8").splitlines()
        ends = [Ended(f"{name}-{k}", "done", f'{{"verdict": {line}}}', identity) for k, line in enumerate(lines)]
        accept(store, "a server", [Accepted(one.id, "owner", "Ann", "photo.jpg", False) for one in ends])
        end(store, ends, None)
        with store.writing() as done:
            created = time.time() - 86_400 * (2 - day)
            done.execute(FILES.update().where(FILES.c.id.startswith(name)).values(created=created))
    calm, expected = facetell.watch(detector, files[:2]), facetell.watch(detector, files)
    assert (calm.seen, expected.seen) == ("nothing", "new")
    found = facetell.watch(detector, store=where, days=2.5)
    for one, other in zip([found.whole, *found.batches], [expected.whole, *expected.batches], strict=True):
        assert (one["files"], one["shares"], one["quantiles"]) == (other["files"], other["shares"], other["quantiles"])
        assert [test["ks"] for test in one["tests"]] == [test["ks"] for test in other["tests"]]
    assert found.seen == "new"
    assert f"facetell adapt detector --store {shlex.quote(store.name)} --kind NAME -o NEW" in str(found.next)
    assert trail(store, "alarm") == [f"detector ({identity}): {found.sentences[0]}"]
    with pytest.raises(SystemExit, match="0"):
        main(["watch", str(detector), "--store", where, "--days", "0.5"])
    assert "400" in capsys.readouterr().out
    with store.writing() as done:
        done.execute(FILES.update().where(FILES.c.id.startswith("2026-01-05")).values(detector="another"))
    assert facetell.watch(detector, store=where).seen == "nothing"
    assert len(trail(store, "alarm")) == 2
    with pytest.raises(UsageError, match="a store is watched alone"):
        facetell.watch(detector, files, store=where)
    with pytest.raises(DataError, match="there is no store"):
        facetell.watch(detector, store=tmp_path / "none.db")
    store.close()


@pytest.mark.fits
def test_adapt_learns_what_was_labelled(made: Monday, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "store.db", tmp_path / "adapted"
    store = Store(path)
    fakes = judged(store, made.detector, sorted(fill(tmp_path / "monday", "barred", 24, 1).iterdir()))
    reals = judged(store, made.detector, sorted(made["real"].iterdir()))
    say(store, "Ann", fakes[:5], "fake", "bars")
    say(store, "Ann", reals, "real")
    with pytest.raises(SystemExit, match="3"):
        main(["adapt", str(made.detector), "--store", str(path), "--kind", "bars", "-o", str(out)])
    said = capsys.readouterr().err
    assert "reviewed: 5 fakes of the kind 'bars' and 24 reals. At least 6 of each are needed" in said
    assert "1 fakes are missing" in said
    say(store, "Ann", fakes[5:], "fake", "bars")
    result = facetell.adapt(made.detector, out, store=path, kind="bars", strategy="full", seed=2)
    assert result.new["counts"] == {"finetune": {"real": {"reviews": 24}, "fake": {"bars": 24}}}
    real, barred = (fill(tmp_path / "test" / kind, kind, 40, 99) for kind in ("real", "barred"))
    assert area(made.detector, real, barred) < 0.65
    assert area(out, real, barred) > 0.85
    assert trail(store, "adapt") == [f"{result.parent['identity']} learned the kind 'bars': {result.chosen}, {out}"]
    store.close()
    with pytest.raises(UsageError, match="a kind is one that reviewers named"):
        facetell.adapt(made.detector, tmp_path / "other", kind="bars", fake=made["smooth"])
    with pytest.raises(UsageError, match="fakes come from a folder, or from a store"):
        facetell.adapt(made.detector, tmp_path / "other", store=path, fake=made["smooth"])
    assert json.loads((out / "detector.json").read_text())["calibration"]


def trail(store: Store, what: str) -> list[str]:
    with store.reading() as reading:
        return list(reading.execute(sql.select(TRAIL.c.about).where(TRAIL.c.what == what)).scalars())
