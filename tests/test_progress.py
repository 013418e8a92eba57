"""One callback for every verb: what is called, and what is shown where lines cannot be drawn again and where they can."""

from __future__ import annotations

import inspect
import logging
import sys

import pytest
import tqdm.std

import facetell
from facetell import progress
from facetell.progress import Bars, LogHandler, Step, callback, silent


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(tqdm.std, "time", lambda: now[0])
    return now


def test_a_long_first_phase_makes_no_rate(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as show:
        clock[0] = 100.0
        show(Step("finding faces", 50, 250, "files"))
        clock[0] = 109.0  # workers have started
        show(Step("finding faces", 60, 250, "files"))
        clock[0] = 119.0
        show(Step("finding faces", 160, 250, "files"))
    assert capsys.readouterr().err == "finding faces: 160/250 files, 10.00 files/s, 00:09 left\n"


def test_no_time_left_is_told_before_there_can_be_one(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """The first of 300 files waits ten seconds for workers; said to take 47 minutes, they took half a one."""
    with Bars() as show:
        for second, done in ((0, 0), (10, 1), (21, 3), (32, 133)):
            clock[0] = float(second)
            show(Step("judging", done, 300, "files"))
    assert capsys.readouterr().err.splitlines() == [
        "judging: 1/300 files, ? files/s, ? left",
        "judging: 3/300 files, ? files/s, ? left",
        "judging: 133/300 files, 6.00 files/s, 00:27 left",
    ]


def test_the_time_left_of_fits_is_that_of_fits(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as show:
        clock[0] = 60.0
        show(Step("features", 1, 2, "faces"))
        show(Step("trying", 0, 6, "fits", "linear-probe"))
        clock[0] = 65.0
        show(Step("trying", 1, 6, "fits", "linear-probe"))
        clock[0] = 80.0
        show(Step("trying", 4, 6, "fits", "full"))
    assert capsys.readouterr().err == "trying: 4/6 fits, 5.00s/fits, 00:10 left, full\n"


def test_a_line_now_and_then_where_nothing_can_be_drawn_again(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Bars() as show:
        for second in range(61):
            clock[0] = float(second)
            show(Step("scoring", second + 1, 100, "faces"))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        f"scoring: {second + 1}/100 faces" for second in range(10, 61, 10)
    ]


def test_an_epoch_leaves_a_line_with_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as show:
        show(Step("training", 1, 9, "steps", "epoch 1/3", {"loss": 0.7}))
        numbers = {"lr": 1e-4, "validation_auroc": 0.83456, "spread": float("nan"), "images_per_s": 12345.6}
        show(Step("epoch", 1, 3, numbers=numbers, stays=True))
    assert capsys.readouterr().err == "epoch 1/3  lr 0.0001, validation auroc 0.8346, images per s 12,346\n"


def test_on_a_terminal_a_bar_is_drawn_within_its_width_and_goes_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(tqdm.std, "_screen_shape_wrapper", lambda: lambda _file: (60, 20))
    with Bars() as show:
        for done in range(1, 4):
            show(Step("training", done, 9, "steps", "a note that is longer than the terminal is wide " * 2))
    frames = capsys.readouterr().err.split("\r")
    assert any("training:  11%" in frame for frame in frames)
    assert max(map(len, frames)) <= 60
    assert frames[-2].strip() == frames[-1] == ""


def test_work_that_is_done_with_its_first_step_has_no_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Bars() as show:
        show(Step("judging", 1, 1, "files"))
    assert capsys.readouterr().err == ""


def test_a_log_line_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    logger = logging.Logger("apart")
    logger.addHandler(LogHandler())
    logger.warning("before")
    with Bars() as show:
        show(Step("training", 1, 9, "steps"))
        logger.warning("meanwhile")
        show(Step("training", 2, 9, "steps"))
    logger.warning("after")
    said = capsys.readouterr().err
    assert said.startswith("before\n")
    before, after = said.split("meanwhile\n")
    assert before.endswith("\r")  # the bar was wiped out
    assert before.split("\r")[-2].strip() == ""
    assert "training:  11%" in after  # and drawn again
    assert said.endswith("\rafter\n")


def test_a_verb_takes_nothing_true_or_a_function() -> None:
    assert callback(None) is callback(False) is silent
    assert isinstance(callback(True), Bars)
    assert callback(print) is print
    verbs = [getattr(facetell, name) for name in facetell.__all__ if name.islower() and not name.startswith("_")]
    takes = {verb.__name__: set(inspect.signature(verb).parameters) for verb in verbs}
    told = {name for name, arguments in takes.items() if "progress" in arguments}
    assert {"prepare", "fit", "evaluate", "detect", "adapt", "explain", "stress", "audit", "blend"} <= told
    words = {"on_file", "on_face", "on_fit", "on_step", "on_epoch", "on_score", "on_decode", "on_train", "on_progress"}
    assert not any(words & arguments for arguments in takes.values())


def test_nothing_is_imported_for_bars_before_one_is_shown() -> None:
    assert "tqdm" not in vars(progress)
