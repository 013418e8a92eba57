"""Rates and times left: what was done before the first call, and how long that took, counts for neither."""

from __future__ import annotations

import pytest

from facetell.cli import progress
from facetell.cli.progress import counting, trying


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], list[str]]:
    """The clock, and what is shown."""
    now, shown = [0.0], list[str]()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress._Line, "show", lambda _self, text: shown.append(text))
    return now, shown


def test_a_long_first_phase_makes_no_rate(lines: tuple[list[float], list[str]]) -> None:
    now, shown = lines
    with counting("finding faces", "files") as on_file:
        now[0] = 100.0
        on_file(50, 250)
        assert shown[-1].endswith("50/250 files  0.0/s  ? left")
        now[0] = 110.0
        on_file(150, 250)
        assert shown[-1].endswith("150/250 files  10/s  0:10 left")


def test_the_time_left_of_fits_is_that_of_fits(lines: tuple[list[float], list[str]]) -> None:
    now, shown = lines
    with trying() as on_fit:
        now[0] = 60.0
        on_fit(0, 6, "head")
        assert shown[-1].endswith("0/6  head  ? left")
        now[0] = 70.0
        on_fit(2, 6, "whole")
        assert shown[-1].endswith("2/6  whole  0:20 left")
