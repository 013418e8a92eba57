"""Which frames are taken, against a slow loop over the moments."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facetell.errors import UsageError
from facetell.media.frame_choice import All, Choice, Every, Spread, parse


def taken(choice: Choice, times: list[Fraction], duration: Fraction) -> list[int]:
    ends = [*times[1:], None]
    return [
        i
        for i, (start, end) in enumerate(zip(times, ends, strict=True))
        if choice.takes(start, end, duration, len(times))
    ]


def shown_at(moment: Fraction, times: list[Fraction]) -> int | None:
    """Index of the last frame that began by then: the independent truth."""
    begun = [i for i, time in enumerate(times) if time <= moment]
    return begun[-1] if begun else None


def slow(choice: Choice, times: list[Fraction], duration: Fraction) -> list[int]:
    if isinstance(choice, All) or (isinstance(choice, Spread) and len(times) <= choice.count):
        return list(range(len(times)))
    if isinstance(choice, Spread):
        moments = [(i + Fraction(1, 2)) / choice.count * duration for i in range(choice.count)]
    else:
        moments = [Fraction(0)]
        while moments[-1] + choice.seconds < duration:
            moments.append(moments[-1] + choice.seconds)
    return sorted({index for moment in moments if (index := shown_at(moment, times)) is not None})


steps = st.lists(st.integers(1, 4000), min_size=1, max_size=60)
choices = st.one_of(
    st.integers(1, 70).map(Spread), st.integers(1, 5000).map(lambda ms: Every(Fraction(ms, 1000))), st.just(All())
)


@given(steps=steps, choice=choices, start=st.sampled_from([0, 0, 0, 700]), cut=st.integers(0, 3))
def test_takes_what_is_shown_at_the_moments(steps: list[int], choice: Choice, start: int, cut: int) -> None:
    """Variable rate; a first frame that is late; an end that was declared further away than the frames reach."""
    times = [Fraction(start + sum(steps[:i]), 1000) for i in range(len(steps))]
    duration = Fraction(start + sum(steps), 1000) + cut
    assert taken(choice, times, duration) == slow(choice, times, duration)


@given(frames=st.integers(1, 300), count=st.integers(1, 300), rate=st.sampled_from([24, Fraction(30000, 1001), 60]))
def test_a_constant_rate_gives_the_number_asked_for(frames: int, count: int, rate: Fraction) -> None:
    times = [i / Fraction(rate) for i in range(frames)]
    indices = taken(Spread(count), times, frames / Fraction(rate))
    assert len(indices) == min(frames, count)
    gaps = {b - a for a, b in itertools.pairwise(indices)}
    assert max(gaps, default=0) - min(gaps, default=0) <= 1, "even"


def test_by_hand() -> None:
    times = [Fraction(i) for i in range(10)]
    assert taken(Spread(1), times, Fraction(10)) == [5]
    assert taken(Spread(2), times, Fraction(10)) == [2, 7]
    assert taken(Spread(5), times, Fraction(10)) == [1, 3, 5, 7, 9]
    assert taken(Spread(11), times, Fraction(10)) == list(range(10))
    assert taken(Every(Fraction(3)), times, Fraction(10)) == [0, 3, 6, 9]
    assert taken(Every(Fraction(5, 2)), times, Fraction(10)) == [0, 2, 5, 7]


def test_a_slide_show_is_judged_by_time() -> None:
    times = [Fraction(0), Fraction(1), Fraction(2), Fraction(3), Fraction(97)]
    assert taken(Spread(4), times, Fraction(100)) == [3], "shown 94 % of the time, taken once"


def test_no_length_at_all() -> None:
    assert taken(Spread(1), [Fraction(0)], Fraction(0)) == [0]
    assert taken(Every(Fraction(1)), [Fraction(0)], Fraction(0)) == [0]


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("32", Spread(32)),
        ("all", All()),
        (" ALL ", All()),
        ("2s", Every(Fraction(2))),
        ("2 s", Every(Fraction(2))),
        ("500ms", Every(Fraction(1, 2))),
        ("0.04s", Every(Fraction(1, 25))),
        ("1min", Every(Fraction(60))),
    ],
)
def test_parse(text: str, choice: Choice) -> None:
    assert parse(text) == choice


@pytest.mark.parametrize("text", ["", "0", "-3", "2.5", "s", "0s", "0ms", "1h", "1e3", "nan", "every", "²", "9" * 40])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)
