"""Files of many parts are corrected so that their error rate is that of one part: by simulation and by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from facetell.errors import DataError
from facetell.evaluation.drift import Sketch
from facetell.evaluation.many_tests import corrected

Draw = Callable[..., NDArray[np.float64]]


def called_fake(draw: Draw, rng: np.random.Generator, n: int, parts: int, rate: float, samples: int = 60) -> float:
    """Share of files of ``parts`` new reals above a threshold that ``rate`` of ``n`` reals exceed."""
    shares = []
    for _ in range(samples):
        known = draw(rng, size=n)
        threshold = np.sort(known)[int(np.ceil(n * (1 - rate))) - 1] + 1e-9
        sketch = Sketch.of(known)
        largest = draw(rng, size=(50, parts)).max(axis=1)
        shares.append(np.mean([corrected(x, parts, sketch) > threshold for x in largest.tolist()]))
    return float(np.mean(shares))


@pytest.mark.parametrize("parts", [2, 10, 40])
@pytest.mark.parametrize(
    "draw",
    [
        np.random.Generator.standard_normal,
        np.random.Generator.logistic,
        lambda rng, size: rng.exponential(size=size),
        lambda rng, size: rng.standard_t(5, size=size),
        lambda rng, size: rng.normal(size=size) * np.where(rng.random(size) < 0.005, 5, 1),
    ],
    ids=["normal", "logistic", "exponential", "t5", "few far out"],
)
def test_files_of_many_reals_are_called_fake_no_more_often_than_stated(draw: Draw, parts: int) -> None:
    # 3,000 files: at a true rate of 5% more than 6.1% are found once in a thousand tests.
    assert called_fake(draw, np.random.default_rng(parts), 300, parts, 0.05) <= 0.061


def test_the_largest_itself_is_called_fake_nearly_always() -> None:
    rng = np.random.default_rng(0)
    threshold = np.quantile(rng.standard_normal(1000), 0.95)
    assert (rng.standard_normal((500, 40)).max(axis=1) > threshold).mean() > 0.8, "1 - 0.95^40 = 0.87"


def test_in_the_middle_it_is_sidak_by_hand() -> None:
    # Of 10,000 evenly spread logits in [0, 1], F(x) = x, and Q(x^2) = x^2.
    sketch = Sketch.of(np.linspace(0, 1, 10_001))
    for x in (0.3, 0.5, 0.9):
        assert corrected(x, 2, sketch) == pytest.approx(x**2, abs=1e-4)
    assert corrected(0.5, 3, sketch) == pytest.approx(0.125, abs=1e-4)


def test_one_part_is_left_as_it_is_and_two_are_near() -> None:
    sketch = Sketch.of(np.random.default_rng(1).normal(size=500))
    for x in (-100.0, -1.0, 0.0, 2.5, 1e6):
        assert corrected(x, 1, sketch) == x
    with pytest.raises(DataError, match="one part or more"):
        corrected(0.0, 0, sketch)


@pytest.mark.parametrize("n", [1, 2, 12, 300, 20_000])
@pytest.mark.parametrize("digits", [0, 1, 9], ids=["few distinct", "ties", "all distinct"])
def test_it_rises_with_the_logit_and_falls_with_the_number(n: int, digits: int) -> None:
    sketch = Sketch.of(np.round(np.random.default_rng(n).normal(size=n), digits))
    points = np.concatenate([[-1e9, -50], np.linspace(-6, 6, 97), sketch.quantiles[::20], [50, 1e9]])
    last = np.sort(points)
    for parts in (2, 3, 40, 10_000):
        now = np.array([corrected(x, parts, sketch) for x in np.sort(points).tolist()])
        assert np.isfinite(now).all()
        assert (np.diff(now) >= 0).all()
        assert (now <= last + 1e-9 * np.abs(last)).all()
        last = now


def test_one_certain_fake_among_forty_can_be_called_fake() -> None:
    reals = np.random.default_rng(2).normal(-3, 1, 700)
    sketch = Sketch.of(reals)
    assert corrected(8.0, 40, sketch) > np.quantile(reals, 0.99)
    assert corrected(float(reals.max()), 40, sketch) < np.quantile(reals, 0.95)
