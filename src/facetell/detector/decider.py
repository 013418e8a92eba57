"""From a logit to a score and a decision, for one face or for a whole video: the one place where that is done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facetell.evaluation.conformal import Band
from facetell.evaluation.drift import Sketch
from facetell.evaluation.score_curves import Curve, calibrated, log_odds

__all__ = ["SATURATED", "Decider"]

SATURATED = 30.0
"""Log-odds beyond which scores in float64 are too near to 0 or 1 to be undone."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Decider:
    """Scores and decisions at one operating point and prevalence.

    ``threshold`` and ``band`` are scores of ``curve``. ``shift`` moves the log-odds of what is shown to another share of
    fakes; decisions are made before it, so it cannot change them. Logits count as float32, which is what networks give
    and tables keep, so a face gets the same decision wherever it is judged.
    """

    curve: Curve
    threshold: float
    band: Band | None = None
    shift: float = 0.0
    real: Sketch | None = None
    """The logits of parts of real files, by which a file of many is corrected."""
    of_tracks: bool = False
    """Whether those parts are tracks of videos, and not faces."""

    def scores(self, logits: npt.ArrayLike) -> Floats:
        """Probabilities of fake (N,) of logits (N,)."""
        scores = self.curve.scores(np.asarray(logits, np.float32))
        return calibrated(log_odds(scores) + self.shift, 1.0) if self.shift else scores

    def score(self, logit: float) -> float:
        """Probability of fake."""
        return float(self.scores([logit])[0])

    def logits(self, scores: npt.ArrayLike) -> Floats:
        """The logits (N,) of probabilities that ``scores`` gave, to within `SATURATED` log-odds, where they tell apart."""
        return self.curve.logits(calibrated(np.clip(log_odds(scores) - self.shift, -SATURATED, SATURATED), 1.0))

    def decisions(self, logits: npt.ArrayLike) -> list[str]:
        """Of each logit ``fake`` from the threshold on, else ``real``; ``unsure`` where a band does not rule out the other."""
        scores = self.curve.scores(np.asarray(logits, np.float32)).tolist()
        if self.band is not None:
            return [self.band.decision(score, self.threshold) for score in scores]
        return ["fake" if score >= self.threshold else "real" for score in scores]

    def decision(self, logit: float) -> str:
        """The decision on one logit."""
        return self.decisions([logit])[0]

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
