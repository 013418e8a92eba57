"""A picture at several scales, by networks of a few lines: which view is believed, and that no face is too small or large."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from facetell.faces.candidates import OVERLAP, Found, overlapping_once
from facetell.faces.face import Face, in_order
from facetell.faces.scales import Sight, find
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

    return find(Sight(look, 0.35, 16, None, 640), np.zeros((720, 1280, 3), np.uint8), 32)


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

    (face,) = find(Sight(look, 0.35, 32, None, 640), np.zeros((64, 32, 3), np.uint8), 32)
    assert seen == [(160, 80, 3)]
    np.testing.assert_allclose(face.box, (16, 16, 16, 32), rtol=1e-6)


def squares(view: NDArray[np.uint8], surely: int = 31) -> Found:
    """Stands in for a network: finds bright squares of 32 to 256 pixels surely, of 15 to 32 as a trace, halves of larger ones."""
    labels, _ = ndimage.label(view[..., 0] > 128)
    rows = []
    for down, right in ndimage.find_objects(labels):
        side = max(down.stop - down.start, right.stop - right.start)
        end = right.stop if side <= 300 else right.start + side // 2
        if side >= 15:
            rows.append(
                (right.start, down.start, end, down.stop, 0.9 if surely <= side <= 300 else 0.4 if side > 300 else 0.1)
            )
    array = np.array(rows, np.float32).reshape(-1, 5)
    return Found(array[:, :4], np.zeros((len(array), 5, 2), np.float32), array[:, 4])


@pytest.mark.parametrize("trace", [0.02, None], ids=["by traces", "in tiles"])
@pytest.mark.parametrize("shape", [(480, 640), (1000, 1000), (900, 1600), (400, 5000), (2600, 1900)])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_face_from_the_least_size_on_is_found_once(
    shape: tuple[int, int], trace: float | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pixels = np.zeros((*shape, 3), np.uint8)
    drawn = []
    for _ in range(40):
        side = int(rng.choice([32, 33, 40, 60, 100, 200, 380]))
        top, left = (int(rng.integers(0, max(1, length - side))) for length in shape)
        around = pixels[max(0, top - 20) : top + side + 20, max(0, left - 20) : left + side + 20]
        if not around.any() and top + side <= shape[0]:
            pixels[top : top + side, left : left + side] = 255
            drawn.append((left, top, side, side))
    seen: list[tuple[int, ...]] = []

    def look(view: NDArray[np.uint8]) -> Found:
        seen.append(view.shape)
        return squares(view)

    faces = find(Sight(look, 0.35, 32, trace, 640), pixels, 32)
    assert len(faces) == len(drawn)
    for box in drawn:
        nearest = min(faces, key=lambda face: sum(abs(a - b) for a, b in zip(face.box, box, strict=True)))
        np.testing.assert_allclose(nearest.box, box, atol=max(3, 0.06 * box[2]))
    assert max(max(view[:2]) for view in seen) <= 640


@pytest.mark.parametrize("side", [70, 90, 110])
def test_a_face_that_is_hard_to_see_is_found_by_its_trace(side: int) -> None:
    """Seen surely from 60 pixels on only, although the network promises 32: in half the scale it is a trace."""
    pixels = np.zeros((2000, 3000, 3), np.uint8)
    pixels[700 : 700 + side, 1111 : 1111 + side] = 255
    (face,) = find(Sight(lambda view: squares(view, 60), 0.35, 32, 0.02, 640), pixels, 32)
    np.testing.assert_allclose(face.box, (1111, 700, side, side), atol=3)


def test_a_picture_without_traces_is_looked_at_at_half_the_scale() -> None:
    seen = 0

    def look(view: NDArray[np.uint8]) -> Found:
        nonlocal seen
        seen += view.shape[0] * view.shape[1]
        return squares(view)

    assert find(Sight(look, 0.35, 32, 0.02, 4000), np.zeros((3000, 4000, 3), np.uint8), 32) == []
    assert seen < 1.1 * 1500 * 2000


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
        expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores), OVERLAP).numpy()
        np.testing.assert_array_equal(overlapping_once(boxes, scores), expected)


def test_boxes_without_an_area_do_not_overlap() -> None:
    boxes, scores = np.zeros((3, 4), np.float32), np.ones(3, np.float32)
    assert overlapping_once(boxes, scores).tolist() == [0, 1, 2]
