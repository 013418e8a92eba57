"""From faces to tracks to the file: the rule by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from facetell.detector.pooling import pool, tracks_of
from facetell.faces.face import Face
from facetell.faces.tracks import link_rows


def face(x: float, side: float = 50, y: float = 100) -> Face:
    return Face((x - side / 2, y - side / 2, side, side), ((x, y),) * 5, 0.9)


def pooled(*faces: tuple[int, float]) -> tuple[dict[int, float], float]:
    """Faces as (track, logit)."""
    tracks, logits = zip(*faces, strict=True)
    found = pool(np.array(logits, np.float32), np.array(tracks))
    return {track: round(value, 5) for track, value in found.tracks.items()}, round(found.logit(None), 5)


def test_a_track_is_the_mean_of_its_faces() -> None:
    assert pooled((0, 1.0), (0, 2.0), (0, -6.0)) == ({0: -1.0}, -1.0)
    assert pooled((7, 0.25)) == ({7: 0.25}, 0.25)


def test_a_file_is_its_most_fake_track() -> None:
    assert pooled((0, -3.0), (1, 2.0), (0, -1.0), (1, 4.0)) == ({0: -2.0, 1: 3.0}, 3.0)


@pytest.mark.parametrize(("seen", "counts"), [(1, False), (2, True), (3, True)])
def test_a_track_of_less_than_a_quarter_does_not_count(seen: int, counts: bool) -> None:
    long = [(0, -2.0)] * 8
    tracks, of_file = pooled(*long, *[(1, 5.0)] * seen)
    assert tracks == {0: -2.0, 1: 5.0}, "its own score is said all the same"
    assert of_file == (5.0 if counts else -2.0)


def test_a_quarter_is_rounded_up() -> None:
    # A quarter of 5 is 1.25: one face is less.
    assert pooled(*[(0, 0.0)] * 5, (1, 9.0))[1] == 0.0
    assert pooled(*[(0, 0.0)] * 4, (1, 9.0))[1] == 9.0


def test_every_face_of_a_picture_counts() -> None:
    assert pooled((0, -1.0), (1, 3.0), (2, 0.5))[1] == 3.0


def test_the_order_of_the_faces_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    tracks, logits = rng.integers(0, 4, 200), rng.normal(size=200).astype(np.float32)
    order = rng.permutation(200)
    assert pool(logits[order], tracks[order]).logit(None) == pytest.approx(pool(logits, tracks).logit(None))


def test_rows_of_close_frames_are_linked_by_place() -> None:
    faces = [face(100), face(400), face(410), face(110), face(120)]
    assert link_rows([0, 0, 5, 5, 10], [0.0, 0.0, 0.2, 0.2, 0.4], faces).tolist() == [0, 1, 1, 0, 0]


def test_rows_of_frames_far_apart_are_linked_by_size() -> None:
    # A long film: a place says nothing after ten seconds, but the main person is the largest.
    faces = [face(100, 80), face(400, 40), face(400, 80), face(100, 40), face(250, 50)]
    assert link_rows([0, 0, 250, 250, 500], [0.0, 0.0, 10.0, 10.0, 20.0], faces).tolist() == [0, 1, 0, 1, 0]


def test_one_long_gap_does_not_make_frames_sparse() -> None:
    faces = [face(100), face(100), face(100), face(100)]
    assert link_rows([0, 2, 4, 99], [0.0, 0.2, 0.4, 9.9], faces).tolist() == [0, 0, 0, 0]


def test_rows_of_one_frame_and_of_none() -> None:
    assert link_rows([3, 3], [0.3, 0.3], [face(300), face(100)]).tolist() == [1, 0]
    assert link_rows([], [], []).tolist() == []


def test_tracks_of_a_face_set_do_not_depend_on_the_order_of_its_rows() -> None:
    faces = [face(100), face(400), face(410), face(110)]
    table = pa.table(
        {
            "frame": pa.array([0, 0, 5, 5], pa.int32()),
            "time": [0.0, 0.0, 0.2, 0.2],
            "box": [list(one.box) for one in faces],
            "landmarks": [[value for point in one.landmarks for value in point] for one in faces],
            "face_score": [0.9] * 4,
        }
    )
    assert tracks_of(table).tolist() == [0, 1, 1, 0]
    order = [3, 1, 0, 2]
    assert tracks_of(table.take(pa.array(order))).tolist() == [0, 1, 0, 1]
