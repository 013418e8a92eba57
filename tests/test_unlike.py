"""Faces unlike all that a detector knows: the test, what a verdict makes of it, and what a report counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from facetell.detector.detector import Detector
from facetell.detector.judge import Judge
from facetell.detector.known_faces import Embedding
from facetell.detector.measure import Sample, measure_calibration
from facetell.detector.verdict import Verdict
from facetell.errors import SettingsError, UsageError
from facetell.evaluation.out_of_distribution import (
    conformal_p,
    deviation,
    discoveries,
    held_out_deviation,
    standard,
)
from facetell.faces.face import Face
from facetell.faces.finding import FoundFace, Shot

RNG = np.random.default_rng


def test_the_distance_by_a_slow_loop() -> None:
    known, new = RNG(0).normal(3, [1, 5, 0], (20, 3)), RNG(1).normal(0, 4, (4, 3))
    found = deviation(new, *standard(known))
    for vector, one in zip(
        new, found, strict=True
    ):  # the third feature is the same in all known faces: it says nothing
        parts = [abs(vector[k] - known[:, k].mean()) / known[:, k].std() for k in range(2)]
        assert one == pytest.approx(sum(parts) / 3)


def test_known_faces_are_measured_without_their_fold() -> None:
    known, groups = RNG(0).normal(size=(12, 4)), np.array([*"abcdefabcdef"])
    found = held_out_deviation(known, groups)
    for row, group in enumerate(groups):
        fold = [name for name in "abcdef" if (ord(name) - ord("a")) % 5 == (ord(group) - ord("a")) % 5]
        others = known[~np.isin(groups, fold)]
        assert found[row] == pytest.approx(np.mean(np.abs(known[row] - others.mean(0)) / others.std(0)))


def test_the_p_value_counts_groups_and_not_faces() -> None:
    known, groups = np.array([1.0, 5.0, 6.0, 7.0, 2.0]), np.array([*"abbbc"])
    # Three groups: of a and c no face is as large as 5.5, of b two thirds are.
    np.testing.assert_allclose(
        conformal_p([5.5, 7.0, 8.0, 0.5], known, groups), [(2 / 3 + 1) / 4, (1 / 3 + 1) / 4, 1 / 4, 1]
    )


def test_the_stated_share_of_known_faces_is_called_unlike() -> None:
    """300 draws of 60 known and 60 new faces with 200 features, more than faces: in-sample distances would be far off."""
    p = []
    for draw in range(300):
        faces = RNG(draw).standard_t(4, (120, 200)) * RNG(draw).uniform(0.5, 2, (120, 1))
        known, groups = faces[:60], np.arange(60)
        new = deviation(faces[60:], *standard(known))
        p.append(conformal_p(new, held_out_deviation(known, groups), groups))
    share = [np.mean(np.concatenate(p) <= rate) for rate in (0.05, 0.1, 0.3)]
    assert np.all(np.array(share) <= [0.055, 0.11, 0.32])
    assert share[2] > 0.2  # and not by calling nothing


def test_several_are_tested_as_benjamini_and_hochberg_do() -> None:
    for seed in range(30):
        p = RNG(seed).uniform(0, 0.3, 12) ** 2
        np.testing.assert_array_equal(discoveries(p, 0.05), false_discovery_control(p) <= 0.05)
    assert discoveries([np.nan, 0.01], 0.05).tolist() == [False, True]
    assert not discoveries([np.nan], 0.5).any()


class Plain:
    """A runtime by hand: the logit is the red of the first pixel, and its vector the colours of the next two."""

    size, parameters, passes = 4, 1, 0

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.logits_and_vectors(crops)[0]

    def logits_and_vectors(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        self.passes += 1
        pixels = crops.astype(np.float64)
        return (pixels[:, 0, 0, 0] / 10 - 10).astype(np.float32), pixels[:, 0, 1:3].reshape(len(crops), 6)


def crop(logit: float, colour: int) -> NDArray[np.uint8]:
    pixels = np.full((4, 4, 3), colour, np.uint8)
    pixels[0, 0] = round(10 * (logit + 10))
    return pixels


def detector(groups: int = 120, **options: Any) -> Detector:
    """One that knows faces of colours 90 to 110, and finds real faces at logits about -3, fakes about 3."""
    labels = np.arange(200) % 2
    logits = np.where(labels == 1, 3.0, -3.0) + RNG(0).normal(0, 1.0, 200)
    sample = Sample(
        labels.astype(np.int8), logits.astype(np.float32), np.arange(200).astype(str), "faces", "0", "validation"
    )
    vectors = RNG(1).integers(90, 111, (groups, 6)).astype(float)
    mean, weights = standard(vectors)
    known = Embedding(
        mean,
        np.eye(6),
        vectors,
        np.arange(groups) % 2,
        np.arange(groups),
        weights,
        held_out_deviation(vectors, np.arange(groups)),
    )
    description = {
        "input": {"size": 4, "crop": None},
        "calibration": measure_calibration("0" * 64, sample, embedding="1" * 64).as_dict(),
    }
    return Detector(Plain(), description, known=known, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("logit", "colour", "said"), [
    (3, 100, "fake"), (-3, 100, "real"), (3, 200, "unsure"), (-3, 200, "unsure"), (-3, 105, "real"),
])  # fmt: skip
def test_a_face_unlike_all_known_ones_is_unsure(logit: float, colour: int, said: str) -> None:
    judge = detector()
    verdict = judge.detect(crop(logit, colour), faces="crops")
    assert (verdict.status, verdict.decision, verdict.judged) == (said, said, True)
    assert verdict.tracks[0].decision == verdict.word(verdict.faces[0]) == said
    assert verdict.score == judge.decider.score(logit)  # the score stays
    assert verdict.unlike == 0.01
    if said == "unsure":
        assert verdict.faces[0].p_known == pytest.approx(1 / 121)
        assert verdict.reason == "the face is unlike all the detector knows (1% of known faces are called so)"
    else:
        assert verdict.reason is None
    assert judge.runtime.passes == 1  # type: ignore[attr-defined]


def photo(monkeypatch: pytest.MonkeyPatch, *faces: tuple[float, int], **options: Any) -> Verdict:
    """The verdict on a photo of such faces (logit, colour)."""
    place = Face((0, 0, 4, 4), ((1, 1),) * 5, 0.9)
    shot = Shot(0, None, np.zeros((9, 9, 3), np.uint8), [FoundFace(place, 0.9, None, crop(*each)) for each in faces])
    monkeypatch.setattr(Judge, "finder", type("", (), {"shot": lambda self, pixels: shot})())
    return detector(**{"groups": 500, **options}).detect(shot.pixels, faces="find")


@pytest.mark.parametrize(("faces", "said", "reason"), [
    ([(-3, 100), (-4, 100)], "real", None),
    ([(-3, 100), (9, 200)], "unsure", "1 of 2 faces is unlike"),  # nobody has judged that one: it may be the fake
    ([(9, 100), (9, 200)], "fake", None),  # the other one is fake, whatever this one is
    ([(9, 200)] * 40, "unsure", "40 of 40 faces are unlike"),  # though no single p-value would do among 40
    ([(-3, 100)] * 39 + [(9, 200)], "fake", None),  # among 40 one as far is no wonder with 500 known faces
])  # fmt: skip
def test_faces_of_a_photo(
    monkeypatch: pytest.MonkeyPatch, faces: list[tuple[float, int]], said: str, reason: str | None
) -> None:
    verdict = photo(monkeypatch, *faces)
    assert verdict.status == said
    assert verdict.reason is None if reason is None else (verdict.reason or "").startswith(reason)
    assert [track.decision for track in verdict.tracks] == [
        "unsure" if colour == 200 else "fake" if logit > 0 else "real" for logit, colour in faces
    ]  # each for itself


def test_the_rate_is_chosen_or_the_test_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert photo(monkeypatch, (3, 200), unlike=0.2).reason == (
        "the face is unlike all the detector knows (20% of known faces are called so)"
    )
    off = photo(monkeypatch, (3, 200), unlike=0)
    assert (off.status, off.unlike, off.faces[0].p_known) == ("fake", None, None)
    few = photo(monkeypatch, (3, 200), groups=60)  # 1% of 60 faces is none
    assert (few.status, few.unlike) == ("fake", None)
    assert photo(monkeypatch, (3, 200), groups=60, unlike=0.02).status == "unsure"
    with pytest.raises(UsageError, match="knows faces of 60 groups: too few") as caught:
        detector(60, unlike=0.01)
    assert caught.value.hint == "--unlike 0.017 or more"
    with pytest.raises(SettingsError, match="between 0 and 1, got 1"):
        detector(unlike=1)


def test_a_runtime_without_vectors_says_nothing_of_it() -> None:
    class Blind:
        size, parameters = 4, 1
        logits = Plain.logits

        def logits_of(self) -> None: ...

    known = detector()
    blind = Blind()
    blind.logits = lambda crops: Plain().logits(crops)  # type: ignore[method-assign, assignment]
    verdict = Detector(blind, known.description, known=known.known).detect(crop(3, 200), faces="crops")  # type: ignore[arg-type]
    assert (verdict.status, verdict.unlike, verdict.faces[0].p_known) == ("fake", None, None)


def test_who_asks_a_detector_that_keeps_no_known_faces_is_told() -> None:
    with pytest.raises(UsageError, match="keeps no known faces"):
        Detector(Plain(), detector().description, unlike=0.05)  # type: ignore[arg-type]
