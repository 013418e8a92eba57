"""Crops: exact copies when upright, landmarks on the template when aligned, bytes without loss."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from facetell.errors import SettingsError
from facetell.faces.crop import CropGeometry, crop
from facetell.faces.face import Face, Landmarks
from facetell.pixels.decode import decode
from facetell.pixels.encode import encode

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
POINTS: Landmarks = ((40, 40), (60, 40), (50, 50), (43, 62), (57, 62))


def at(*box: float, landmarks: Landmarks = POINTS) -> Face:
    left, top, width, height = box
    return Face((left, top, width, height), landmarks, 0.9)


@pytest.fixture
def frame() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(1, 256, (120, 200, 3), dtype=np.uint8)


def test_an_upright_crop_copies_pixels(frame: NDArray[np.uint8]) -> None:
    # The longer side is 40, so the crop is 52, around (70, 60).
    cut = crop(frame, at(55, 40, 30, 40), CropGeometry(margin=1.3))
    np.testing.assert_array_equal(cut, frame[34:86, 44:96])
    assert not np.shares_memory(cut, frame)


def test_black_where_it_runs_over_the_edge(frame: NDArray[np.uint8]) -> None:
    cut = crop(frame, at(-10, 100, 40, 40), CropGeometry(margin=1.5))
    assert cut.shape == (60, 60, 3)  # around (10, 120): x from -20, y from 90
    np.testing.assert_array_equal(cut[:30, 20:], frame[90:120, 0:40])
    assert not cut[:, :20].any()
    assert not cut[30:].any()


def test_a_face_out_of_the_frame_is_black(frame: NDArray[np.uint8]) -> None:
    for box in ((500, 500, 20, 20), (-90, 10, 20, 20), (10, -90, 20, 20)):
        assert not crop(frame, at(*box), CropGeometry()).any()
    assert crop(frame, at(10, 10, 0, 0), CropGeometry()).shape == (1, 1, 3)


@given(
    left=st.floats(-300, 300),
    top=st.floats(-300, 300),
    width=st.floats(0, 300),
    height=st.floats(0, 300),
    margin=st.floats(0.5, 5),
    size=st.one_of(st.none(), st.integers(1, 64)),
)
def test_always_a_square_of_the_stated_side(
    left: float, top: float, width: float, height: float, margin: float, size: int | None
) -> None:
    frame = np.full((40, 60, 3), 7, np.uint8)
    cut = crop(frame, at(left, top, width, height), CropGeometry(margin=margin, size=size))
    side = max(1, round(margin * max(width, height)))
    assert cut.shape == (min(side, size or side),) * 2 + (3,)
    assert cut.dtype == np.uint8


def test_size_only_shrinks(frame: NDArray[np.uint8]) -> None:
    assert crop(frame, at(50, 50, 40, 40), CropGeometry(margin=1, size=64)).shape == (40, 40, 3)
    small = crop(np.tile(np.uint8([[[0]], [[200]]]), (60, 200, 3)), at(50, 50, 40, 40), CropGeometry(margin=1, size=10))
    assert abs(small[1:-1].astype(int) - 100).max() <= 2, "antialiased"


@pytest.mark.parametrize("margin", [1.0, 1.3])
@pytest.mark.parametrize("angle", [0, 25, -90, 170])
@pytest.mark.parametrize("size", [None, 80])
def test_aligned_landmarks_lie_on_the_template(angle: float, margin: float, size: int | None) -> None:
    """Five blobs in a frame, turned: found again in the crop where ArcFace's template says."""
    scale, turn = 2.0, np.deg2rad(angle)
    spin = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = (TEMPLATE - 56) @ spin.T + (310, 290)
    y, x = np.mgrid[:600, :640] + 0.5
    blobs = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2 / 5**2) for px, py in points)
    frame = np.repeat((255 * blobs).astype(np.uint8)[..., None], 3, axis=2)
    landmarks: Landmarks = tuple((float(px), float(py)) for px, py in points)  # type: ignore[assignment]
    cut = crop(frame, at(0, 0, 9, 9, landmarks=landmarks), CropGeometry(margin=margin, align=True, size=size))
    side = round(112 * scale * margin)
    assert len(cut) == (size or side), "the frame's resolution, or the size asked for"
    expected = ((TEMPLATE - 56) / margin + 56) * len(cut) / 112
    spread = 5 * len(cut) / side
    rows, columns = np.mgrid[: len(cut), : len(cut)] + 0.5
    for px, py in expected:
        near = cut[..., 0] * (np.hypot(columns - px, rows - py) < 2.5 * spread)
        assert (near * columns).sum() / near.sum() == pytest.approx(px, abs=0.25)
        assert (near * rows).sum() / near.sum() == pytest.approx(py, abs=0.25)


def test_an_upright_face_at_full_scale_is_not_blurred_by_alignment() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    landmarks: Landmarks = tuple((float(x) + 30, float(y) + 40) for x, y in TEMPLATE)  # type: ignore[assignment]
    cut = crop(frame, at(0, 0, 1, 1, landmarks=landmarks), CropGeometry(margin=1, align=True))
    assert abs(cut.astype(int) - frame[40:152, 30:142]).max() <= 1


def test_aligned_degenerate_landmarks_do_not_crash(frame: NDArray[np.uint8]) -> None:
    for point in ((50.0, 50.0), (-1e6, 3e5)):
        landmarks: Landmarks = (point,) * 5
        assert crop(frame, at(0, 0, 9, 9, landmarks=landmarks), CropGeometry(align=True)).shape == (1, 1, 3)


def test_geometry_goes_through_a_dictionary() -> None:
    for geometry in (CropGeometry(), CropGeometry(1.5, True, 224)):
        assert CropGeometry.from_dict(geometry.as_dict()) == geometry
    assert CropGeometry.from_dict({}) == CropGeometry()
    with pytest.raises(SettingsError, match="did you mean 'margin'"):
        CropGeometry.from_dict({"margn": 1.3})


@pytest.mark.parametrize("wrong", [{"margin": 0.2}, {"margin": float("nan")}, {"margin": 9}, {"size": 0}])
def test_impossible_geometry_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        CropGeometry.from_dict(wrong)


def test_bytes_without_loss(frame: NDArray[np.uint8]) -> None:
    data = encode(frame)
    assert data.startswith(b"\x89PNG")
    np.testing.assert_array_equal(decode(data), frame)
    assert encode(frame) == data


def test_jpeg_keeps_full_colour_resolution(frame: NDArray[np.uint8]) -> None:
    data = encode(frame, 90)
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
    assert len(encode(frame, 50)) < len(data)
    for wrong in (0, 101):
        with pytest.raises(SettingsError):
            encode(frame, wrong)
