"""Logits of kinds of fakes that mean the same: shifts by hand, and against reals in order of their scores."""

from __future__ import annotations

import numpy as np

from facetell.training.kinds import even_shifts


def two_domains(first: float, second: float) -> tuple[np.ndarray, np.ndarray]:
    """Reals of two kinds, each moved by nothing but its own logit, which lies as far above the other's as is given."""
    spread = np.linspace(-1, 1, 41)
    logits = np.full((82, 3), -60.0)
    logits[:41, 0], logits[41:, 1] = first + spread, second + spread
    return logits.astype(np.float32), np.repeat([0, 1], 41)


def test_domains_have_as_many_false_alarms_at_one_threshold() -> None:
    """One domain's logits lie 5 higher, so half of that is taken from it and given to the other; the third kind stays."""
    logits, realms = two_domains(-3, 2)
    np.testing.assert_allclose(even_shifts(logits, realms), [2.5, -2.5, 0], atol=1e-6)
    np.testing.assert_allclose(even_shifts(*two_domains(1, 1)), 0, atol=1e-6)


def test_the_share_is_one_in_twenty_of_what_a_face_scores() -> None:
    """Of reals that all kinds have a part in: the 95th and 96th of a hundred lie on both sides of one threshold."""
    rng = np.random.default_rng(0)
    logits = rng.normal([-4, 1, -2], [2, 1, 1.5], (400, 3)).astype(np.float32)
    realms = np.repeat([0, 1, -1, -1], 100)
    total = np.logaddexp.reduce(logits + even_shifts(logits, realms), axis=1)
    points = [np.sort(total[realms == kind])[94:96] for kind in (0, 1)]
    assert max(low for low, _ in points) <= min(high for _, high in points) + 1e-6


def test_a_domain_of_few_faces_says_nothing() -> None:
    logits, realms = two_domains(-3, 2)
    realms[60:] = -1
    np.testing.assert_array_equal(even_shifts(logits, realms), 0)
