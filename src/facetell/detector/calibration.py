"""From a logit to a score and a decision, for one face and for a video, as a detector's description says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facetell.errors import UsageError, near_miss
from facetell.evaluation.conformal import Band
from facetell.evaluation.rates import check_prevalence
from facetell.evaluation.score_curves import Curve, calibrated, log_odds, prior_shift

__all__ = ["DEFAULT", "Calibration", "band_of", "calibrations", "curve_of", "file_thresholds"]

DEFAULT = "default"
"""Name of the operating point that decides unless another is asked for."""

SATURATED = 30.0
"""Log-odds beyond which scores in float64 are too near to 0 or 1 to be undone."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Scores and decisions.

    ``threshold`` and ``band`` are scores of ``curve``. ``shift`` moves the log-odds of what is shown to another share of
    fakes; decisions are made before it, so it cannot change them.
    """

    curve: Curve
    threshold: float
    band: Band | None = None
    shift: float = 0.0

    @property
    def temperature(self) -> float:
        """Of the curve."""
        return self.curve.temperature

    def scores(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probabilities of fake (N,) of logits (N,)."""
        scores = self.curve.scores(logits)
        return calibrated(log_odds(scores) + self.shift, 1.0) if self.shift else scores

    def logits(self, scores: npt.ArrayLike) -> Floats:
        """The logits (N,) of probabilities that ``scores`` gave, to within `SATURATED` log-odds, where they tell apart."""
        return self.curve.logits(calibrated(np.clip(log_odds(scores) - self.shift, -SATURATED, SATURATED), 1.0))

    def score(self, logit: float) -> float:
        """Probability of fake."""
        return float(self.scores(np.array([logit], dtype=np.float32))[0])

    def decision(self, logit: float) -> str:
        """``fake`` from the threshold on, else ``real``; with a band, ``unsure`` where it does not rule out the other."""
        score = float(self.curve.scores(np.array([logit], dtype=np.float32))[0])
        if self.band is not None:
            return self.band.decision(score, self.threshold)
        return "fake" if score >= self.threshold else "real"

    def _shown(self, score: float) -> float:
        if not self.shift or score > 1:  # above 1: nothing is called fake
            return score
        return float(calibrated(log_odds(score) + self.shift, 1.0))

    @property
    def shown_threshold(self) -> float:
        """The threshold among the scores that are shown."""
        return self._shown(self.threshold)

    @property
    def shown_band(self) -> tuple[float, float] | None:
        """Scores (low, high) in between which a face is unsure, low >= high where none is; None without a band."""
        if self.band is None:
            return None
        low, high = self.band.around(self.threshold)
        return self._shown(low), self._shown(min(high, 1.0))


def calibrations(description: dict[str, Any], at: str, prevalence: float | None) -> tuple[Calibration, Calibration]:
    """Return the calibration of one face and of a video at the operating point ``at`` and ``prevalence``.

    That of a video is the face's where the detector has none for videos, or none at this operating point. Raises
    ``UsageError``, and KeyError, TypeError or ValueError for a damaged description.
    """
    points = description["thresholds"]
    if at not in points and at != DEFAULT:
        raise UsageError(
            f"the detector has no operating point '{at}'{near_miss(at, points)}",
            hint=f"it has: {', '.join(points)}; make another with: facetell threshold DETECTOR FACESET --at RULE",
        )
    face = Calibration(
        curve_of(description),
        points[at]["value"],
        band_of(description),
        _shift(description.get("calibration"), prevalence),
    )
    per_file = description.get("per_file")
    if not per_file or at not in file_thresholds(per_file):
        return face, face
    return face, Calibration(
        Curve(per_file["calibration"]["temperature"]),
        file_thresholds(per_file)[at],
        band_of(per_file),
        _shift(per_file, prevalence),
    )


def curve_of(description: dict[str, Any]) -> Curve:
    """The curve from the logit of a face to its score."""
    knots = description.get("calibration", {}).get("knots", ())
    return Curve(description["temperature"], tuple((float(x), float(y)) for x, y in knots))


def band_of(described: dict[str, Any]) -> Band | None:
    """The unsure band of a description, or of its part ``per_file``."""
    stored = described.get("unsure")
    return Band(stored["fake_from"], stored["real_to"]) if stored else None


def file_thresholds(per_file: dict[str, Any]) -> dict[str, float]:
    """The thresholds for whole videos by name."""
    named = {name: point["value"] for name, point in per_file.get("thresholds", {}).items()}
    return {**named, DEFAULT: per_file["calibration"]["threshold"]}


def _shift(counted: dict[str, Any] | None, prevalence: float | None) -> float:
    if prevalence is None:
        return 0.0
    check_prevalence(prevalence)
    if not counted or "n_fake" not in counted:
        raise UsageError(
            "the detector does not say which share of fakes it was calibrated on",
            hint="calibrate it: facetell calibrate DETECTOR FACESET",
        )
    return prior_shift(prevalence, counted["n_fake"] / (counted["n_fake"] + counted["n_real"]))
