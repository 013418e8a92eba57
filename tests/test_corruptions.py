"""Corruptions do what they say: by hand, by the formula, by what a file says of itself."""

from __future__ import annotations

import io
import itertools

import av
import numpy as np
import pytest
from PIL import Image

from facetell.errors import UsageError
from facetell.pixels import corruptions
from facetell.pixels.corruptions import CORRUPTIONS, STRENGTHS, check_codec, choose, corrupt

Pixels = np.ndarray


def drawn(side: int = 128) -> Pixels:
    """A smooth picture with edges and fine structure, as faces have."""
    rng = np.random.default_rng(3)
    coarse = Image.fromarray(rng.integers(40, 216, (side // 8, side // 8, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(np.float64)
    y, x = np.indices((side, side)) / side
    pixels[((x - 0.5) / 0.3) ** 2 + ((y - 0.5) / 0.4) ** 2 < 1] *= 0.6
    return np.clip(pixels + rng.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8)


def difference(a: Pixels, b: Pixels) -> float:
    """Mean absolute difference; the second is brought to the size of the first."""
    if a.shape != b.shape:
        b = np.asarray(Image.fromarray(b).resize(a.shape[1::-1], Image.Resampling.BICUBIC))
    return float(np.abs(a.astype(float) - b).mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_stronger_means_further_from_the_original(name: str) -> None:
    pixels = drawn()
    steps = [difference(pixels, corrupt(pixels, name, level, 0, 5)) for level in range(STRENGTHS + 1)]
    assert steps[0] == 0
    assert all(before < after for before, after in itertools.pairwise(steps)), steps


@pytest.mark.parametrize("shape", [(8, 8), (1, 1), (9, 17), (33, 31), (2, 50)])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_tiny_crops_and_odd_sides(name: str, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    before = pixels.copy()
    for level in (1, STRENGTHS):
        made = corrupt(pixels, name, level, 0, 0)
        assert made.dtype == np.uint8
        assert made.ndim == 3
        assert made.size
        assert made.flags.writeable
        assert made.flags.c_contiguous
        if name not in ("screenshot", "social"):
            assert made.shape == pixels.shape
    assert (pixels == before).all()


@pytest.mark.parametrize("quality", CORRUPTIONS["jpeg"].values)
def test_jpeg_has_the_quality_it_says(quality: float, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    read = corruptions.decode
    monkeypatch.setattr(corruptions, "decode", lambda data: files.append(data) or read(data))
    pixels = drawn()
    made = corrupt(pixels, "jpeg", CORRUPTIONS["jpeg"].values.index(quality) + 1, 0, 0)
    written = Image.open(io.BytesIO(files[0]))
    # The first entry of the standard's luminance table is 16, scaled as libjpeg does (jpeg_quality_scaling).
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    assert written.quantization[0][0] == max(1, int((16 * scale + 50) // 100))
    assert written.layer[0][1:3] == (2, 2), "chroma at half resolution"
    assert (made == np.asarray(written)).all()


def test_the_second_jpeg_has_its_blocks_elsewhere() -> None:
    quality = CORRUPTIONS["jpeg"].values[-1]
    pixels = drawn()
    once = corrupt(pixels, "jpeg", 5, 0, 0)
    twice = corrupt(pixels, "rejpeg", 5, 0, 0)
    aligned = corruptions._jpeg(once, quality)
    assert difference(once, twice) > 3 * difference(once, aligned)


def test_noise_is_seeded_by_picture_and_has_its_deviation() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    for level, sigma in enumerate(CORRUPTIONS["noise"].values, start=1):
        noise = corrupt(grey, "noise", level, 0, 7).astype(float) - 128
        assert abs(noise.mean()) < 0.3
        assert noise.std() == pytest.approx(np.hypot(sigma, 1 / np.sqrt(12)), rel=0.02)
    one = corrupt(grey, "noise", 3, 0, 7)
    assert (one == corrupt(grey, "noise", 3, 0, 7)).all()
    assert (one != corrupt(grey, "noise", 3, 0, 8)).any()
    assert (one != corrupt(grey, "noise", 3, 1, 7)).any()


def test_gamma_follows_its_formula_and_goes_both_ways() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    darker, brighter = (np.rint(255 * (np.arange(256) / 255) ** gamma) for gamma in (2, 1 / 2))
    seen = set()
    for row in range(20):
        made = corrupt(ramp, "gamma", 5, 0, row)[0, :, 0]
        assert (made == darker).all() or (made == brighter).all()
        seen.add(bool(made[100] > 100))
        weak = corrupt(ramp, "gamma", 1, 0, row)[0, 100, 0]
        assert (weak > 100) == (made[100] > 100), "a picture keeps its direction"
    assert seen == {True, False}


def test_blur_has_the_deviation_it_says() -> None:
    point = np.zeros((101, 101, 3), np.uint8)
    point[50] = 255  # a line, so that rounding to bytes loses little
    profile = corrupt(point, "blur", 5, 0, 0)[:, 50, 0].astype(float)
    place = np.arange(101) - 50
    sigma = np.sqrt((profile * place**2).sum() / profile.sum())
    assert sigma == pytest.approx(0.024 * 101, rel=0.1)


def test_shrinking_removes_what_is_finer() -> None:
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert corrupt(board, "resize", 5, 0, 0)[8:-8, 8:-8].std() < 20
    assert (corrupt(np.full((64, 64, 3), 90, np.uint8), "resize", 5, 0, 0) == 90).all()


def test_screenshots_are_smaller_and_lose_a_border() -> None:
    y = np.repeat(np.arange(200, dtype=np.uint8)[:, None], 200, axis=1)[..., None].repeat(3, axis=2)
    made = corrupt(y, "screenshot", 5, 0, 1)
    assert made.shape == (90, 90, 3)  # 200 · 0.5, less a tenth
    undone = 255 * (made[:, 0, 0] / 255) ** (1 / 1.25)  # γ = 1.25
    steps = np.diff(undone)[5:-5]
    assert steps.mean() == pytest.approx(2, abs=0.1), "two rows of the original a row: scaled, not squeezed"


def test_social_media_shrinks_twice() -> None:
    assert corrupt(drawn(100), "social", 5, 0, 0).shape == (32, 32, 3)  # 100 · 0.4 · 0.8


def test_video_loses_with_its_rate_factor_and_keeps_colours() -> None:
    pixels = drawn()
    noise = [
        10 * np.log10(255**2 / np.mean((corrupt(pixels, "h264", level, 0, 0).astype(float) - pixels) ** 2))
        for level in range(1, STRENGTHS + 1)
    ]
    assert noise[0] > 30
    assert noise == sorted(noise, reverse=True)
    patch = np.full((64, 64, 3), (180, 120, 90), np.uint8)
    assert np.abs(corrupt(patch, "h264", 1, 0, 0).astype(int) - patch).max() <= 3, "the same range and matrix both ways"


def test_names_are_checked() -> None:
    assert [one.name for one in choose(["social", "jpeg"])] == ["jpeg", "social"]
    assert len(choose(None)) == len(CORRUPTIONS) == 9
    assert all(len(one.values) == STRENGTHS for one in CORRUPTIONS.values())
    with pytest.raises(UsageError, match="no corruption 'jpg'; did you mean 'jpeg'"):
        choose(["jpg"])
    with pytest.raises(UsageError, match="no corruption was chosen"):
        choose([])


def test_a_pyav_without_the_codec_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str, mode: str) -> None:
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr(av, "Codec", unknown)
    with pytest.raises(UsageError, match="without libx264"):
        check_codec()
