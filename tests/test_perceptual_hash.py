"""Perceptual hashes, and the search for close ones against looking at every pair."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from facetell.faceset.duplicates import equal_runs
from facetell.pixels.decode import decode
from facetell.pixels.perceptual_hash import ALIKE, RADIUS, close_pairs, difference, near_twins, perceptual_hash


def picture(seed: int, side: int = 96) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(30, 225, (14, 14, 3), dtype=np.uint8))
    return coarse.resize((side, side), Image.Resampling.BICUBIC)


def again(image: Image.Image, quality: int, scale: float) -> np.ndarray:
    side = round(image.width * scale)
    out = io.BytesIO()
    image.resize((side, side), Image.Resampling.BICUBIC).save(out, "JPEG", quality=quality)
    return decode(out.getvalue())


def bits(one: int, other: int) -> int:
    return (one ^ other).bit_count()


@pytest.mark.parametrize(("quality", "scale"), [(50, 1.0), (60, 0.6), (90, 1.7)])
def test_a_copy_stays_near(quality: int, scale: float) -> None:
    for seed in range(20):
        image = picture(seed)
        (code, look, digest), (other, look2, digest2) = (
            perceptual_hash(np.asarray(image)),
            perceptual_hash(again(image, quality, scale)),
        )
        assert bits(code, other) <= RADIUS
        assert difference(look[None], look2[None])[0] < ALIKE
        assert (digest != digest2).any()


def test_brightness_and_contrast_do_not_count() -> None:
    pixels = np.asarray(picture(0))
    darker = (pixels * 0.6 + 20).astype(np.uint8)
    assert difference(perceptual_hash(pixels)[1][None], perceptual_hash(darker)[1][None])[0] < 0.05


def test_different_pictures_are_far() -> None:
    hashed = [perceptual_hash(np.asarray(picture(seed))) for seed in range(60)]
    apart = [bits(a[0], b[0]) for i, a in enumerate(hashed) for b in hashed[:i]]
    assert min(apart) > RADIUS
    assert abs(np.mean(apart) - 32) < 2
    assert difference(hashed[0][1][None], hashed[1][1][None])[0] > 3 * ALIKE


def test_the_search_finds_what_every_pair_shows() -> None:
    rng = np.random.default_rng(3)
    centres = rng.integers(0, 2**64, 30, dtype=np.uint64)
    hashes = np.repeat(centres, 10)
    for row in range(len(hashes)):  # 0 to 6 bits changed: pairs on both sides of the radius
        for bit in rng.choice(64, rng.integers(0, 7), replace=False):
            hashes[row] ^= np.uint64(1) << np.uint64(bit)
    parts = rng.integers(0, 3, len(hashes)).astype(np.int8)
    found = [
        pair for one, other in close_pairs(hashes, parts) for pair in zip(one.tolist(), other.tolist(), strict=True)
    ]
    codes = hashes.tolist()
    brute = {
        (i, j)
        for j in range(len(codes))
        for i in range(j)
        if parts[i] != parts[j] and (codes[i] ^ codes[j]).bit_count() <= RADIUS
    }
    assert len(found) == len(set(found))
    assert set(found) == brute
    assert len(brute) > 100


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.random.default_rng(0).integers(0, 8, 200).astype(np.uint64)
    parts = (np.arange(200) % 2).astype(np.int8)
    whole = {pair for a, b in close_pairs(hashes, parts) for pair in zip(a.tolist(), b.tolist(), strict=True)}
    monkeypatch.setattr("facetell.pixels.perceptual_hash._PAIRS", 7)
    found = [pair for a, b in close_pairs(hashes, parts) for pair in zip(a.tolist(), b.tolist(), strict=True)]
    assert len(found) == len(whole) == 100 * 100
    assert set(found) == whole


def test_the_nearest_twin_wins_and_identical_or_flat_ones_are_none() -> None:
    image = picture(1)
    rows = [
        perceptual_hash(np.asarray(image)),
        perceptual_hash(again(image, 95, 1)),
        perceptual_hash(again(image, 30, 0.5)),
    ]
    rows += [rows[0], *(perceptual_hash(np.full((40, 40, 3), grey, np.uint8)) for grey in (9, 10))]
    hashes, hashed = np.array([row[0] for row in rows], np.uint64), np.stack([row[1] for row in rows])
    digests = np.stack([row[2] for row in rows])
    parts = np.array([0, 1, 1, 1, 0, 1], np.int8)
    twin, least = near_twins(hashes, hashed, digests, parts)
    assert twin.tolist() == [1, 0, 0, -1, -1, -1]
    assert least[1] == least[0] < least[2] < ALIKE
    assert np.isinf(least[3:]).all()


def test_runs_of_equal_digests() -> None:
    digests = np.zeros((6, 16), np.uint8)
    digests[:, 15] = [5, 1, 5, 2, 1, 5]
    order, runs = equal_runs(digests, np.arange(6))
    assert [order[a : b + 1].tolist() for a, b in runs.tolist()] == [[1, 4], [0, 2, 5]]
    assert equal_runs(digests, np.array([0, 1, 3]))[1].size == 0
