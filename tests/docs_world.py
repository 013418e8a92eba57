"""What the documented commands are run on: everything the pages name, small and drawn."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import toy
from conftest import tiny_folder
from faceclips import portrait, save_clip, save_photo, walk
from monday import Monday, fill

import facetell

COPIES = ("baseline", "DETECTOR", "adapted", "mine")
"""Of the one detector."""
FACE_SETS = ("faces", "FACESET", "blended", "dfdc")
INBOXES = ("inbox", "inbox/monday")
DAYS = ("saturday", "sunday", "monday", "tuesday")


def build(root: Path, made: Monday) -> None:
    """Fill ``root``: pictures and photos, face sets, detectors with a replay buffer, verdicts and reports."""
    for name in ("photos", "SOURCE", "our-photos"):
        tiny_folder(root / name)
    for label, seed in (("real", 0), ("fake", 1)):
        for i in range(4):
            for folder in ("videos", "known/test", "new"):
                save_photo(root / folder / label / f"{i}.png", portrait(seed + 2 * i))
    facetell.prepare(root / "known", root / "known-faces", faces="find")
    save_clip(root / "videos" / "real" / "clip.mp4", walk(3))
    shutil.copy(root / "videos" / "real" / "clip.mp4", root / "clip.mp4")
    for name in ("suspicious.jpg", "holiday.jpg", "photo.jpg"):
        save_photo(root / name, portrait(50))
    for k, name in enumerate(INBOXES):
        fill(root / name, "real", 12, k)
        fill(root / name, "board", 6, k)  # in the place of the first six
    for folder in ("attack/fake", "monday/fakes"):
        shutil.copytree(made["smooth"], root / folder)
    for folder in ("attack/real", "monday/reals"):
        shutil.copytree(made["real"], root / folder)
    for name in FACE_SETS:
        shutil.copytree(made.faces, root / name)
    shutil.copytree(made.detector, root / "detector")
    for point in (["--at", "fpr=0.01"], ["--at", "recall=0.95", "--name", "ours"]):
        assert facetell_main("threshold", root / "detector", root / "faces", *point) == 0
    for name in COPIES:
        shutil.copytree(root / "detector", root / name)
    toy.toy_faceset(root / "others", seed=9).path.rename(root / "ours")
    for seed, name in enumerate(("swaps", "gans", "diffusion"), start=10):
        toy.toy_faceset(root / "more", seed=seed).path.rename(root / name)
        shutil.rmtree(root / "more")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy, "COUNTS", {"train": 50, "validation": 10, "finetune": 10, "test": 10})
        toy.toy_faceset(root / "more").path.rename(root / "new-attack")
    for day in DAYS:
        facetell_main("detect", root / "detector", root / "inbox", "-o", root / f"{day}.jsonl", "--faces", "crops")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        reports = [facetell.evaluate("baseline", "faces", name, device="cpu") for name in ("report", "report-other")]
        assert all(reports)
    for name in ("report-baseline", "report-detector"):
        shutil.copytree(root / "report", root / name)
    facetell.stress(root / "detector", root / "faces", root / "stress", only=["gamma"], device="cpu")
    facetell.audit(root / "faces", root / "audit")
    _store(root, made)


def _store(root: Path, made: Monday) -> None:
    """A server's store: faces that somebody labelled, and a detector in shadow."""
    pytest.importorskip("sqlalchemy", reason="needs the extra 'serve'")
    import store_world

    from facetell.store.promotions import compare, shadow
    from facetell.store.records import Compared
    from facetell.store.store import Store

    store = Store(root / "verdicts.db")
    for name, said in (("smooth", ("fake", "swap")), ("real", ("real", None))):
        faces = store_world.judged(store, root / "detector", sorted(made[name].iterdir()))
        store_world.say(store, "Ann", faces, *said)
    beside = shadow(store, root / "adapted", "Ann").identity
    compare(store, [Compared("Ann-real-00", beside, beside, "real", 0.1, "fake", 0.9)])
    store.close()


def facetell_main(*words: object) -> int:
    """Run the command in this process; its exit code."""
    from facetell.cli.main import main

    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return int(stop.value.code or 0)


def smaller(words: list[str]) -> list[str]:
    """The same command with the network, the epochs and the faces of a test, where it does not say otherwise itself."""
    from facetell.adaptation.strategies import STRATEGIES

    verb, line = words[0], " ".join(words)
    if verb == "fit":
        settings = toy.tiny(words[1], epochs=1, pair_epochs=1)
        said = {word.split("=")[0] for word in words} | {word.lstrip("-") for word in words}
        if "classifier=" in line:
            settings.pop("grid")
        more = [f"--set={name}={value}" for name, value in settings.items() if name not in said]
        return words + more
    more = {
        "adapt": ["--strategy", next(iter(STRATEGIES)), "--margin", "0.5"],
        "blend": ["--draws", "1"],
        "detect": ["--faces", "crops"],  # pictures here are no faces
        "export": ["--allow-loss", "1"],  # three epochs on toys
        "explain": ["--limit", "1", "--sanity", "1"],
        "stress": ["--only", "gamma"],
    }.get(verb, [])
    return words if more and more[0] in words else words + more
