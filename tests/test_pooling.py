"""From faces to tracks to the file: the rule by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from facetell.detector.pooling import STRETCHED, pool, tracks_of
from facetell.evaluation.drift import Sketch
from facetell.faces.face import Face
from facetell.faces.tracks import link_rows


def face(x: float, side: float = 50, y: float = 100) -> Face:
    return Face((x - side / 2, y - side / 2, side, side), ((x, y),) * 5, 0.9)


def pooled(*faces: tuple[int, float]) -> tuple[dict[int, float], float]:
    """Faces as (track, logit)."""
    tracks, logits = zip(*faces, strict=True)
    found = pool(np.array(logits, np.float32), np.array(tracks))
    return {track.number: round(track.logit, 5) for track in found.tracks}, round(found.logit(None), 5)


def test_a_track_is_the_mean_of_its_faces() -> None:
    assert pooled((0, 1.0), (0, 2.0), (0, -6.0)) == ({0: -1.0}, -1.0)
    assert pooled((7, 0.25)) == ({7: 0.25}, 0.25)


def test_a_file_is_its_most_fake_track() -> None:
    assert pooled((0, -3.0), (1, 2.0), (0, -1.0), (1, 4.0)) == ({0: -2.0, 1: 3.0}, 3.0)


@pytest.mark.parametrize(
    ("longest", "seen", "counts"),
    [(4, 1, True), (5, 1, False), (8, 1, False), (8, 2, True), (31, 3, True), (32, 3, False), (32, 4, True)],
)
def test_a_passer_by_does_not_count(longest: int, seen: int, counts: bool) -> None:
    """One face beside five or more, or fewer than an eighth."""
    tracks, of_file = pooled(*[(0, -2.0)] * longest, *[(1, 5.0)] * seen)
    assert tracks == {0: -2.0, 1: 5.0}, "its own score is said all the same"
    assert of_file == (5.0 if counts else -2.0)


def slow_logit(logits: list[float]) -> float:
    """The largest mean of the whole and of every second place of stretches of an eighth, three faces at least."""
    n = len(logits)
    length = max(3, n // 8)
    if n < 2 * length:
        return sum(logits) / n
    half = (length + 1) // 2
    starts = [i for i in range(n - length + 1) if i % half == 0 or i == n - length]
    return max([sum(logits) / n] + [sum(logits[i : i + length]) / length for i in starts])


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 15, 32, 33, 100, 301])
def test_a_track_is_as_fake_as_its_most_fake_eighth(n: int) -> None:
    rng = np.random.default_rng(n)
    for _ in range(20):
        logits = rng.normal(size=n).astype(np.float32)
        order = rng.permutation(n)
        found = pool(logits[order], np.zeros(n, np.int64), frames=order * 7)
        assert found.logit(None) == pytest.approx(slow_logit(logits.tolist()), abs=1e-5)
        assert np.mean(logits[order][found.deciding.faces]) == pytest.approx(found.logit(None), abs=1e-5)
        frames = np.sort(order[found.deciding.faces])
        assert (np.diff(frames) == 1).all(), "faces that follow each other"


def test_a_fake_eighth_is_found_where_it_is() -> None:
    logits = np.full(32, -3.0, np.float32)
    logits[20:24] = 4.0
    found = pool(logits, np.zeros(32, np.int64))
    assert found.deciding.faces.tolist() == [20, 21, 22, 23]
    assert found.logit(None) == 4.0


@pytest.mark.parametrize("between", [0.2, 0.6, 2.0])
@pytest.mark.parametrize("neighbours", [0.0, 0.25, 0.8])
def test_stretches_cost_no_false_alarms(between: float, neighbours: float) -> None:
    """Real clips of 32 frames that are judged by single faces: at most as many are called fake as faces are."""
    rng = np.random.default_rng(5)

    def clips(count: int, frames: int) -> np.ndarray:
        noise = rng.normal(size=(count, frames))
        for i in range(1, frames):
            noise[:, i] = neighbours * noise[:, i - 1] + np.sqrt(1 - neighbours**2) * noise[:, i]
        return (between * rng.normal(size=(count, 1)) + noise).astype(np.float32)

    faces = clips(20_000, 1)[:, 0]
    real, threshold = Sketch.of(faces), np.quantile(faces, 0.95)
    one_track = np.zeros(32, np.int64)
    called = [pool(clip, one_track).logit(real) >= threshold for clip in clips(2_000, 32)]
    assert np.mean(called) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 2_000)


def test_what_counts_as_how_many() -> None:
    logits, tracks = np.zeros(70, np.float32), np.repeat([0, 1, 2], [32, 33, 5])
    pooled = pool(logits, tracks)
    assert [track.stretched for track in pooled.tracks] == [True, True, False]
    assert pooled.parts(of_tracks=True) == 3
    assert pooled.parts(of_tracks=False) == 2 * STRETCHED + 1


def test_every_face_of_a_picture_counts() -> None:
    assert pooled((0, -1.0), (1, 3.0), (2, 0.5))[1] == 3.0


def test_rows_of_close_frames_are_linked_by_place() -> None:
    faces = [face(100), face(400), face(410), face(110), face(120)]
    assert link_rows([0, 0, 5, 5, 10], [0.0, 0.0, 0.2, 0.2, 0.4], faces, [0] * 5).tolist() == [0, 1, 1, 0, 0]


def test_rows_of_frames_far_apart_are_linked_by_size() -> None:
    # A long film: a place says nothing after ten seconds, but the main person is the largest.
    faces = [face(100, 80), face(400, 40), face(400, 80), face(100, 40), face(250, 50)]
    assert link_rows([0, 0, 250, 250, 500], [0.0, 0.0, 10.0, 10.0, 20.0], faces, [0] * 5).tolist() == [0, 1, 0, 1, 0]


def test_one_long_gap_does_not_make_frames_sparse() -> None:
    faces = [face(100), face(100), face(100), face(100)]
    assert link_rows([0, 2, 4, 99], [0.0, 0.2, 0.4, 9.9], faces, [0] * 4).tolist() == [0, 0, 0, 0]


def test_rows_of_one_frame_and_of_none() -> None:
    assert link_rows([3, 3], [0.3, 0.3], [face(300), face(100)], [0, 0]).tolist() == [1, 0]
    assert link_rows([], [], [], []).tolist() == []


def test_a_track_ends_with_its_scene() -> None:
    # One place, three frames of each scene; the scene of one frame goes with the one before.
    times = [0.2 * i for i in range(7)]
    scenes = [0, 0, 0, 1, 2, 2, 2]
    assert link_rows(range(7), times, [face(100)] * 7, scenes).tolist() == [0, 0, 0, 0, 1, 1, 1]
    far = [10.0 * i for i in range(7)]
    assert link_rows(range(7), far, [face(100)] * 7, scenes).tolist() == [0, 0, 0, 0, 1, 1, 1]
    # A film of which every frame is another scene: as if there were none.
    assert link_rows(range(7), far, [face(100)] * 7, range(7)).tolist() == [0] * 7


def test_tracks_of_a_face_set_do_not_depend_on_the_order_of_its_rows() -> None:
    faces = [face(100), face(400), face(410), face(110)]
    table = pa.table(
        {
            "frame": pa.array([0, 0, 5, 5], pa.int32()),
            "time": [0.0, 0.0, 0.2, 0.2],
            "box": [list(one.box) for one in faces],
            "landmarks": [[value for point in one.landmarks for value in point] for one in faces],
            "face_score": [0.9] * 4,
            "scene": pa.array([0] * 4, pa.int32()),
        }
    )
    assert tracks_of(table).tolist() == [0, 1, 1, 0]
    order = [3, 1, 0, 2]
    assert tracks_of(table.take(pa.array(order))).tolist() == [0, 1, 0, 1]
