"""The pixels of ``blend``: views, colours, masks, blends, and faces that are drawn again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from facetell.blending import jitter, pairs, spectrum
from facetell.blending.jitter import Colour, View, bearable, draw_colour, draw_view, frequency, recoloured, sampled
from facetell.blending.mask import default_frame, draw_mask, frame_of, softened
from facetell.blending.pairs import dice
from facetell.blending.selfblended import self_blended
from facetell.faces.crop import CropGeometry, crop, landmarks_within
from facetell.faces.face import Face
from facetell.pixels.decode import decode


def face_of(seed: int = 0, size: tuple[int, int] = (96, 80)) -> NDArray[Any]:
    """A smooth picture with some grain, (H, W, 3), ``size`` (width, height)."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(40, 216, (8, 7, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain = rng.normal(0, 6, (size[1], size[0], 3))
    return (np.asarray(small) + grain).clip(0, 255).astype(np.uint8)


def test_a_dark_face_is_not_coloured_to_black_and_no_pair_is_equal() -> None:
    dark = (face_of() // 16).astype(np.uint8)
    black = Colour(np.eye(3, dtype=np.float32), np.full(3, -30, np.float32))
    assert not recoloured(dark, black).any()
    assert np.array_equal(recoloured(dark, bearable(black, dark)), dark)
    lighter = Colour(np.eye(3, dtype=np.float32), np.full(3, 30, np.float32))
    assert bearable(lighter, dark) is lighter
    for seed in range(30):
        real, fake = pairs.pair_maker(None)(dark, None, np.random.default_rng(seed))
        assert (decode(real) != decode(fake)).any()


def test_dice_depend_on_seed_picture_and_draw() -> None:
    one, other = "ab" * 32, "ab" * 31 + "ac"
    numbers = {dice(*what).random() for what in ((0, one, 0), (1, one, 0), (0, other, 0), (0, one, 1))}
    assert len(numbers) == 4
    assert dice(0, one, 0).random() in numbers


# --- self-blended --------------------------------------------------------------------------------------------------


def test_outside_the_mask_a_blend_is_its_target_and_inside_it_is_not() -> None:
    pixels, changed = face_of(), []
    for seed in range(20):
        target, blend, mask = self_blended(pixels, None, np.random.default_rng(seed))
        assert target.shape == pixels.shape
        assert (blend[mask == 0] == target[mask == 0]).all()
        inner = mask > 0.9 * mask.max()
        changed.append(np.abs(blend - target)[inner].mean())
    assert np.median(changed) > 2


def test_a_mask_lies_within_0_and_1_and_is_zero_at_the_border() -> None:
    peaks = []
    for seed in range(40):
        for size in ((90, 120), (40, 31)):
            rng = np.random.default_rng(seed)
            mask = draw_mask(rng, size, default_frame(rng, size))
            assert mask.shape == size[::-1]
            assert mask.min() == 0
            assert mask.max() <= 1
            assert not np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).any()
            peaks.append(mask.max())
    assert np.median(peaks) > 0.95


def test_a_mask_covers_the_face_that_the_landmarks_tell() -> None:
    for across, down in ((60.0, 70.0), (130.0, 120.0)):  # (x, y) of the nose in 200×200
        points = np.array([[-20, -20], [20, -20], [0, 0], [-15, 22], [15, 22]]) + np.array([across, down])
        masks = [draw_mask(np.random.default_rng(seed), (200, 200), frame_of(points)) for seed in range(20)]
        total = np.mean(masks, axis=0)
        rows, columns = np.indices(total.shape)
        assert abs((total * columns).sum() / total.sum() - across) < 6
        assert abs((total * rows).sum() / total.sum() - down) < 20
        assert total[int(down), int(across)] > 0.9
        assert total[int(down), int(across) - 60 if across > 100 else int(across) + 60] < 0.2


def test_landmarks_are_found_again_in_the_crop() -> None:
    """A white dot is cut out with its face; the dot's pixel in the crop is where `landmarks_within` says."""
    rng = np.random.default_rng(0)
    for geometry in (CropGeometry(1.3), CropGeometry(1.3, size=50), CropGeometry(1.5, align=True)):
        frame = np.zeros((200, 240, 3), np.uint8)
        points = np.array([[90, 80], [130, 84], [112, 104], [95, 125], [126, 127]]) + rng.uniform(-3, 3, (5, 2))
        x, y = (int(value) for value in points[2])
        frame[y - 1 : y + 2, x - 1 : x + 2] = 255
        points[2] = x + 0.5, y + 0.5
        (ax, ay), (bx, by), (cx, cy), (dx, dy), (ex, ey) = points.tolist()
        face = Face((70, 50, 85, 95), ((ax, ay), (bx, by), (cx, cy), (dx, dy), (ex, ey)), 1.0)
        cut = crop(frame, face, geometry)[..., 0].astype(np.float64)
        rows, columns = np.indices(cut.shape) + 0.5
        found = np.array([(cut * columns).sum(), (cut * rows).sum()]) / cut.sum()
        assert np.allclose(landmarks_within(face, geometry)[2] * len(cut), found, atol=0.6)


def test_softened_by_hand() -> None:
    inside = np.zeros((64, 64), np.float32)
    inside[16:48, 16:48] = 1
    mask = softened(inside, 2.0, 1.0)
    assert mask.max() == pytest.approx(1)
    assert mask[32, 32] == pytest.approx(1)
    assert mask[32, 17] < 0.2  # drawn back
    assert mask[32, 24] > 0.9
    assert np.allclose(mask, mask[::-1], atol=1e-6)


@pytest.mark.slow
def test_either_copy_is_the_changed_one_half_of_the_time() -> None:
    """Target against a plain view of the same dice."""
    pixels, plain = face_of(), 0
    for seed in range(200):
        target = self_blended(pixels, None, np.random.default_rng(seed))[0]
        plain += np.array_equal(target, sampled(pixels, draw_view(np.random.default_rng(seed), (96, 80))))
    assert 75 < plain < 125


# --- one picture as a whole ----------------------------------------------------------------------------------------


def test_a_view_never_looks_beyond_the_edge_and_finds_points_again() -> None:
    white = np.full((60, 50, 3), 255, np.uint8)
    for seed in range(50):
        view = draw_view(np.random.default_rng(seed), (50, 60))
        assert sampled(white, view).min() == 255
        corners = np.array([[0, 0], [50, 60]]) * [view.x_scale, view.y_scale] + [view.x_shift, view.y_shift]
        assert corners.min() >= -1e-9
        assert (corners <= [50 + 1e-9, 60 + 1e-9]).all()
        assert np.allclose(view.seen(corners), [[0, 0], [50, 60]])


def test_a_move_carries_a_dot_where_it_says() -> None:
    view = View((80, 80), 1, 0, 1, 0)
    for move in (jitter.Move(1.0, 0.05, 0.0), jitter.Move(1.0, 0.0, -0.05), jitter.Move(1.05, 0.02, 0.01)):
        pixels = np.zeros((80, 80, 3), np.uint8)
        pixels[19:22, 29:32] = 255
        seen = sampled(pixels, view, move)[..., 0].astype(np.float64)
        rows, columns = np.indices(seen.shape) + 0.5
        found = np.array([(seen * columns).sum(), (seen * rows).sum()]) / seen.sum()
        assert np.allclose(move.applied(np.array([[30.5, 20.5]]), (80, 80))[0], found, atol=0.1)


def test_colours_with_no_strength_change_nothing_and_with_all_they_always_do() -> None:
    pixels = face_of()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        still = draw_colour(rng, light=0.0, p=0.0)
        assert (still.matrix == np.eye(3)).all()
        if not still.shift.any():
            assert np.array_equal(recoloured(pixels, still), pixels)
        assert not np.array_equal(recoloured(pixels, draw_colour(rng, light=0.3, p=1.0)), pixels)
    shifted = sum(draw_colour(np.random.default_rng(seed), light=0, p=0).shift.any() for seed in range(500))
    assert 110 < shifted < 190


def test_hue_and_saturation_keep_grey_grey() -> None:
    grey = np.repeat(np.arange(40, 200, dtype=np.uint8)[:, None, None], 3, axis=2)
    for seed in range(40):
        colour = draw_colour(np.random.default_rng(seed), light=0.0, p=1.0)
        if colour.shift.any():
            continue
        made = recoloured(grey, colour).astype(int)
        assert np.ptp(made, axis=2).max() <= 1
        assert np.allclose(made[..., 0], grey[..., 0], rtol=0.105, atol=1)


def test_frequency_makes_softer_and_sharper_pictures() -> None:
    pixels = face_of()
    sharp = [np.asarray(Image.fromarray(frequency(np.random.default_rng(seed), pixels)).convert("L").filter(
        ImageFilter.FIND_EDGES)).std() for seed in range(60)]  # fmt: skip
    plain = np.asarray(Image.fromarray(pixels).convert("L").filter(ImageFilter.FIND_EDGES)).std()
    assert 18 < sum(value < plain for value in sharp) < 42
    assert sum(value == plain for value in sharp) == 0


# --- drawn again ---------------------------------------------------------------------------------------------------


def test_rings_give_a_blurred_picture_its_detail_back() -> None:
    wanted = face_of(3, (120, 96)).astype(np.float32)
    blurred = np.asarray(Image.fromarray(wanted.astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6)), np.float32)
    variances = [laplacian(one) for one in (wanted, blurred, spectrum.rings_matched(blurred, wanted))]
    assert variances[1] < 0.5 * variances[0]
    assert abs(variances[2] - variances[0]) < 0.5 * abs(variances[1] - variances[0])


def test_as_sharp_meets_the_laplacian_of_its_model() -> None:
    wanted: NDArray[np.float32] = face_of(3, (120, 96)).astype(np.float32)
    rng = np.random.default_rng(0)
    for sigma in (0.5, 1.0):
        soft = np.asarray(Image.fromarray(wanted.astype(np.uint8)).filter(ImageFilter.GaussianBlur(sigma)), np.float32)
        grain: NDArray[np.float32] = rng.normal(0, 8, wanted.shape).astype(np.float32)
        found = spectrum.as_sharp(soft, grain, wanted)
        assert laplacian(found, 0) == pytest.approx(laplacian(wanted, 0), rel=1e-3)
    assert np.allclose(spectrum.as_sharp(wanted, (wanted / 10).astype(np.float32), wanted), wanted, atol=1e-3)


def laplacian(picture: NDArray[Any], border: int = 8) -> float:
    """Variance of the Laplacian of the grey picture within its border, by differences."""
    grey = picture @ np.array([0.299, 0.587, 0.114])
    second = np.diff(grey, 2, axis=0)[:, 1:-1] + np.diff(grey, 2, axis=1)[1:-1]
    return float(second[border : len(second) - border, border : second.shape[1] - border].var())


def test_rings_leave_a_picture_that_has_its_detail_alone_and_keep_a_chequerboard() -> None:
    wanted = face_of(4).astype(np.float32)
    assert np.allclose(spectrum.rings_matched(wanted, wanted), wanted, atol=1e-2)
    board = 12.0 * (np.indices((80, 96)).sum(axis=0) % 2 * 2 - 1)[..., None]
    found = spectrum.rings_matched((wanted + board).astype(np.float32), wanted)
    strength = [(one * np.sign(board)).mean() for one in (wanted, found)]
    assert abs(strength[0]) < 0.1
    assert strength[1] > 1  # as much as the real picture has at that fineness, now all in step
    dull = wanted.mean(axis=(0, 1)) + 0.2 * (wanted - wanted.mean(axis=(0, 1)))
    assert np.abs(spectrum.rings_matched(dull, wanted).mean(axis=(0, 1)) - wanted.mean(axis=(0, 1))).max() < 0.5
