"""A clip of which a part is fake is judged by that part: against the clip of that part alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from faceclips import background, needs_media, save_clip, with_head

from facetell.detector.decider import Decider
from facetell.detector.judge import Judge
from facetell.detector.verdict import Verdict
from facetell.evaluation.drift import Sketch
from facetell.evaluation.score_curves import Curve
from facetell.media.frame_choice import Spread

needs_media()


def of_brightness() -> Any:
    """A detector that calls bright faces fake, calibrated on whole videos of dark ones."""
    real = Sketch.of(np.linspace(-6, -2, 300))
    decider = Decider(Curve(1.0), 0.5, real=real, of_tracks=True)
    return SimpleNamespace(
        size=8, description={"input": {"crop": None}}, calibration=decider, decider=decider, video_decider=decider,
        operating_point="default", prevalence=None, identity="",
        logits_and_deviations=lambda crops: (
            ((crops.mean(axis=(1, 2, 3)) - 120) / 10).astype(np.float32), np.full(len(crops), np.nan),
        ),
        p_known=lambda deviations: deviations, unlike=None,
        scores=lambda logits: decider.scores(logits),
    )  # fmt: skip


def judged(path: Path) -> Verdict:
    return Judge(cast("Any", of_brightness()), frames=Spread(32)).file(path)


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray]:
    """A dark and a bright head in one place, before one backdrop."""
    back = background(7, 480, 270)
    return with_head(back, 180, 80, gain=0.5), with_head(back, 180, 80, gain=1.4)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.125, 0.25, 0.5])
def test_the_part_decides_and_is_named(tmp_path: Path, scene: tuple[np.ndarray, np.ndarray], share: float) -> None:
    dark, bright = scene
    fakes = round(64 * share)
    before = 40 - fakes // 2
    whole = judged(save_clip(tmp_path / "a.mp4", [dark] * before + [bright] * fakes + [dark] * (64 - before - fakes)))
    alone = judged(save_clip(tmp_path / "b.mp4", [bright] * fakes))
    none = judged(save_clip(tmp_path / "c.mp4", [dark] * 64))
    assert [verdict.decision for verdict in (whole, alone, none)] == ["fake", "fake", "real"]
    assert whole.logit is not None
    assert whole.logit == pytest.approx(alone.logit, abs=1.0)
    assert np.mean([face.logit for face in whole.faces]) < whole.logit - 2, "the mean over the clip is another one"
    assert whole.window is not None
    start, end = whole.window
    assert before / 10 - 0.01 <= start < end <= (before + fakes) / 10 + 0.01
    assert whole.tracks[0].window == whole.window
    assert (whole.tracks[0].start, whole.tracks[0].end) == (whole.faces[0].time, whole.faces[-1].time)


@pytest.mark.slow
def test_a_cut_ends_a_track(tmp_path: Path, scene: tuple[np.ndarray, np.ndarray]) -> None:
    elsewhere = with_head(background(8, 480, 270)[:, ::-1], 180, 80, gain=1.4)
    verdict = judged(save_clip(tmp_path / "a.mp4", [scene[0]] * 20 + [elsewhere] * 12))
    assert [(track.faces, track.decision) for track in verdict.tracks] == [(20, "real"), (12, "fake")]
    assert verdict.corrected_for == 2
    assert verdict.window is not None
    assert verdict.window[0] >= 2.0
