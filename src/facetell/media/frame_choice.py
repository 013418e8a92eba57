"""Which frames of a video: spread evenly over its time, one every so often, or all.

A frame is shown from its own time until the next one's. A choice names moments; the frame shown at a moment is taken,
and taken once however many moments fall on it. So the rule holds for a variable frame rate as for a constant one.
Times are exact fractions of a second, measured from the first frame.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction

from facetell.errors import UsageError

__all__ = ["All", "Choice", "Every", "Spread", "parse"]


class _Moments(ABC):
    """Moments of a video; of a frame that is shown over one or several it is taken, once."""

    @abstractmethod
    def moment(self, start: Fraction, duration: Fraction, frames: int) -> Fraction | None:
        """The first moment (s) at or after ``start``, None if there is no more.

        ``duration`` (s) and ``frames`` are the whole video's.
        """

    def takes(self, start: Fraction, end: Fraction | None, duration: Fraction, frames: int) -> bool:
        """Whether the frame shown in [start, end) s is taken; ``end`` None: the last one, shown for ever."""
        moment = self.moment(start, duration, frames)
        return moment is not None and (end is None or moment < end)


@dataclass(frozen=True)
class Spread(_Moments):
    """The frames shown at (i + 0.5) / ``count`` of the video's length, i = 0 … count - 1.

    A video of no more than ``count`` frames gives all of them. Otherwise fewer than ``count`` come out only where one
    frame stands still over several of the moments.
    """

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"{self.count} frames: at least 1 is needed")

    def moment(self, start: Fraction, duration: Fraction, frames: int) -> Fraction | None:
        """See `_Moments.moment`."""
        if frames <= self.count:
            return start
        # The smallest i with (2 i + 1) duration / (2 count) >= start.
        i = max(0, math.ceil((2 * self.count * start / duration - 1) / 2)) if duration else 0
        return (2 * i + 1) * duration / (2 * self.count) if i < self.count else None


@dataclass(frozen=True)
class Every(_Moments):
    """The frames shown at 0, ``seconds``, 2 ``seconds``, … before the end of the video."""

    seconds: Fraction

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise UsageError(f"one frame every {float(self.seconds):g} s: more than 0 is needed")

    def moment(self, start: Fraction, duration: Fraction, frames: int) -> Fraction | None:
        """See `_Moments.moment`."""
        moment = math.ceil(start / self.seconds) * self.seconds
        return moment if moment == 0 or moment < duration else None


@dataclass(frozen=True)
class All(_Moments):
    """Every frame."""

    def moment(self, start: Fraction, duration: Fraction, frames: int) -> Fraction | None:
        """See `_Moments.moment`."""
        return start


Choice = Spread | Every | All

_SECONDS = {"ms": Fraction(1, 1000), "s": Fraction(1), "min": Fraction(60)}


def parse(text: str) -> Choice:
    """Read a choice as it is written on the command line: ``32``, ``all``, ``2s``, ``0.5s``, ``500ms``, ``1min``.

    Raises:
        UsageError: if it is none of these, or zero.
    """
    text = text.strip().lower()
    if text == "all":
        return All()
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?(ms|s|min)?", text, re.ASCII)
    if match and match[2]:
        return Every(Fraction(match[1]) * _SECONDS[match[2]])
    if match and "." not in match[1]:
        return Spread(int(match[1]))
    raise UsageError(f"frames '{text}' cannot be read", hint="a number (32), a time between frames (2s, 500ms), or all")
