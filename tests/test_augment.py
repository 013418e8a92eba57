"""Batched augmentation against a slow per-image, per-pixel reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from facetell.training.augment import Augmentation, apply, draw

NOTHING = Augmentation(flip=False, translate=0, zoom=0, rotate=0, cutout_holes=0)


def slow_sample(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Bilinear resampling with repeated border, one pixel at a time. ``image``: (3, S, S)."""
    size = image.shape[-1]
    out = np.empty_like(image)
    for row in range(size):
        for column in range(size):
            x, y = (2 * column + 1) / size - 1, (2 * row + 1) / size - 1
            u, v = matrix @ np.array([x, y, 1.0])
            px = min(max(((u + 1) * size - 1) / 2, 0.0), size - 1.0)
            py = min(max(((v + 1) * size - 1) / 2, 0.0), size - 1.0)
            x0, y0 = math.floor(px), math.floor(py)
            x1, y1 = min(x0 + 1, size - 1), min(y0 + 1, size - 1)
            a, b = px - x0, py - y0
            out[:, row, column] = (
                image[:, y0, x0] * (1 - a) * (1 - b)
                + image[:, y0, x1] * a * (1 - b)
                + image[:, y1, x0] * (1 - a) * b
                + image[:, y1, x1] * a * b
            )
    return out


def slow_cutout(image: np.ndarray, holes: np.ndarray) -> np.ndarray:
    out = image.copy()
    size = image.shape[-1]
    for top, left, bottom, right in holes:
        for row in range(max(0, top), min(size, bottom)):
            for column in range(max(0, left), min(size, right)):
                out[:, row, column] = 0
    return out


@pytest.mark.parametrize("seed", range(3))
def test_batch_against_the_slow_reference(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(4, 3, 32, 32, generator=generator)
    draws = draw(4, 32, Augmentation(rotate=20, zoom=0.2, translate=4, cutout_size=3), generator)
    found = apply(images, draws).numpy()
    for image, matrix, holes, result in zip(
        images.numpy(), draws.matrix.numpy(), draws.holes.numpy(), found, strict=True
    ):
        expected = slow_cutout(slow_sample(image.astype(np.float64), matrix.astype(np.float64)), holes)
        np.testing.assert_allclose(result, expected, atol=2e-5)


def test_nothing_changes_nothing() -> None:
    images = torch.rand(5, 3, 64, 64)
    torch.testing.assert_close(apply(images, draw(5, 64, NOTHING, torch.Generator())), images, atol=1e-5, rtol=0)


def test_a_whole_pixel_shift_repeats_the_border() -> None:
    images = torch.rand(1, 3, 64, 64)
    draws = draw(1, 64, NOTHING, torch.Generator())
    draws.matrix[0, 0, 2] = 2 * 2 / 64  # two pixels to the left
    moved = apply(images, draws)
    torch.testing.assert_close(moved[..., :62], images[..., 2:], atol=1e-4, rtol=0)
    torch.testing.assert_close(moved[..., 63], images[..., 63], atol=1e-4, rtol=0)


def test_flip_mirrors_half_and_only_mirrors() -> None:
    images = torch.rand(1, 3, 16, 16).expand(400, -1, -1, -1)
    ranges = Augmentation(flip=True, translate=0, zoom=0, rotate=0, cutout_holes=0)
    out = apply(images, draw(400, 16, ranges, torch.Generator().manual_seed(0)))
    mirrored = [torch.allclose(one, images[0].flip(-1), atol=1e-5) for one in out]
    same = [torch.allclose(one, images[0], atol=1e-5) for one in out]
    assert sum(mirrored) + sum(same) == 400
    assert 160 < sum(mirrored) < 240


def test_ranges_of_the_draws_are_the_papers() -> None:
    draws = draw(4000, 64, Augmentation(), torch.Generator().manual_seed(1))
    shift = draws.matrix[:, :, 2] * 64 / 2
    assert 1.95 < shift.abs().max() <= 2.0
    zoom = draws.matrix[:, :, :2].norm(dim=1)  # lengths of the columns: the zoom of each axis
    assert 0.8 <= zoom.min() < 0.81
    assert 1.19 < zoom.max() <= 1.2 + 1e-6
    assert not torch.allclose(zoom[:, 0], zoom[:, 1])
    angle = torch.atan2(draws.matrix[:, 1, 0], draws.matrix[:, 0, 0].abs()).abs() * 180 / math.pi
    assert angle.max() <= 0.2 + 1e-4


def test_cutout_sizes_counts_and_places() -> None:
    holes = draw(8000, 64, Augmentation(cutout_holes=3, cutout_size=5), torch.Generator().manual_seed(2)).holes
    side = holes[..., 2] - holes[..., 0]
    assert torch.equal(side, holes[..., 3] - holes[..., 1])
    used = side > 0
    assert set(side[used].unique().tolist()) == {4, 8, 12, 16, 20}
    counts = torch.bincount(used.sum(dim=1), minlength=4) / 8000
    torch.testing.assert_close(counts, torch.full((4,), 0.25), atol=0.03, rtol=0)  # 0..α, each as often
    centre = holes[..., 0] + side // 2
    assert centre[used].min() == 0
    assert centre[used].max() == 63
    none = draw(9, 64, Augmentation(cutout_holes=0), torch.Generator())
    assert none.holes.shape == (9, 0, 4)


def test_cutout_grows_with_the_image() -> None:
    holes = draw(500, 224, Augmentation(cutout_size=1), torch.Generator().manual_seed(3)).holes
    assert set((holes[..., 2] - holes[..., 0]).unique().tolist()) == {0, 14}  # 4 px at 64 are 14 px at 224


def test_same_seed_same_draws() -> None:
    first, second = (draw(8, 64, Augmentation(), torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first.matrix, second.matrix)
    assert torch.equal(first.holes, second.holes)
