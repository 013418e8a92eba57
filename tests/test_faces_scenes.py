"""Cuts on drawn frames, and on a clip that two clips were joined to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from faceclips import background, needs_media, save_clip, walk, with_head

from facetell.faces.scenes import Scenes


def scenes(*frames: np.ndarray) -> list[int]:
    number = Scenes()
    return [number(frame) for frame in frames]


def test_a_moving_head_is_no_cut_another_background_is() -> None:
    assert scenes(*walk(1, 12, width=400), *walk(2, 12, width=400)) == [0] * 12 + [1] * 12


def test_the_same_place_is_a_cut_where_light_and_dark_lie_otherwise() -> None:
    one = background(3)
    grey = np.repeat(one.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    assert scenes(grey, grey[:, ::-1], grey) == [0, 1, 2], "the same greys, mirrored"


def test_light_that_changes_a_little_and_noise_are_no_cut() -> None:
    rng = np.random.default_rng(0)
    frame = with_head(background(4, 320, 240), 100, 60)
    noisy = [np.clip(frame + rng.normal(0, 12, frame.shape), 0, 255).astype(np.uint8) for _ in range(3)]
    brighter = np.clip(frame * 1.05, 0, 255).astype(np.uint8)
    assert scenes(frame, *noisy, brighter) == [0] * 5


def test_frames_of_one_colour_have_no_layout() -> None:
    rng = np.random.default_rng(0)
    black = [rng.integers(0, 2, (48, 64, 3), dtype=np.uint8) for _ in range(4)]
    assert scenes(*black) == [0] * 4
    assert scenes(black[0], np.full((48, 64, 3), 200, np.uint8)) == [0, 1]


def test_two_clips_in_one_are_two_tracks(tmp_path: Path) -> None:
    needs_media()
    from facetell.faces.finding import FaceFinder
    from facetell.faces.tracks import link_rows
    from facetell.media.frame_choice import All

    still = [
        with_head(background(seed, 320, 180), 80, 40) for seed in (5, 6)
    ]  # the head in the same place of another scene
    clip = save_clip(tmp_path / "cut.mp4", [still[0]] * 6 + [still[1]] * 5)
    shots = list(FaceFinder(choice=All()).read(clip))
    assert [shot.scene for shot in shots] == [0] * 6 + [1] * 5
    rows = [(shot.index, shot.time or 0.0, shot.faces[0].face, shot.scene) for shot in shots]
    frames, times, faces, numbers = (list(column) for column in zip(*rows, strict=True))
    assert link_rows(frames, times, faces, numbers).tolist() == [0] * 6 + [1] * 5
    assert link_rows(frames, times, faces, [0] * 11).tolist() == [0] * 11, "by place alone they would be one"
