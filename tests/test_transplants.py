"""A real face is given one thing of a fake, and nothing else of it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from conftest import picture_bytes
from PIL import Image

from facetell.adaptation.transplants import TRANSPLANTS, transplanted
from facetell.pixels.decode import decode, decode_resized
from facetell.pixels.image_statistics import FAMILIES

RNG = np.random.default_rng


def moved(name: str, real: bytes, donor: bytes) -> bytes:
    return TRANSPLANTS[name](decode(real), donor)


def mid_grey(seed: int, size: tuple[int, int], spread: float, kind: str = "PNG", **options: object) -> bytes:
    """Noise that clips nowhere."""
    rng = RNG(seed)
    pixels = rng.normal(rng.uniform(110, 140, 3), spread, (size[1], size[0], 3)).clip(0, 255).astype(np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, kind, **options)
    return written.getvalue()


def test_every_one_is_a_family_of_image_statistics() -> None:
    assert set(TRANSPLANTS) <= set(FAMILIES)


def test_the_border_is_the_donors_and_the_inside_is_not_touched() -> None:
    real, donor = picture_bytes(1, (120, 160)), picture_bytes(2, (120, 160))
    found, old, other = decode(moved("border", real, donor)), decode(real), decode(donor)
    ring = 3  # 0.025 of the shorter side
    assert found.shape == old.shape
    np.testing.assert_array_equal(found[ring:-ring, ring:-ring], old[ring:-ring, ring:-ring])
    outside = np.ones(found.shape[:2], bool)
    outside[ring:-ring, ring:-ring] = False
    np.testing.assert_array_equal(found[outside], other[outside])


def test_a_donor_of_another_size_is_fitted_to_the_face() -> None:
    donor = Image.new("RGB", (37, 51), (250, 3, 7))
    written = io.BytesIO()
    donor.save(written, "PNG")
    found = decode(moved("border", picture_bytes(1, (80, 60)), written.getvalue()))
    assert found.shape == (60, 80, 3)
    ring = found[[0, 1, -2, -1]].reshape(-1, 3)[:2]
    np.testing.assert_array_equal(ring[0], (250, 3, 7))
    tiny = decode(moved("border", picture_bytes(1, (9, 9)), written.getvalue()))
    assert (tiny[0] == (250, 3, 7)).all()  # at least one pixel


def test_means_and_spreads_of_colours_are_the_donors() -> None:
    real, donor = mid_grey(1, (90, 70), 20), mid_grey(2, (50, 60), 11)
    found, old, other = (decode(each).astype(float) for each in (moved("mean colour", real, donor), real, donor))
    np.testing.assert_allclose(found.mean(axis=(0, 1)), other.mean(axis=(0, 1)), atol=0.05)
    np.testing.assert_allclose(found.std(axis=(0, 1)), other.std(axis=(0, 1)), atol=0.05)
    assert found.shape == old.shape
    for channel in range(3):  # what is where stays: a straight line but for rounding
        line = np.polyfit(old[..., channel].ravel(), found[..., channel].ravel(), 1)
        assert np.abs(np.polyval(line, old[..., channel]) - found[..., channel]).max() <= 0.6


def test_a_face_of_one_colour_can_be_coloured() -> None:
    written = io.BytesIO()
    Image.new("RGB", (30, 30), (10, 10, 10)).save(written, "PNG")
    donor = mid_grey(3, (30, 30), 20)
    found = decode(moved("mean colour", written.getvalue(), donor))
    np.testing.assert_allclose(found.mean(axis=(0, 1)), decode(donor).mean(axis=(0, 1)), atol=1)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [35, 60, 92])
def test_compression_is_the_donors_to_the_table(quality: int, subsampling: int) -> None:
    real = picture_bytes(4, (64, 48))
    donor = picture_bytes(5, (96, 80), "JPEG", quality=quality, subsampling=subsampling)
    written = moved("compression", real, donor)
    with Image.open(io.BytesIO(written)) as found, Image.open(io.BytesIO(donor)) as given:
        assert (found.format, found.size) == ("JPEG", (64, 48))
        assert found.quantization == given.quantization  # type: ignore[attr-defined]
        layers = [[entry[1:3] for entry in image.layer] for image in (found, given)]  # type: ignore[attr-defined]
        assert layers[0] == layers[1]
    # As if the real face had been saved with the donor's settings.
    plain = io.BytesIO()
    Image.fromarray(decode(real)).save(plain, "JPEG", quality=quality, subsampling=subsampling)
    np.testing.assert_array_equal(decode(written), decode(plain.getvalue()))


def test_a_lossless_donor_compresses_nothing() -> None:
    real = picture_bytes(4, (64, 48))
    np.testing.assert_array_equal(decode(moved("compression", real, picture_bytes(5))), decode(real))


def test_a_grey_jpeg_is_a_donor_as_well() -> None:
    written = io.BytesIO()
    Image.fromarray(RNG(0).integers(0, 256, (40, 40), dtype=np.uint8)).save(written, "JPEG", quality=50)
    for name in TRANSPLANTS:
        assert transplanted(name, picture_bytes(4, (64, 48)), written.getvalue(), 32).shape == (32, 32, 3)


def test_the_size_is_the_donors_and_the_picture_is_not() -> None:
    real, donor = picture_bytes(6, (128, 96)), picture_bytes(7, (40, 52), "JPEG", quality=20)
    found = decode(moved("resolution", real, donor))
    assert found.shape == (52, 40, 3)
    resized = Image.fromarray(decode(real)).resize((40, 52), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(found, np.asarray(resized))


@pytest.mark.parametrize("name", TRANSPLANTS)
def test_a_face_that_gets_its_own_stays(name: str) -> None:
    """Whatever is moved, from a picture to itself it changes nothing but rounding and a second JPEG round."""
    real = picture_bytes(8, (64, 64), "JPEG", quality=90)
    found = transplanted(name, real, real, 32).astype(int)
    assert np.abs(found - decode_resized(real, 32).astype(int)).max() <= (6 if name == "compression" else 1)


def test_the_real_face_is_not_written_into() -> None:
    pixels = decode(picture_bytes(9, (40, 40)))
    before = pixels.copy()
    for move in TRANSPLANTS.values():
        move(pixels, picture_bytes(10, (40, 40), "JPEG", quality=30))
    np.testing.assert_array_equal(pixels, before)
