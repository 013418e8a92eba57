"""The chosen frames of a file that moves: of each video stream of a video, or of an animated picture."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

from facetell.errors import MediaError
from facetell.media.animation import read_animation
from facetell.media.container import Deadline, count_streams
from facetell.media.frame import Account, Frame
from facetell.media.frame_choice import Choice
from facetell.media.kind import is_animation
from facetell.media.limits import Limits
from facetell.media.video import read_video

__all__ = ["Frames", "frames"]

_MAX_STREAMS = 8  # cars and body cameras record two to four


def frames(path: Path, choice: Choice, limits: Limits | None = None, *, threads: int = 1) -> Frames:
    """The chosen frames of a video or animation, to be iterated over once and then asked for their `Frames.account`.

    Of a file with several video streams the frames of each follow one another, beginning with the one that a player
    shows. Nothing is read before the iteration. ``threads`` decode; more than one changes the speed and nothing else.

    Raises:
        MediaError: in the iteration: ``missing``, ``empty``, ``unsupported`` (no video in it, or none we read),
            ``unreadable`` (damaged, or no frame can be decoded), ``too_large``, ``too_long`` or ``timeout``.
    """
    return Frames(path, choice, limits or Limits(), threads)


class Frames:
    """Iterator over the chosen frames of one file; see `frames`.

    ``accounts``: of each stream that was read, once that is over; ``note``: which streams there are, if several.
    """

    def __init__(self, path: Path, choice: Choice, limits: Limits, threads: int) -> None:
        self.accounts: list[Account] = []
        self.note = ""
        self._iterator = self._read(path, choice, limits, threads)

    def __iter__(self) -> Iterator[Frame]:
        return self._iterator

    def __next__(self) -> Frame:
        return next(self._iterator)

    def close(self) -> None:
        """Stop early and close the file."""
        self._iterator.close()

    @property
    def account(self) -> Account:
        """What was read and what is missing of the stream that a player shows; known once the iteration is over."""
        assert self.accounts, "known when the iteration is over"
        return self.accounts[0]

    @property
    def missing(self) -> str:
        """What is missing of all streams, in words; empty if nothing is."""
        several = len(self.accounts) > 1
        parts = [(f"stream {one.stream}: " if several else "") + one.missing for one in self.accounts if one.missing]
        return "; ".join(parts)

    def _read(self, path: Path, choice: Choice, limits: Limits, threads: int) -> Generator[Frame, None, None]:
        deadline = Deadline(limits.decode_seconds)
        if is_animation(path):
            account, self.note = yield from read_animation(path, choice, limits, deadline)
            self.accounts.append(account)
            return
        left_out: list[MediaError] = []
        number, count = 0, 1
        while number < min(count, _MAX_STREAMS):
            first = sum(account.frames for account in self.accounts)
            try:
                account = yield from read_video(path, choice, limits, threads, deadline, number, first)
            except MediaError as error:
                count = max(count, count_streams(path, limits))
                if count == 1 or error.reason == "timeout":
                    raise
                left_out.append(error)
            else:
                self.accounts.append(account)
                count = account.streams
            number += 1
        if not self.accounts:
            raise left_out[0]
        if count > 1:
            self.note = f"{len(self.accounts)} of {count} video streams looked at"
            self.note += "".join(f"; another: {error.message}" for error in left_out)
