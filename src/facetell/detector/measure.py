"""Measure a calibration on validation faces: the same when a detector is made and whenever it is calibrated later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facetell.detector.calibration import DEFAULT, Calibration, MeasuredOn, OperatingPoint, Reference, Scale, UnsureBand
from facetell.detector.videos import videos_of
from facetell.errors import SettingsError, near_miss
from facetell.evaluation.conformal import fit_band
from facetell.evaluation.drift import Sketch
from facetell.evaluation.rates import operating_rates
from facetell.evaluation.score_curves import Curve, fit_isotonic, fit_temperature
from facetell.evaluation.thresholds import choose_threshold
from facetell.faceset.table import FaceSet

__all__ = ["METHODS", "MIN_VIDEOS", "RULE", "Sample", "check_method", "measure_calibration"]

METHODS = ("temperature", "isotonic")
RULE = "balanced_accuracy"
"""How the default operating point is chosen unless another rule is asked for."""
MIN_VIDEOS = 10
"""Of each class, below which nothing is measured on videos."""


@dataclass(frozen=True)
class Sample:
    """Labelled logits of faces, or of whole videos: ``labels``, ``logits``, ``groups`` and ``sources``, each (N,).

    ``sources`` are names or numbers, None where they are not known. ``real``: the logits of the tracks of real videos, by
    which ``logits`` are corrected; None for faces.
    """

    labels: npt.NDArray[np.int8]
    logits: npt.NDArray[np.float32]
    groups: npt.NDArray[np.str_]
    faceset: str
    fingerprint: str
    split: str
    real: Sketch | None = None
    sources: npt.NDArray[np.str_] | npt.NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls,
        faces: FaceSet,
        split: str,
        logits: npt.NDArray[np.float32],
        keep: npt.NDArray[np.bool_] | None = None,
    ) -> Sample:
        """The faces of a split with their logits (N,); only those of ``keep`` (N,), if it is given."""
        table = faces.columns(["label", "group", "source"], split)
        labels, groups = table["label"].to_numpy(), table["group"].to_numpy().astype(str)
        sources = np.array(table["source"].to_pylist(), dtype=str)
        rows = np.ones(len(labels), bool) if keep is None else keep
        return cls(
            labels[rows], logits[rows], groups[rows], faces.path.name, faces.fingerprint, split, sources=sources[rows]
        )

    @classmethod
    def of_videos(
        cls,
        faces: FaceSet,
        split: str,
        logits: npt.NDArray[np.float32],
        keep: npt.NDArray[np.bool_] | None = None,
        real: Sketch | None = None,
    ) -> Sample | None:
        """The videos of a split, each with the pooled logits of its faces; None where a class has under `MIN_VIDEOS`.

        ``real``: of the tracks of real videos, where the detector has them; by default they are taken from this split.
        The frames of one video err together, so what is right for one face is too sure for their mean, or not sure
        enough: only whole videos can tell.
        """
        videos = videos_of(faces, split, logits, keep)
        if np.bincount(videos.labels, minlength=2).min() < MIN_VIDEOS:
            return None
        real = videos.tracks_of_reals() if real is None else real
        of_files, where = videos.logits(real, of_tracks=True), (faces.path.name, faces.fingerprint, split)
        return cls(videos.labels, of_files, videos.groups, *where, real, videos.sources)

    @property
    def on(self) -> MeasuredOn:
        """Where these are from, and how many."""
        fake = self.labels == 1
        groups = [int(np.unique(self.groups[rows]).size) for rows in (slice(None), ~fake, fake)]
        counts = int((~fake).sum()), int(fake.sum())
        return MeasuredOn(self.faceset, self.fingerprint, self.split, *counts, *groups)

    def point(self, curve: Curve, rule: str) -> OperatingPoint:
        """The operating point that ``rule`` chooses on these, with its rates. Raises as ``choose_threshold`` does."""
        scores = curve.scores(self.logits)
        value = choose_threshold(self.labels, scores, rule, self.sources)
        return OperatingPoint(value, rule, self.on, operating_rates(self.labels, scores, self.groups, value))

    def band(self, curve: Curve, coverage: float) -> UnsureBand:
        """The unsure band of ``coverage`` on these. Raises as ``fit_band`` does."""
        band = fit_band(self.labels, curve.scores(self.logits), self.groups, coverage)
        return UnsureBand(band.fake_from, band.real_to, coverage, self.on)

    def scale(self, rules: Mapping[str, str], method: str = METHODS[0]) -> Scale:
        """Curve, operating points (name → rule) and reference, all measured on these.

        Raises ``SettingsError`` for an unknown method, ``DataError`` for a missing class, a rule that cannot be met, or too
        few faces for an isotonic curve.
        """
        check_method(method)
        if method == "isotonic":
            curve = fit_isotonic(self.logits, self.labels)
        else:
            curve = Curve(fit_temperature(self.logits, self.labels))
        real, fake = (Sketch.of(self.logits[rows], self.groups[rows]) for rows in (self.labels == 0, self.labels == 1))
        real = self.real or real
        points = {name: self.point(curve, rule) for name, rule in rules.items()}
        return Scale(curve, self.on, points, None, Reference(self.on, real, fake))


def check_method(method: str) -> None:
    """Raise ``SettingsError`` unless ``method`` is a way to fit a curve from logits to scores."""
    if method not in METHODS:
        raise SettingsError(
            f"unknown calibration '{method}'{near_miss(method, METHODS)}", hint=f"one of {', '.join(METHODS)}"
        )


def measure_calibration(
    weights: str,
    faces: Sample,
    videos: Sample | None = None,
    *,
    rules: Mapping[str, str] | None = None,
    method: str = METHODS[0],
    embedding: str | None = None,
) -> Calibration:
    """Measure all that a detector needs to decide.

    Args:
        weights: SHA-256 of the weights that gave the logits.
        faces: validation faces, none of which the detector has learned from.
        videos: the same as whole videos, where there are enough.
        rules: operating points as name → rule, ``default`` among them; by default that alone, by `RULE`.
        method: of the faces' curve, ``temperature`` or ``isotonic``; videos are too few for any but the first.
        embedding: SHA-256 of the points of known faces that are kept beside the weights.

    Raises:
        DataError: a class is missing, or a rule cannot be met.
    """
    rules = rules or {DEFAULT: RULE}
    return Calibration(weights, embedding, faces.scale(rules, method), videos.scale(rules) if videos else None)
