"""One frame of a video or an animation, and the account of what came out of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Account", "Frame"]


@dataclass(frozen=True)
class Frame:
    """One frame: ``index`` in its stream from 0, ``time`` in s since the first one of its ``stream``, ``pixels``
    uint8 (H, W, 3) RGB, upright, C order; indices go on from one video stream of a file to the next, which are numbered
    from 0 in the file's order."""

    index: int
    time: float
    pixels: NDArray[np.uint8]
    stream: int = 0


@dataclass(frozen=True)
class Account:
    """What came out of a video stream or an animation: its ``frames``, and those ``given`` to the caller, ``corrupt``
    packets that could not be decoded (of those that had to be), ``seconds`` of video reached, and those ``declared``
    (None if the file does not say); ``stream``: its number of all ``streams``."""

    frames: int
    given: int
    corrupt: int
    seconds: float
    declared: float | None
    truncated: bool
    stream: int = 0
    streams: int = 1

    @property
    def missing(self) -> str:
        """What is missing, in words; empty if nothing is."""
        parts = []
        if self.truncated:
            whole = f" of {self.declared:.1f} s" if self.declared is not None else ""
            parts.append(f"truncated: ends after {self.seconds:.1f} s{whole}")
        if self.corrupt:
            parts.append(f"{self.corrupt} corrupt packet{'s' if self.corrupt > 1 else ''} skipped")
        return "; ".join(parts)
