"""What a fake part of a clip costs and gains: false alarms of real clips, and recall where 10%, 25%, 50% of the time is fake.

    python benchmarks/partial_fakes.py --seed 0

Logits of 32 frames are simulated: a clip's own level, and frames that differ from it, with neighbours correlated. Within 33
clips of FaceForensics++ (c40) frames of a detector differed by 0.5 to 1 of what clips differ by, and neighbours were correlated
by 0.2 in the median. Fakes are ``--distance`` between-clip deviations away. ``clips``: calibrated on whole clips; ``faces``: on
single faces, so that a track counts as several. ``mean`` is the mean over the clip, ``part`` the clip of the fake part alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.detector.pooling import pool
from facetell.evaluation.drift import Sketch

FRAMES = 32
SHARES = (0.1, 0.25, 0.5, 1.0)
Floats = NDArray[np.float32]


class Clips:
    """Draws logits (N, FRAMES)."""

    def __init__(self, within: float, neighbours: float, distance: float, seed: int) -> None:
        self.within, self.neighbours, self.distance = within, neighbours, distance
        self.rng = np.random.default_rng(seed)

    def __call__(self, count: int, share: float = 0.0, frames: int = FRAMES) -> Floats:
        noise = self.rng.normal(size=(count, frames))
        for i in range(1, frames):
            fresh = np.sqrt(1 - self.neighbours**2) * noise[:, i]
            noise[:, i] = self.neighbours * noise[:, i - 1] + fresh
        logits = self.rng.normal(size=(count, 1)) + self.within * noise
        fakes = round(share * frames)
        for row in logits:
            start = self.rng.integers(0, frames - fakes + 1)
            row[start : start + fakes] += self.distance
        return logits.astype(np.float32)


def judged(clips: Floats, real: Sketch | None, *, of_tracks: bool) -> NDArray[np.float64]:
    track = np.zeros(clips.shape[1], np.int64)
    return np.array([pool(clip, track).logit(real, of_tracks=of_tracks) for clip in clips])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--distance", type=float, default=3.0)
    parser.add_argument("--known", type=int, default=500, help="reals that threshold and correction are measured on")
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(
        "within  neighbours  by      false alarms   recall with a part of " + "    ".join(f"{s:4.0%}" for s in SHARES)
    )
    for within, neighbours in ((0.5, 0.2), (1.0, 0.2), (0.5, 0.6)):
        draw = Clips(within, neighbours, given.distance, given.seed)
        known, faces = draw(given.known), draw(given.known, frames=1)[:, 0]
        tracks = judged(known, None, of_tracks=True)
        of_tracks, of_faces = Sketch.of(tracks), Sketch.of(faces)
        ways: dict[str, tuple[Callable[[Floats], NDArray[Any]], Any]] = {
            "mean": (lambda clips: clips.mean(axis=1), np.quantile(known.mean(axis=1), 0.95)),
            "clips": (partial(judged, real=of_tracks, of_tracks=True), np.quantile(tracks, 0.95)),
            "faces": (partial(judged, real=of_faces, of_tracks=False), np.quantile(faces, 0.95)),
        }
        reals = draw(given.clips)
        parts = {share: draw(given.clips, share) for share in SHARES}
        for name, (logits, threshold) in ways.items():
            rates = [float((logits(clips) >= threshold).mean()) for clips in (reals, *parts.values())]
            recalls = "    ".join(f"{rate:4.2f}" for rate in rates[1:])
            print(f"{within:6}  {neighbours:10}  {name:6}  {rates[0]:12.3f}   {'':22}{recalls}", flush=True)
        # The part alone has fewer frames, so a track of its own.
        alone = [judged(draw(given.clips, 1.0, max(1, round(s * FRAMES))), of_tracks, of_tracks=True) for s in SHARES]
        recalls = "    ".join(f"{float((each >= ways['clips'][1]).mean()):4.2f}" for each in alone)
        print(f"{within:6}  {neighbours:10}  part    {'':12}   {'':22}{recalls}", flush=True)
