"""Quality falls with what it says it falls with, and the rule gives the first reason that applies."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from facetell.errors import SettingsError
from facetell.faces.face import Face, Landmarks
from facetell.faces.quality import FaceRule, judge

FRONTAL: Landmarks = ((80, 90), (120, 90), (100, 110), (85, 135), (115, 135))


def face(box: tuple[float, float, float, float] = (30, 30, 140, 140), points: Landmarks = FRONTAL) -> Face:
    return Face(box, points, 0.9)


@pytest.fixture
def frame() -> NDArray[np.uint8]:
    """Broad light and shade with random patches of 3 pixels, smoothed: about the detail of a real face."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (70, 70, 3), dtype=np.uint8))
    patches = np.array(small.resize((210, 210), Image.Resampling.BICUBIC), dtype=np.float64)
    x, y = np.meshgrid(np.arange(210), np.arange(210))
    shade = 128 + 90 * np.sin(x / 40) * np.sin(y / 40)
    return (0.7 * shade[..., None] + 0.3 * patches).clip(0, 255).astype(np.uint8)


def test_a_good_face_is_as_good_as_its_score(frame: NDArray[np.uint8]) -> None:
    quality = judge(frame, face())
    assert (quality.size, quality.sharpness, quality.inside, quality.frontal) == pytest.approx((1, 1, 1, 1))
    assert quality.value == 0.9


def test_size(frame: NDArray[np.uint8]) -> None:
    assert judge(frame, face((50, 50, 20, 32))).size == 0.25


def test_blur_lowers_sharpness_step_by_step(frame: NDArray[np.uint8]) -> None:
    values = [
        judge(np.array(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(radius))), face()).sharpness
        for radius in (0, 2, 4, 8)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.9
    assert values[-1] < 0.3


def test_darkness_is_not_blur(frame: NDArray[np.uint8]) -> None:
    blurred = np.array(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(2)))
    bright, dark = judge(blurred, face()).sharpness, judge(blurred // 2, face()).sharpness
    assert dark == pytest.approx(bright, rel=0.1)


def test_a_flat_box_has_no_sharpness() -> None:
    assert judge(np.full((200, 200, 3), 90, np.uint8), face()).sharpness == 0


def test_share_inside(frame: NDArray[np.uint8]) -> None:
    assert judge(frame, face((-50, 10, 100, 100))).inside == 0.5
    outside = judge(frame, face((500, 10, 100, 100)))
    assert outside.inside == outside.sharpness == outside.value == 0
    assert judge(frame, face((10, 10, 0, 0))).value == 0


def test_turning_the_head_lowers_frontal(frame: NDArray[np.uint8]) -> None:
    def nose_at(x: float) -> float:
        return judge(frame, face(points=(FRONTAL[0], FRONTAL[1], (x, 110), FRONTAL[3], FRONTAL[4]))).frontal

    assert nose_at(100) == 1
    assert nose_at(110) == pytest.approx(0.65)
    assert nose_at(90) == pytest.approx(0.65)
    assert nose_at(120) == nose_at(140) == pytest.approx(0.3)


def test_tilting_the_head_does_not(frame: NDArray[np.uint8]) -> None:
    turn = np.exp(1j * np.deg2rad(40))
    tilted = [complex(x - 100, y - 100) * turn for x, y in FRONTAL]
    points: Landmarks = tuple((z.real + 100, z.imag + 100) for z in tilted)  # type: ignore[assignment]
    assert judge(frame, face(points=points)).frontal == pytest.approx(1)


def test_landmarks_in_one_point_count_as_profile(frame: NDArray[np.uint8]) -> None:
    assert judge(frame, face(points=((5, 5),) * 5)).frontal == 0.3


def test_the_rule_gives_the_first_reason() -> None:
    rule = FaceRule(min_side=40, min_score=0.6, min_quality=0.5)
    good = face()
    small = face((0, 0, 39, 20))
    unsure = dataclasses.replace(good, score=0.59)
    assert rule.reason(good, 0.5) is None
    assert rule.reason(good, 0.49) == "face_low_quality"
    assert rule.reason(unsure, 0.1) == "face_unsure"
    assert rule.reason(dataclasses.replace(small, score=0.1), 0.1) == "face_too_small"
    assert FaceRule(0, 0, 0).reason(small, 0) is None


@pytest.mark.parametrize("wrong", [{"min_side": -1}, {"min_score": 1.1}, {"min_quality": -0.1}])
def test_impossible_rules_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        FaceRule(**wrong)
