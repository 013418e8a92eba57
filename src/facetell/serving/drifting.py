"""Whether what a server judges still looks like what its detector was validated on: the test of `watch`, all along."""

from __future__ import annotations

import threading
from collections import deque

from facetell.detector.calibration import calibration_of
from facetell.detector.traffic import KINDS, references
from facetell.detector.traffic_measures import LEAST
from facetell.detector.verdict import Verdict
from facetell.evaluation.drift import Drift, Sketch, drift
from facetell.serving.engine import Generation

__all__ = ["RECENT", "Drifting"]

RECENT = 1000
"""Files of a kind that are tested, the last ones."""
_REPETITIONS = 400
"""Enough to see a p of 0.01, and quick: numbers are asked for every few seconds."""


class Drifting:
    """The logits of the last files that one detector judged, by kind; those of another begin anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._identity = ""
        self._reference: dict[str, list[Sketch]] = {}
        self._logits: dict[str, deque[float]] = {}
        self._tested: dict[str, Drift] = {}

    def add(self, verdict: Verdict, generation: Generation) -> None:
        """Count a verdict, of a photo its first face as in `watch`; nothing of a file without a decision."""
        if verdict.decision is None or verdict.logit is None:
            return
        kind, logit = ("video", verdict.logit) if verdict.kind == "video" else ("face", verdict.tracks[0].logit)
        with self._lock:
            if generation.identity != self._identity:
                calibrated = calibration_of(generation.description) is not None
                self._identity, self._reference = generation.identity, {}
                self._reference = references(generation.description) if calibrated else {}
                self._logits = {each: deque(maxlen=RECENT) for each in KINDS}
                self._tested = {}
            self._logits[kind].append(float(logit))
            self._tested.pop(kind, None)

    def tests(self) -> dict[str, Drift]:
        """The test of each kind of which there are enough files, and which the detector was validated on."""
        with self._lock:
            waiting = {
                kind: list(logits)
                for kind, logits in self._logits.items()
                if len(logits) >= LEAST and kind in self._reference and kind not in self._tested
            }
            reference, identity = self._reference, self._identity
        fresh = {kind: drift(logits, reference[kind], repetitions=_REPETITIONS) for kind, logits in waiting.items()}
        with self._lock:
            if identity == self._identity:
                self._tested |= fresh
            return dict(self._tested)
