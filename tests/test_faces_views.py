"""Two views of a picture, by a network of a few lines: which view is believed for which face."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from facetell.faces import scales
from facetell.faces.face import Face, in_order
from facetell.faces.scales import Found, find
from facetell.pixels.decode import resize

POINTS = ((0.0, 0.0),) * 5


def candidates(*boxes: tuple[float, float, float, float], scores: tuple[float, ...]) -> Found:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    corners = np.stack([array[:, :2]] * 5, axis=1)
    return Found(array, corners, np.array(scores, np.float32))


def by_view(coarse: Found, fine: Found) -> list[Face]:
    """Faces of a 1280×720 picture."""

    def look(view: NDArray[np.uint8]) -> Found:
        assert view.shape in ((90, 160, 3), (360, 640, 3))
        return coarse if view.shape[1] == 160 else fine

    return find(look, np.zeros((720, 1280, 3), np.uint8))


def test_small_faces_come_from_the_fine_view() -> None:
    (face,) = by_view(candidates((10, 10, 30, 40), scores=(0.9,)), candidates((41, 41, 121, 161), scores=(0.6,)))
    assert face.box == (82, 82, 160, 240)
    assert face.landmarks[0] == (82, 82), "landmarks are scaled with the box"
    assert round(face.score, 5) == 0.6


def test_large_faces_come_from_the_coarse_view_although_less_certain() -> None:
    (face,) = by_view(candidates((10, 10, 60, 80), scores=(0.5,)), candidates((30, 40, 240, 330), scores=(0.9,)))
    assert face.box == (80, 80, 400, 560)
    assert face.score == 0.5


def test_a_large_face_that_only_the_fine_view_sees_is_kept() -> None:
    (face,) = by_view(candidates(scores=()), candidates((30, 40, 240, 330), scores=(0.9,)))
    assert face.box == (60, 80, 420, 580)


def test_overlapping_candidates_are_one_face() -> None:
    fine = candidates((10, 10, 50, 50), (12, 10, 52, 50), (300, 10, 340, 50), scores=(0.7, 0.8, 0.6))
    faces = by_view(candidates(scores=()), fine)
    assert [face.box for face in faces] == [(24, 20, 80, 80), (600, 20, 80, 80)]


def test_a_small_picture_is_scaled_up_and_seen_once() -> None:
    seen = []

    def look(view: NDArray[np.uint8]) -> Found:
        seen.append(view.shape)
        return candidates((40, 40, 80, 120), scores=(0.7,))

    (face,) = find(look, np.zeros((64, 32, 3), np.uint8))
    assert seen == [(160, 80, 3)]
    np.testing.assert_allclose(face.box, (16, 16, 16, 32), rtol=1e-6)


def test_order_is_by_score_then_place() -> None:
    faces = [Face((x, 0, 5, 5), POINTS, score) for x, score in ((9, 0.5), (3, 0.5), (7, 0.9))]
    assert [face.box[0] for face in in_order(faces)] == [7, 3, 9]


def test_scaling_averages_when_shrinking() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    small = resize(stripes, 16)
    assert abs(small[2:-2, 2:-2].astype(int) - 100).max() <= 2
    assert resize(stripes, 64) is stripes


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 2, 30, 500])
def test_overlaps_are_removed_as_torchvision_does(count: int) -> None:
    from torchvision.ops import nms

    rng = np.random.default_rng(0)
    for _ in range(20):
        start = rng.uniform(-20, 200, (count, 2))
        boxes = np.concatenate([start, start + rng.uniform(0, 60, (count, 2))], axis=1).astype(np.float32)
        scores = rng.integers(0, 20, count).astype(np.float32) / 20  # many are equal: then the first goes first
        expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores), scales.OVERLAP).numpy()
        np.testing.assert_array_equal(scales._without_overlaps(boxes, scores), expected)


def test_boxes_without_an_area_do_not_overlap() -> None:
    boxes, scores = np.zeros((3, 4), np.float32), np.ones(3, np.float32)
    assert scales._without_overlaps(boxes, scores).tolist() == [0, 1, 2]
