"""The acceptance checks of adapting: non-inferiority by hand, exchanged labels, toy detectors that see one thing only."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facetell.adaptation.acceptance import gain_check, label_check, next_step, old_check, shortcut_checks
from facetell.adaptation.transplants import TRANSPLANTS
from facetell.evaluation.choice_gain import Gain
from facetell.faceset.table import FaceSet
from facetell.ingest.prepare import prepare

RNG = np.random.default_rng
SIZE = 64


def scores(n: int, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, half of each, and logits that tell them apart by ``shift`` standard deviations."""
    y = np.repeat([0, 1], n // 2).astype(np.int8)
    return y, RNG(seed).normal(size=n) + shift * y


def test_equal_scores_pass_and_shuffled_ones_do_not() -> None:
    y, before = scores(200, 2)
    found = old_check(y, np.arange(200), before, before, 0.01)
    assert found.passed
    assert found.numbers["change"] == found.numbers["bound"] == 0
    found = old_check(y, np.arange(200), before, RNG(1).permutation(before), 0.01)
    assert not found.passed
    assert found.numbers["change"] < -0.3
    assert "a fall of 0.01 is not ruled out" in found.says
    assert "200 old faces" in found.says


def test_the_bound_by_hand() -> None:
    """Four reals and four fakes: DeLong's variance from the structural components, written out."""
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.int8)
    before = np.array([1, 2, 3, 4, 5, 6, 7, 8.0])  # perfect
    after = np.array([1, 2, 3, 5.5, 5, 6, 7, 8.0])  # one pair of sixteen is the wrong way round
    fake, real = np.array([-1 / 4, 0, 0, 0]), np.array([0, 0, 0, -1 / 4])
    variance = fake.var(ddof=1) / 4 + real.var(ddof=1) / 4
    found = old_check(y, np.arange(8), before, after, 0.25)
    assert found.numbers["change"] == pytest.approx(-1 / 16)
    assert found.numbers["bound"] == pytest.approx(-1 / 16 - 1.6449 * variance**0.5, abs=1e-4)
    assert found.numbers["bound"] == pytest.approx(-0.2079, abs=1e-4)
    assert found.passed
    assert not old_check(y, np.arange(8), before, after, 0.2).passed


def test_a_refusal_for_old_faces_alone_names_the_margin_that_would_have_passed() -> None:
    y, rng = np.repeat(np.array([0, 1], np.int8), 100), RNG(3)
    before = y + rng.normal(size=200)
    after = before + 0.5 * rng.normal(size=200)
    checks = {
        "old": old_check(y, np.arange(200), before, after, 0.0),
        "new": label_check(y, np.arange(200), -before * 9),
    }
    assert not checks["old"].passed
    margin = float(next_step(checks, [checks["old"].says]).split("--margin ")[1].split(";")[0])
    assert old_check(y, np.arange(200), before, after, margin).passed
    assert not old_check(y, np.arange(200), before, after, margin - 0.001).passed
    assert "--margin" not in next_step(checks, [check.says for check in checks.values()])


def test_few_old_faces_cannot_rule_out_a_fall_that_many_can() -> None:
    passed = {40: 0, 4000: 0}
    for n, seed in itertools.product(passed, range(10)):
        y, before = scores(n, 2, seed)
        after = before + 0.25 * RNG(100 + seed).normal(size=n)  # costs an AUROC of 0.006
        passed[n] += old_check(y, np.arange(n), before, after, 0.02).passed
    assert passed[40] <= 5
    assert passed[4000] == 10


def test_dependent_faces_count_as_fewer() -> None:
    y, before = scores(400, 1.5)
    group = np.tile(np.arange(20), 20)
    after = before + RNG(2).normal(size=20)[group] * np.where(y, 0.6, -0.6)  # a group errs as one
    alone = old_check(y, np.arange(400), before, after, 0.01)
    together = old_check(y, group, before, after, 0.01)
    assert together.numbers["groups"] == 20
    assert together.numbers["bound"] < alone.numbers["bound"]


@pytest.mark.parametrize(
    ("difference", "risk", "passed"), [(0.2, 0.0, True), (0.2, 0.1, True), (0.2, 0.11, False), (0.0, 0.05, False)]
)
def test_a_gain_must_be_there_and_not_by_luck(difference: float, risk: float, passed: bool) -> None:
    gain = Gain(0.5, 0.5 + difference, difference, difference - 0.1, difference + 0.1, risk)
    found = gain_check(np.repeat([0, 1], [30, 25]).astype(np.int8), gain)
    assert found.passed is passed
    assert (found.numbers["n_real"], found.numbers["n_fake"]) == (30, 25)
    assert "25 fake, 30 real" in found.says
    assert f"from 0.500 to {0.5 + difference:.3f}" in found.says
    assert ("luck" in found.says) is not passed


def test_exchanged_labels_are_seen_where_the_old_detector_knows_the_kind() -> None:
    y, logits = scores(60, 2)
    groups = np.arange(60)
    assert label_check(y, groups, logits).passed
    assert label_check(y, groups, RNG(3).normal(size=60)).passed  # of an unknown kind nothing can be said
    exchanged = label_check(1 - y, groups, logits)
    assert not exchanged.passed
    assert "exchanged" in exchanged.says
    y, logits = scores(12, -0.7)  # below chance, but of twelve: no proof
    few = label_check(y, np.arange(12), logits)
    assert few.numbers["auroc"] < 0.5
    assert few.passed


Draw = Callable[[np.random.Generator, bool], tuple[np.ndarray, dict[str, Any]]]


def plain(rng: np.random.Generator, side: int = SIZE) -> np.ndarray:
    small = rng.integers(90, 160, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)).astype(int)


def bordered(rng: np.random.Generator, fake: bool) -> tuple[np.ndarray, dict[str, Any]]:
    pixels = plain(rng)
    if fake:
        for edge in (np.s_[:2], np.s_[-2:], np.s_[:, :2], np.s_[:, -2:]):
            pixels[edge] = 250
    return pixels, {"format": "PNG"}


def reddish(rng: np.random.Generator, fake: bool) -> tuple[np.ndarray, dict[str, Any]]:
    return plain(rng) + np.array([50 * fake, 0, 0]), {"format": "PNG"}


def marked(rng: np.random.Generator, fake: bool) -> tuple[np.ndarray, dict[str, Any]]:
    pixels = plain(rng)
    if fake:
        pixels[24:40, 24:40] += 12 * (np.indices((16, 16)).sum(axis=0) % 2 * 2 - 1)[..., None]
    return pixels, {"format": "PNG"}


def compressed(rng: np.random.Generator, fake: bool) -> tuple[np.ndarray, dict[str, Any]]:
    pixels = plain(rng) + rng.normal(0, 12, (SIZE, SIZE, 3))
    return pixels, {"format": "JPEG", "quality": 8 if fake else 95}


def shrunk(rng: np.random.Generator, fake: bool) -> tuple[np.ndarray, dict[str, Any]]:
    side = 16 if fake else SIZE
    return plain(rng, side) + rng.normal(0, 20, (side, side, 3)), {"format": "PNG"}


def border_only(pixels: np.ndarray) -> np.ndarray:
    return np.asarray((pixels[:, :2].mean(axis=(1, 2, 3)) / 10), np.float32)


def redness(pixels: np.ndarray) -> np.ndarray:
    return np.asarray((pixels[..., 0].mean(axis=(1, 2)) / 10), np.float32)


def middle_only(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(np.diff(pixels[:, 26:38, 26:38].astype(float), axis=2)).mean(axis=(1, 2, 3)), np.float32)


def roughness(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(-np.abs(np.diff(pixels.astype(float), axis=2)).mean(axis=(1, 2, 3)), np.float32)


def faces_of(folder: Path, draw: Draw, each: int = 30) -> FaceSet:
    rng = RNG(0)
    for fake in (False, True):
        (folder / ("fake" if fake else "real")).mkdir(parents=True)
        for k in range(each):
            pixels, options = draw(rng, fake)
            written = io.BytesIO()
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(written, **options)
            (folder / ("fake" if fake else "real") / f"{k}.{options['format'].lower()}").write_bytes(written.getvalue())
    return prepare(folder, folder.with_name("faces"), split="finetune")


def folds(faces: FaceSet, score: Callable[[np.ndarray], np.ndarray]) -> list[tuple[Any, np.ndarray]]:
    """The same model for each of two folds."""
    return [(score, np.arange(part, len(faces), 2)) for part in range(2)]


@pytest.mark.parametrize(
    ("draw", "score", "family"),
    [
        (bordered, border_only, "border"),
        (reddish, redness, "mean colour"),
        (compressed, roughness, "compression"),
        (shrunk, roughness, "resolution"),
        (marked, middle_only, None),
    ],
    ids=["border", "colour", "compression", "resolution", "middle"],
)
def test_what_closes_the_gap_is_the_shortcut_and_nothing_else(
    draw: Draw, score: Callable[[np.ndarray], np.ndarray], family: str | None, tmp_path: Path
) -> None:
    faces = faces_of(tmp_path / "pictures", draw)
    found = shortcut_checks(faces, SIZE, folds(faces, score), 0)
    assert set(found) == set(TRANSPLANTS)
    for name, check in found.items():
        assert check.passed is (name != family), check
        assert check.numbers["low"] <= check.numbers["closes"] <= check.numbers["high"]
        assert check.numbers["n"] == 30
        if name == family:
            assert check.numbers["closes"] == pytest.approx(1, abs=0.15), check
            assert name in check.says
            assert "shortcut" in check.says
        else:
            assert abs(check.numbers["closes"]) < 0.35, check


def test_a_detector_that_tells_nothing_apart_has_learned_no_shortcut(tmp_path: Path) -> None:
    faces = faces_of(tmp_path / "pictures", bordered, each=8)
    found = shortcut_checks(faces, SIZE, folds(faces, lambda pixels: np.zeros(len(pixels), np.float32)), 0).values()
    assert all(check.passed for check in found)
    assert all(
        np.isfinite([check.numbers["closes"], check.numbers["low"], check.numbers["high"]]).all() for check in found
    )


def test_a_difference_within_the_noise_is_no_way_to_take_a_part_of(tmp_path: Path) -> None:
    """A border moves the score by 1, noise by 10; or by 0.1 alone: parts of so little mean nothing, and it is said."""
    faces = faces_of(tmp_path / "pictures", bordered, each=12)

    def score(pixels: np.ndarray) -> np.ndarray:
        noise = [10 * RNG(int(each.sum(dtype=np.int64))).normal() for each in pixels]
        return (np.array(noise) + pixels[:, 0, 0, 0] / 255).astype(np.float32)

    def hardly(pixels: np.ndarray) -> np.ndarray:
        return (pixels[:, 0, 0, 0] / 255 * 0.1).astype(np.float32)

    for scorer in (score, hardly):
        for name, check in shortcut_checks(faces, SIZE, folds(faces, scorer), 0).items():
            assert check.passed
            assert f"too near to each other to tell whether the {name} was learned" in check.says


def test_the_part_of_the_way_by_hand(tmp_path: Path) -> None:
    """All real borders are 0, all fake ones 250 of 255: a score of half the border and half a mark closes half the gap."""

    def both(rng: np.random.Generator, fake: bool) -> tuple[np.ndarray, dict[str, Any]]:
        pixels = plain(rng)  # between the border and the mark, so that no two pictures are the same
        pixels[30:34, 30:34] = 100 + 80 * fake
        for edge in (np.s_[:2], np.s_[-2:], np.s_[:, :2], np.s_[:, -2:]):
            pixels[edge] = 250 * fake
        return pixels, {"format": "PNG"}

    faces = faces_of(tmp_path / "pictures", both, each=6)

    def score(pixels: np.ndarray) -> np.ndarray:
        edge, middle = pixels[:, 0, 0, 0].astype(np.float32), pixels[:, 32, 32, 0].astype(np.float32)
        return edge / 250 + 4 * (middle - 100) / 80

    border = shortcut_checks(faces, SIZE, folds(faces, score), 0)["border"]
    assert border.numbers["closes"] == pytest.approx(1 / 5)
    assert (border.numbers["low"], border.numbers["high"]) == pytest.approx((1 / 5, 1 / 5))
    assert border.passed


def of_four_persons(folder: Path, mark: Callable[[int, int], int]) -> FaceSet:
    """Sixteen reals and as many fakes, of four persons each, a group a person: borders of reals are 0, of fakes 250, and
    ``mark`` is what the middle has."""
    lines = ["path,label,group"]
    for k in range(32):
        pixels = plain(RNG(k))
        fake, person = k % 2, k // 2 % 4
        for edge in (np.s_[:2], np.s_[-2:], np.s_[:, :2], np.s_[:, -2:]):
            pixels[edge] = 250 * fake
        pixels[30:34, 30:34] = mark(fake, person)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{k}.png")
        lines.append(f"{k}.png,{('real', 'fake')[fake]},{('r', 'f')[fake]}{person}")
    (folder / "index.csv").write_text("\n".join(lines))
    return prepare(folder, folder.with_name(f"{folder.name}-faces"), split="finetune")


def test_frames_of_one_person_are_one_face_for_the_interval(tmp_path: Path) -> None:
    """Sixteen reals of four persons whose borders matter more or less: the spread is that of four, by hand."""
    faces = of_four_persons(tmp_path, lambda _, person: 20 * person)

    def score(pixels: np.ndarray) -> np.ndarray:
        edge, person = pixels[:, 0, 0, 0].astype(np.float32) / 250, pixels[:, 32, 32, 0].astype(np.float32) / 20
        return edge * (1 + person)

    border = shortcut_checks(faces, SIZE, [(score, np.arange(32))], 0)["border"].numbers
    closes = np.repeat([1, 2, 3, 4], 4) / 2.5
    assert border["closes"] == pytest.approx(closes.mean(), abs=0.01)
    assert border["high"] - border["closes"] == pytest.approx(1.96 * closes.std(ddof=1) / 4**0.5, abs=0.01)


@pytest.mark.parametrize(("moved", "reach"), [((0, 0, 0, 4), 1.96 * 3.2**0.5 / 2 / 2), ((1, 1, 1, 1), 0.0)])
def test_a_part_of_the_way_that_may_be_chance_refuses_nothing(
    moved: tuple[int, ...], reach: float, tmp_path: Path
) -> None:
    """A border takes reals of four persons half of the way, on average: one of them twice the way, or each of them half."""
    faces = of_four_persons(tmp_path, lambda fake, person: 200 if fake else 20 * person)

    def score(pixels: np.ndarray) -> np.ndarray:
        edge, mark = pixels[:, 0, 0, 0] > 100, pixels[:, 32, 32, 0].astype(np.int64)
        return np.where(mark > 100, 2, edge * np.array(moved)[np.minimum(mark // 20, 3)]).astype(np.float32)

    border = shortcut_checks(faces, SIZE, [(score, np.arange(32))], 0)["border"]
    assert border.numbers["closes"] == pytest.approx(0.5)
    assert border.numbers["high"] - border.numbers["closes"] == pytest.approx(reach, abs=0.01)
    assert border.passed is (reach > 0)
    assert ("which may be chance (-38% to 138%)" in border.says) is (reach > 0)
