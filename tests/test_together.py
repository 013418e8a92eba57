"""Two processes at once on one target, killed at any step and at any moment: it is the old or the new one, and whole.

``FACETELL_ROUNDS=20`` kills every verb at random moments in that many rounds, and in place of all its steps.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from monday import Monday
from nursery import Nursery, Run
from toy import TINY, toy_faceset, toy_source

import facetell
from facetell.detector.bundle import read_bundle
from facetell.faceset.table import FaceSet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, and kills a group of processes"),
]

log = logging.getLogger("together")

ROUNDS = int(os.environ.get("FACETELL_ROUNDS", "1"))
STEPPED = ("prepare", "threshold", "remember")
"""Verbs that are killed in place of steps in the ordinary suite, of those that put something in its place."""
SLOW = ("adapt", "fit", "evaluate")
"""Verbs that are killed in place of dangerous steps only, however many the rounds."""
RARE = ("adapt", "fit", "calibrate")
"""Verbs that cost the ordinary suite too much, or write as another does."""


@dataclass(frozen=True)
class Verb:
    """A command twice, what it finds in its folder, and how a reader sees what it made.

    ``read`` raises where the target is torn. ``again`` is for going on after a kill.
    """

    begin: Callable[[Path], object]
    commands: Callable[[Path], tuple[list[Any], list[Any]]]
    read: Callable[[Path], Any]


@dataclass
class World:
    made: Monday
    source: Path
    other: Path
    nursery: Nursery
    root: Path
    stages: dict[str, Stage] = field(default_factory=dict)

    def stage(self, name: str) -> Stage:
        """The stage of a verb, for all tests."""
        if name not in self.stages:
            self.stages[name] = Stage(self.verbs()[name], self.nursery, self.root / f"stage of {name}")
        return self.stages[name]

    def verbs(self) -> dict[str, Verb]:
        made, faces, other = self.made, self.made.faces, self.other
        tiny = [f"--set={key}={value}" for key, value in {**TINY, "epochs": 2}.items()]

        def detector(folder: Path) -> None:
            shutil.copytree(made.detector, folder / "it")

        def twice(*arguments: Any) -> Callable[[Path], tuple[list[Any], list[Any]]]:
            return lambda folder: ([*_at(arguments, folder)], [*_at(arguments, folder)])

        def either(one: list[Any], two: list[Any]) -> Callable[[Path], tuple[list[Any], list[Any]]]:
            return lambda folder: ([*_at(one, folder)], [*_at(two, folder)])

        it = Path("it")
        return {
            "prepare": Verb(
                lambda folder: shutil.copytree(other, folder / "it"),
                twice("prepare", self.source, "-o", it, "--overwrite"),
                read_faceset,
            ),
            "prepare anew": Verb(lambda folder: None, twice("prepare", self.source, "-o", it), read_faceset),
            "threshold": Verb(
                detector,
                either(
                    ["threshold", it, other, "--at", "recall=0.9", "--name", "a"],
                    ["threshold", it, faces, "--at", "fpr=0.1", "--name", "b"],
                ),
                read_detector,
            ),
            "calibrate": Verb(detector, either(["calibrate", it, other], ["calibrate", it, faces]), read_detector),
            "remember": Verb(
                detector,
                either(
                    ["remember", it, faces, "--faces", "40", "--seed", "5"],
                    ["remember", it, faces, "--faces", "44", "--seed", "6"],
                ),
                read_detector,
            ),
            "adapt": Verb(
                lambda folder: None,
                twice(
                    "adapt", made.detector, "--fake", made["smooth"], "--real", made["real"], "--strategy", "linear-probe",
                    "-o", it,
                ),
                read_detector,
            ),
            "fit": Verb(lambda folder: None, twice("fit", "finetune", faces, "-o", it, "--resume", *tiny), read_detector),
            "evaluate": Verb(
                lambda folder: shutil.copytree(self.root / "report", folder / "it"),
                twice("evaluate", made.detector, faces, "--split", "validation", "-o", it),
                read_report,
            ),
            "detect": Verb(
                lambda folder: None,
                twice("detect", made.bare, made["real"], "--faces", "crops", "--workers", "1", "-o", it),
                read_verdicts,
            ),
        }  # fmt: skip


def _at(arguments: Any, folder: Path) -> Iterator[Any]:
    return (folder / each if each == Path("it") else each for each in arguments)


def read_faceset(path: Path) -> Any:
    if not path.exists():
        return None
    faces = FaceSet.open(path)
    faces.verify()
    return faces.fingerprint


def read_detector(path: Path) -> Any:
    if not path.exists():
        return None
    facetell.verify(path)
    description = read_bundle(path)
    for event in description["lineage"].get("history", []):
        event.pop("when", None)
    for name in ("training.csv",):  # it tells seconds
        description["files"].pop(name, None)
    # A threshold that was carried from curve to curve another way round may differ in its last digit.
    return json.loads(json.dumps(description), parse_float=lambda number: round(float(number), 9))


def read_report(path: Path) -> Any:
    report = json.loads((path / "report.json").read_text())
    table = hashlib.sha256((path / "predictions.parquet").read_bytes()).hexdigest()
    assert all((path / plot).is_file() for plot in report["plots"].values())
    assert "</html>" in (path / "report.html").read_text()
    return json.dumps(report, sort_keys=True), table


def read_verdicts(path: Path) -> Any:
    """All but a last line that a kill has torn; none twice, and in order."""
    if not path.exists():
        return ()
    lines = path.read_text().split("\n")[:-1]
    paths = [json.loads(line)["path"] for line in lines]
    assert paths == sorted(set(paths))
    return tuple(lines)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture(scope="module")
def world(made: Monday, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("together")
    source = toy_source(root / "pictures")
    other = toy_faceset(root / "other", seed=9).path
    facetell.evaluate(made.bare, made.faces, root / "report", split="test", device="cpu")
    (root / "said").mkdir()
    with Nursery(root / "said", root / "cache") as nursery:
        yield World(made, source, other, nursery, root)


@dataclass
class Stage:
    """One verb in one folder, with what is known of undisturbed runs of its two commands."""

    verb: Verb
    nursery: Nursery
    folder: Path

    def __post_init__(self) -> None:
        self.commands = self.verb.commands(self.folder)
        self.states: dict[tuple[int, ...], Any] = {}
        self.names: dict[tuple[int, ...], list[str]] = {}
        self.seconds = math.inf
        self.alike = self.commands[0] == self.commands[1]
        for first, second in [(0, 1)] if self.alike else [(0, 1), (1, 0)]:
            self.begin()
            self.states[()], self.names[()] = self.read(), names(self.folder)
            for order in ((first,), (first, second)):
                began = time.monotonic()
                self.whole(order[-1])
                if len(order) == 1:  # the second may have nothing to do
                    self.seconds = min(self.seconds, time.monotonic() - began)
                self.states[order], self.names[order] = self.read(), names(self.folder)

    def begin(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.verb.begin(self.folder)

    def read(self) -> Any:
        return self.verb.read(self.folder / "it")

    def start(self, which: int, die_at: int | None = None) -> Run:
        return self.nursery.start(self.commands[which], die_at)

    def whole(self, which: int) -> None:
        """An undisturbed run; 2 is for a target that exists already."""
        run = self.start(which)
        code = run.wait()
        said = run.said.read_text()
        assert code == 0 or (code == 2 and "exists" in said), said

    def steps(self) -> list[str]:
        self.begin()
        return self.nursery.steps(self.commands[0])

    def after(self, *done: int) -> list[Any]:
        """States in which at least these commands were done."""
        anything = self.alike and done
        return [state for order, state in self.states.items() if set(done) <= set(order) or (anything and order)]


VERBS = ("prepare", "prepare anew", "threshold", "calibrate", "remember", "adapt", "fit", "evaluate", "detect")


def dangerous(steps: list[str], names: tuple[str, ...]) -> list[int]:
    """The steps of these names that touch the target, and those that follow them."""
    found = [
        place
        for place, step in enumerate(steps)
        if step.split()[0] in names and "/cache/" not in step and ".partial/" not in step
    ]
    return sorted({place + more for place in found for more in (0, 1)} & set(range(len(steps))))


@pytest.mark.parametrize("name", STEPPED if ROUNDS == 1 else VERBS)
def test_killed_in_place_of_a_step(name: str, world: World) -> None:
    stage = world.stage(name)
    steps = stage.steps()
    places = list(range(len(steps)))
    if ROUNDS == 1:
        places = dangerous(steps, ("replace", "_exchange"))
    elif name in SLOW:
        places = dangerous(steps, ("replace", "rename", "_exchange", "rmdir"))
    for place in places:
        stage.begin()
        run = stage.start(0, place)
        run.wait()
        assert run.code == -9, (steps[place], run.said.read_text())
        about = f"step {place} of {len(steps)}: {steps[place]}"
        found = stage.read()
        if name == "detect":
            assert found == stage.states[(0,)][: len(found)], about
        else:
            assert found in (stage.states[()], stage.states[(0,)]), about
        stage.whole(0)
        assert stage.read() == stage.states[(0,)], about
        assert names(stage.folder) == stage.names[(0,)], about
    log.info("%s: killed at %d of %d steps", name, len(places), len(steps))


@pytest.mark.parametrize("name", [name for name in VERBS if ROUNDS > 1 or name not in RARE])
def test_two_at_once_and_kills_at_random(name: str, world: World) -> None:
    stage = world.stage(name)
    rng = random.Random(f"{name} {os.environ.get('FACETELL_SEED', 7)}")
    hit = 0
    for number in range(ROUNDS):
        stage.begin()
        runs = [stage.start(0), stage.start(1)]
        victims = [[], [0], [1], [0, 1]][rng.randrange(4) if number else 1]
        began = time.monotonic()
        for victim in victims:
            moment = began + rng.uniform(0, 1.8 * stage.seconds)
            while time.monotonic() < moment and not runs[victim].over():
                time.sleep(0.001)
            hit += runs[victim].kill()
            stage.read()  # whole, whatever the other does meanwhile
        for run in runs:
            said = "" if run.wait() in (0, -9) else run.said.read_text()
            assert not said or (run.code == 2 and "exists" in said), said
        done = [which for which, run in enumerate(runs) if run.code == 0]
        found = stage.read()
        if name == "detect":
            assert found == stage.states[(0,)][: len(found)]
        else:
            assert found in stage.after(*done), (number, victims, done)
        for which in range(1 if stage.alike else 2):
            stage.whole(which)
        assert stage.read() == stage.states[0, 1], (number, victims)
        assert names(stage.folder) == stage.names[0, 1], (number, victims)
    log.info("%s: %d rounds of %.2f s, %d kills at work", name, ROUNDS, stage.seconds, hit)


def test_a_list_of_verdicts_torn_anywhere_is_gone_on_with(world: World) -> None:
    stage = world.stage("detect")
    stage.begin()
    stage.whole(0)
    whole = (stage.folder / "it").read_bytes()
    for cut in random.Random(3).sample(range(len(whole)), ROUNDS):
        (stage.folder / "it").write_bytes(whole[:cut])
        stage.whole(0)
        assert (stage.folder / "it").read_bytes() == whole
