"""What turns the logits of one set of weights into scores and decisions: measured on validation faces, kept together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from facetell.detector.decider import Decider
from facetell.errors import BundleError, UsageError, near_miss
from facetell.evaluation.conformal import Band
from facetell.evaluation.drift import Sketch
from facetell.evaluation.rates import check_prevalence
from facetell.evaluation.score_curves import Curve, prior_shift

__all__ = [
    "DEFAULT",
    "Calibration",
    "Held",
    "MeasuredOn",
    "OperatingPoint",
    "Reference",
    "Scale",
    "UnsureBand",
    "calibration_of",
    "deciders_of",
    "plain",
    "uncalibrated",
]

DEFAULT = "default"
"""Name of the operating point that decides unless another is asked for."""
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class MeasuredOn:
    """The faces, or whole videos, that something was measured on: where they are from, and how many."""

    faceset: str
    fingerprint: str
    split: str
    n_real: int
    n_fake: int
    groups: int
    groups_real: int
    groups_fake: int

    def __post_init__(self) -> None:
        _demand(self.n_real > 0 and self.n_fake > 0, "it was measured on no real or no fake face")

    @property
    def n(self) -> int:
        """All of them."""
        return self.n_real + self.n_fake


@dataclass(frozen=True)
class Held:
    """What an operating point does in one domain: the kinds of reals and fakes that came together.

    ``stated``: the share of reals that it may call fake, which holds in this domain by itself from ``logit`` on. ``fpr`` and
    ``recall`` are measured at the written threshold; ``fpr_high`` is the one-sided 95% upper bound (Clopper-Pearson over
    groups).
    """

    stated: float
    logit: float
    fpr: float
    fpr_high: float
    recall: float
    n_real: int
    n_fake: int


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, the rule that chose it, and the rates measured on the faces that chose it.

    ``value``: scores from here on are called fake; above 1 none is. ``rates``: see
    :func:`~facetell.evaluation.rates.operating_rates`. ``domains``: where ``adapt`` chose it, what it does in each of them:
    ``old``, and those of new faces by the first 16 hex digits of their fingerprint.
    """

    value: float
    rule: str
    on: MeasuredOn
    rates: dict[str, dict[str, float | None]]
    domains: dict[str, Held] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _demand(0 <= self.value <= np.nextafter(1, 2), "a threshold is no score")


@dataclass(frozen=True)
class UnsureBand(Band):
    """A band of scores with the ``coverage`` that it was measured for."""

    coverage: float
    on: MeasuredOn

    def __post_init__(self) -> None:
        _demand(0 < self.coverage < 1, "a coverage lies between 0 and 1")


@dataclass(frozen=True)
class Reference:
    """The logits of each label as quantiles: what ``watch`` compares later traffic with.

    Of videos ``real`` has the tracks, by which files of several are corrected; their corrected logits are spread alike.
    """

    on: MeasuredOn
    real: Sketch
    fake: Sketch


@dataclass(frozen=True)
class Scale:
    """From the logit of one face, or of one whole video, to its score and its decision.

    ``on`` is what ``curve`` was fitted on.
    """

    curve: Curve
    on: MeasuredOn
    points: dict[str, OperatingPoint]
    unsure: UnsureBand | None
    reference: Reference

    def __post_init__(self) -> None:
        knots = np.array(self.curve.knots).reshape(-1, 2)
        _demand(self.curve.temperature > 0, "a temperature is above 0")
        _demand(bool((np.diff(knots, axis=0) > 0).all()), "the knots of a curve rise")
        _demand(DEFAULT in self.points, f"there is no operating point '{DEFAULT}'")

    @property
    def method(self) -> str:
        """How the curve was fitted: ``temperature`` or ``isotonic``."""
        return "isotonic" if self.curve.knots else "temperature"

    def decider(self, at: str, prevalence: float | None, *, of_tracks: bool = False) -> Decider:
        """Scores and decisions at an operating point that it has, and for ``prevalence``; ``of_tracks``: it is of videos."""
        shift = 0.0
        if prevalence is not None:
            check_prevalence(prevalence)
            shift = prior_shift(prevalence, self.on.n_fake / self.on.n)
        return Decider(self.curve, self.points[at].value, self.unsure, shift, self.reference.real, of_tracks)

    def moved(self, curve: Curve, on: MeasuredOn) -> Scale:
        """The same with another curve, fitted on other faces: every threshold moves along, so every decision stays."""

        def carried(score: float) -> float:
            return score if score > 1 else float(curve.scores(self.curve.logits(score)))

        points = {name: replace(point, value=carried(point.value)) for name, point in self.points.items()}
        band = self.unsure
        if band is not None:
            band = replace(band, fake_from=carried(band.fake_from), real_to=carried(band.real_to))
        return replace(self, curve=curve, on=on, points=points, unsure=band)


@dataclass(frozen=True)
class Calibration:
    """All that was measured for one set of weights.

    ``weights`` is their SHA-256, and ``embedding`` that of the points of known faces, if any are kept. ``face`` is for one
    face; ``video`` for a whole video, or None where there were too few to measure on.
    """

    weights: str
    embedding: str | None
    face: Scale
    video: Scale | None

    def __post_init__(self) -> None:
        for digest in (self.weights, self.embedding):
            _demand(digest is None or bool(_HASH.fullmatch(digest)), "a hash is not one")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which :meth:`from_dict` reads."""
        found: dict[str, Any] = plain(self)
        return found

    @classmethod
    def from_dict(cls, stored: object) -> Calibration:
        """Undo :meth:`as_dict`. Raises ``BundleError`` for whatever it could not have written."""
        try:
            found: Calibration = _strict(cls, stored, "calibration")
        except ValueError as error:
            raise BundleError(f"the calibration is damaged: {error}", hint="copy the detector again") from None
        return found

    def check_weights(self, weights: str, embedding: str | None) -> None:
        """Raise ``BundleError`` unless it was measured on the weights with this SHA-256, with these known faces."""
        for mine, given, what in ((self.weights, weights, "weights"), (self.embedding, embedding, "known faces")):
            if mine != given:
                raise BundleError(
                    f"the calibration was measured with other {what} than are here: its thresholds mean nothing for these",
                    hint="calibrate this detector: facetell calibrate DETECTOR FACESET",
                )

    def deciders(self, at: str = DEFAULT, prevalence: float | None = None) -> tuple[Decider, Decider]:
        """Return what decides on one face and on a video at the operating point ``at`` and ``prevalence``.

        A video is judged as a face where the detector has no scale for videos, or no such point on it. Raises
        ``UsageError`` for an operating point that is not there, ``SettingsError`` for a prevalence outside (0, 1).
        """
        if at not in self.face.points:
            raise UsageError(
                f"the detector has no operating point '{at}'{near_miss(at, self.face.points)}",
                hint=f"it has: {', '.join(self.face.points)}; make another with: facetell threshold DETECTOR FACESET --at RULE",
            )
        face = self.face.decider(at, prevalence)
        if self.video is None or at not in self.video.points:
            return face, face
        return face, self.video.decider(at, prevalence, of_tracks=True)


def calibration_of(description: Mapping[str, Any]) -> Calibration | None:
    """The calibration in a detector's description, None where it is uncalibrated. Raises ``BundleError`` if damaged."""
    stored = description["calibration"]
    return None if stored is None else Calibration.from_dict(stored)


def deciders_of(
    description: Mapping[str, Any], at: str = DEFAULT, prevalence: float | None = None
) -> tuple[Decider, Decider] | None:
    """What decides on one face and on a video, see `Calibration.deciders`; None where the detector is uncalibrated.

    Raises ``UsageError`` where an operating point or a prevalence is asked of an uncalibrated detector.
    """
    calibration = calibration_of(description)
    if calibration is not None:
        return calibration.deciders(at, prevalence)
    if at != DEFAULT or prevalence is not None:
        raise uncalibrated("operating point or prevalence")
    return None


def uncalibrated(what: str) -> UsageError:
    """The error of whoever asks a detector without a calibration for ``what`` it cannot give."""
    return UsageError(
        f"the detector is uncalibrated: it gives logits, but no {what}",
        hint="calibrate it on labelled faces that it has not learned from: facetell calibrate DETECTOR FACESET",
    )


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def plain(value: Any) -> Any:
    """Values as JSON holds them: dataclasses and sketches as dicts, tuples as lists."""
    if isinstance(value, Sketch):
        return value.as_dict()
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, tuple) else value


def _strict(kind: Any, value: Any, name: str) -> Any:
    """``value`` of JSON as a ``kind``; raises ValueError, naming the place, unless it is exactly that."""
    arguments = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        return None if value is None else _strict(arguments[0], value, name)
    if kind is Sketch:
        try:
            return Sketch.from_dict(value)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{name}: {error!r}") from None
    if is_dataclass(kind):
        types = get_type_hints(kind)
        hints = {each.name: types[each.name] for each in fields(kind)}
        needed = {each.name for each in fields(kind) if each.default_factory is MISSING}  # the others came later
        fits = isinstance(value, Mapping) and needed <= value.keys() <= hints.keys()
        _demand(fits, f"{name} has not the entries {[*hints]}")
        return kind(**{key: _strict(hints[key], value[key], f"{name}.{key}") for key in value})  # type: ignore[operator]
    if get_origin(kind) is dict:
        _demand(isinstance(value, Mapping), f"{name} is not a table")
        return {key: _strict(arguments[1], each, f"{name}.{key}") for key, each in value.items()}
    if get_origin(kind) is tuple:
        inner = [arguments[0]] * len(value) if arguments[-1] is ... and isinstance(value, list) else arguments
        _demand(isinstance(value, list) and len(value) == len(inner), f"{name} is not a list of the right length")
        return tuple(_strict(each, one, name) for each, one in zip(inner, value, strict=True))
    accepted = (int, float) if kind is float else kind
    fits = isinstance(value, accepted) and not isinstance(value, bool) and (kind is str or bool(np.isfinite(value)))
    _demand(fits, f"{name} is not {kind.__name__}")
    return float(value) if kind is float else value
