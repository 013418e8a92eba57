"""The decision on a file: what its tracks say together, and which of them have a say."""

from __future__ import annotations

import numpy as np

from facetell.detector.decider import Decider
from facetell.detector.pooling import Pooled
from facetell.detector.verdict import TrackVerdict
from facetell.evaluation.out_of_distribution import discoveries

__all__ = ["decided"]


def decided(pooled: Pooled, people: list[TrackVerdict], decider: Decider, rate: float | None) -> tuple[str, str | None]:
    """The decision on a file by its tracks, and the reason for an unsure one.

    A track unlike all known faces has no say: the file is fake where another one makes it so, and else unsure, since that
    one may be fake. A file of known faces is called unsure for this at most at ``rate``, however many they are.
    """
    counting = [person for person, track in zip(people, pooled.tracks, strict=True) if track.counts]
    p = [np.nan if person.p_known is None else person.p_known for person in counting]
    found = np.zeros(len(p), bool) if rate is None else discoveries(p, rate)
    unlike = [person.track for person, yes in zip(counting, found.tolist(), strict=True) if yes]
    decision = "unsure"
    if len(unlike) < len(counting):
        decision = decider.decision(pooled.logit(decider.real, of_tracks=decider.of_tracks, but=unlike))
    if rate is None or not unlike:
        return decision, "the score is in the unsure band" if decision == "unsure" else None
    if decision == "fake":
        return decision, None
    verb = "is" if len(unlike) == 1 else "are"
    faces = f"{len(unlike)} of {len(counting)} faces" if len(counting) > 1 else "the face"
    return "unsure", f"{faces} {verb} unlike all the detector knows ({100 * rate:.3g}% of known faces are called so)"
