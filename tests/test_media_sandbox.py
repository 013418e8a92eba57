"""Workers that hang, die and raise."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from facetell.errors import FacetellError, ImageError, MissingExtraError
from facetell.media.workers import Failure, guarded_map
from facetell.threads import ordered

GIVEN: list[int] = []


def logged(item: tuple[Path, int]) -> int:
    path, number = item
    with path.open("a") as file:
        file.write(f"{number} ")
    if number < 0:
        os._exit(7)
    return number


def act(item: str | int) -> object:
    match item:
        case "hang":
            while True:
                pass
        case "stuck":
            time.sleep(600)
        case "held up":
            time.sleep(2)
            return "at last"
        case "exit":
            os._exit(7)
        case "segfault":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "memory":
            raise MemoryError
        case "timeout error":
            raise TimeoutError("its own")
        case "image error":
            raise ImageError("broken", reason="empty", hint="buy another")
        case "extra":
            raise MissingExtraError("this", "media")
        case "unpicklable":
            raise type("Local", (Exception,), {})("cannot travel")
        case "stderr":
            null = Path(os.devnull).stat().st_rdev
            return os.fstat(2).st_rdev == null != os.fstat(sys.stderr.fileno()).st_rdev
        case "given":
            return GIVEN
        case int():
            time.sleep(0.01 * (item % 3))
            return item * item
    raise AssertionError(item)


def give(*values: int) -> None:
    GIVEN.extend(values)


def refuse() -> None:
    raise ValueError("no")


ITEMS: list[str | int] = [0, 1, "exit", 2, "segfault", 3, 4, "memory", "hang", 5, "kill", 6, 7]


@pytest.mark.slow
def test_every_item_has_its_result_in_order_whatever_the_number_of_workers() -> None:
    outcomes = []
    for workers in (1, 3):
        results = list(guarded_map(act, ITEMS, workers, seconds=lambda _: 1.5))
        assert [item for item, _ in results] == ITEMS
        outcomes.append(results)
    assert outcomes[0] == outcomes[1]
    for item, result in outcomes[0]:
        if isinstance(item, int):
            assert result == item * item
        else:
            assert isinstance(result, Failure)
            assert result.reason == ("timeout" if item == "hang" else "crashed")
            assert result.detail


@pytest.mark.slow
def test_who_waits_for_a_busy_machine_is_waited_for_and_not_for_ever() -> None:
    """Two seconds by the clock and none of a processor; a minute of it was once the end of a plain photo."""
    began = time.monotonic()
    held_up, stuck = guarded_map(act, ["held up", "stuck"], 2, seconds=lambda _: 0.7)
    assert held_up == ("held up", "at last")
    assert isinstance(stuck[1], Failure)
    assert stuck[1].reason == "timeout"
    assert 3.5 <= time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("item", "kind", "text"),
    [
        ("timeout error", TimeoutError, "its own"),
        ("image error", ImageError, "broken"),
        ("extra", MissingExtraError, "this needs"),
        ("unpicklable", RuntimeError, "Local: cannot travel"),
    ],
)
def test_exceptions_reach_the_caller_when_their_turn_comes(item: str, kind: type[Exception], text: str) -> None:
    results = guarded_map(act, [1, item, 2], 2, seconds=lambda _: 20)
    assert next(results) == (1, 1)
    with pytest.raises(kind, match=text) as caught:
        next(results)
    assert "in act" in caught.value.__notes__[0], "with the worker's traceback"
    if isinstance(caught.value, ImageError):
        assert (caught.value.reason, caught.value.hint) == ("empty", "buy another")
    with pytest.raises(StopIteration):
        next(results)


def test_endless_items_are_taken_only_as_needed_and_closing_is_prompt() -> None:
    counter = itertools.count()
    results = guarded_map(act, counter, 2, seconds=lambda _: 20)
    assert [next(results)[0] for _ in range(5)] == [0, 1, 2, 3, 4]
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 5
    assert next(counter) <= 5 + 4


def test_closing_does_not_wait_for_a_hanging_item() -> None:
    results = guarded_map(act, [1, "hang", "hang"], 2, seconds=lambda _: 600)
    assert next(results) == (1, 1)
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 8


def test_small_items_go_together_and_a_bad_one_costs_itself() -> None:
    """Nine of them: eight and one, and twice more alone where a group failed."""
    items: list[str | int] = [1, 2, "exit", 3, 4, 5, 6, "hang", 7]
    alone = list(guarded_map(act, items, 2, seconds=lambda _: 1.5))
    together = list(guarded_map(act, items, 2, seconds=lambda _: 1.5, small=lambda _: True))
    assert together == alone
    assert [item for item, result in together if isinstance(result, Failure)] == ["exit", "hang"]


@pytest.mark.parametrize(
    ("numbers", "done"),
    [
        ([0, 1, -1], "0 1 -1 0 1 -1 "),  # together, and then each alone
        ([*range(8), -1], "0 1 2 3 4 5 6 7 -1 "),  # a ninth is not of the eight
        ([0, 1, -100], "0 1 -100 "),  # nor is a large one
        ([0, -100, 1], "0 -100 1 "),
    ],
)
def test_eight_small_items_share_a_way_to_a_worker(tmp_path: Path, numbers: list[int], done: str) -> None:
    items = [(tmp_path / "log", number) for number in numbers]
    found = list(guarded_map(logged, items, 1, seconds=lambda _: 20, small=lambda item: item[1] > -100))
    assert [item for item, _ in found] == items
    assert [isinstance(result, Failure) for _, result in found] == [number < 0 for number in numbers]
    assert (tmp_path / "log").read_text() == done


def test_what_is_raised_among_small_items_comes_in_its_turn() -> None:
    results = guarded_map(act, [1, 2, "image error", 3], 2, seconds=lambda _: 20, small=lambda _: True)
    assert [next(results), next(results)] == [(1, 1), (2, 4)]
    with pytest.raises(ImageError, match="broken"):
        next(results)


def test_initializer_runs_in_each_worker_also_after_a_crash() -> None:
    results = dict(guarded_map(act, ["exit", "given"], 1, seconds=lambda _: 20, initializer=give, initargs=(3, 4)))
    assert results["given"] == [3, 4]


def test_initializer_that_fails() -> None:
    with pytest.raises(FacetellError, match="cannot be started"):
        list(guarded_map(act, [1], 1, seconds=lambda _: 20, initializer=refuse))


def test_chatter_of_c_libraries_is_dropped() -> None:
    assert list(guarded_map(act, ["stderr"], 1, seconds=lambda _: 20)) == [("stderr", True)]


def test_nothing_to_do() -> None:
    assert list(guarded_map(act, [], 2, seconds=lambda _: 20)) == []


def test_items_may_be_paths(tmp_path: Path) -> None:
    assert list(guarded_map(Path.exists, [tmp_path], 1, seconds=lambda _: 20)) == [(tmp_path, True)]


def test_the_others_go_on_while_one_item_takes_long() -> None:
    """As many as may be under way: with fewer the 16th would wait for the first, and that for the 16th."""
    reached = threading.Event()

    def work(number: int) -> bool:
        if number == 15:
            reached.set()
        return reached.wait(20) if number == 0 else True

    assert list(ordered(work, range(20), 2, ahead=8)) == [True] * 20
