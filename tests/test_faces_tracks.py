"""Tracks over hand-made sequences of faces."""

from __future__ import annotations

import random
from collections.abc import Iterator

from facetell.faces.face import Face
from facetell.faces.tracks import link


def face(x: float, y: float = 100, side: float = 50) -> Face:
    """A face around (x, y)."""
    return Face((x - side / 2, y - side / 2, side, side), ((x, y),) * 5, 0.9)


def test_one_person_moving_is_one_track() -> None:
    assert list(link([face(100 + 30 * i, side=50 + 2 * i)] for i in range(20))) == [[0]] * 20


def test_two_people_passing_each_other_far_apart() -> None:
    frames = [[face(100 + 25 * i, 100), face(500 - 25 * i, 300)] for i in range(17)]
    assert list(link(frames)) == [[0, 1]] * 17


def test_two_people_side_by_side_moving_together() -> None:
    # Each moves more than half way to where the other was.
    frames = [[face(100 + 35 * i), face(160 + 35 * i)] for i in range(8)]
    assert list(link(frames[:1] + frames[:1])) == [[0, 1]] * 2
    assert all(len(set(numbers)) == 2 for numbers in link(frames))


def test_the_order_of_faces_does_not_matter() -> None:
    rng = random.Random(4)
    frames = [[face(100 + 20 * i, 100), face(500 - 20 * i, 300), face(300, 200 + i)] for i in range(12)]
    expected = [dict(zip(frame, numbers, strict=True)) for frame, numbers in zip(frames, link(frames), strict=True)]
    assert [sorted(numbers.values()) for numbers in expected] == [[0, 1, 2]] * 12
    for _ in range(5):
        shuffled = [rng.sample(frame, len(frame)) for frame in frames]
        found = [
            dict(zip(frame, numbers, strict=True)) for frame, numbers in zip(shuffled, link(shuffled), strict=True)
        ]
        assert found == expected


def test_one_missed_frame_is_bridged_two_are_not() -> None:
    assert list(link([[face(100)], [], [face(130)]])) == [[0], [], [0]]
    assert list(link([[face(100)], [], [], [face(100)]])) == [[0], [], [], [1]]


def test_one_disappears_and_returns_while_the_other_stays() -> None:
    there, away = [face(100), face(400)], [face(100)]
    frames = [there, there, away, there, away, away, there]
    assert list(link(frames)) == [[0, 1], [0, 1], [0], [0, 1], [0], [0], [0, 2]]


def test_a_jump_or_another_size_is_another_person() -> None:
    assert list(link([[face(100)], [face(300)]])) == [[0], [1]]
    assert list(link([[face(100)], [face(100, side=150)]])) == [[0], [1]]


def test_a_face_is_given_once() -> None:
    # Two candidates for one track: the nearer goes on, the other is new.
    assert list(link([[face(100)], [face(120), face(105)]])) == [[0], [1, 0]]
    # Two tracks for one face.
    assert list(link([[face(100), face(140)], [face(130)], [face(130)]])) == [[0, 1], [1], [1]]


def test_new_faces_are_numbered_from_left_to_right() -> None:
    assert list(link([[face(400), face(100), face(700)]])) == [[1, 0, 2]]


def test_streaming() -> None:
    taken = 0

    def frames() -> Iterator[list[Face]]:
        nonlocal taken
        while True:
            taken += 1
            yield [face(100)]

    numbers = link(frames())
    assert [next(numbers) for _ in range(3)] == [[0]] * 3
    assert taken == 3


def test_nothing() -> None:
    assert list(link([])) == []
    assert list(link([[], [], []])) == [[], [], []]
    assert list(link([[face(5, side=0)], [face(5, side=0)]])) == [[0], [0]]
