"""Animated GIF, PNG and WebP as videos: the chosen frames over their time, composed as a viewer shows them.

How long each frame stands is read from the file's blocks, without decoding; Pillow composes the frames in order. What
comes after a damaged frame is missing, as at the end of a truncated video. Sequences in AVIF and HEIC are videos.
"""

from __future__ import annotations

from collections.abc import Generator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from facetell.errors import MediaError
from facetell.media.container import Deadline
from facetell.media.delays import delays_of
from facetell.media.frame import Account, Frame
from facetell.media.frame_choice import Choice
from facetell.media.limits import Limits, read_bytes
from facetell.pixels.decode import Film
from facetell.pixels.opening import MAX_BYTES

__all__ = ["read_animation"]


def read_animation(
    path: Path, choice: Choice, limits: Limits, deadline: Deadline
) -> Generator[Frame, None, tuple[Account, str]]:
    """The chosen frames of an animation; the account and what is wrong around its pixels come at the end.

    Raises:
        MediaError: as `facetell.media.frames.frames`.
    """
    data = read_bytes(path, MAX_BYTES)
    with path.open("rb") as file:
        delays = list(islice(delays_of(file), limits.max_frames + 1))
    if len(delays) > limits.max_frames:
        raise MediaError(f"more than {limits.max_frames:,} frames, the limit", reason="too_long")
    starts = np.concatenate([[0], np.cumsum(np.array(delays, dtype=np.int64))])
    seconds = Fraction(int(starts[-1]), 1000)
    if seconds > limits.max_seconds:
        raise MediaError(f"{float(seconds):,.0f} s long; {limits.max_seconds:,.0f} s is the limit", reason="too_long")
    film = Film(data)
    truncated = film.cut or (film.frames or 0) > len(delays)
    given, decoded, there = 0, 0, len(delays)
    while True:
        whole = Fraction(int(starts[there]), 1000)
        for decoded in range(there):
            deadline.check()
            start, end = (Fraction(int(starts[decoded + more]), 1000) for more in (0, 1))
            try:
                film.seek(decoded)
                wanted = choice.takes(start, end if decoded < there - 1 else None, whole, there)
                pixels = film.pixels() if wanted else None
            except MediaError:
                if not decoded:
                    raise
                truncated = True
                break
            if pixels is not None:
                with deadline.paused():
                    yield Frame(decoded, float(start), pixels)
                given += 1
        else:
            decoded = there
        if given or decoded == there:
            break
        film, there = Film(data), decoded  # all that was wanted is missing: choose among what is there
    shown = Fraction(int(starts[decoded]), 1000)
    return Account(decoded, given, 0, float(shown), float(seconds), truncated), "; ".join(film.notes)
