"""Frames of a video, in one pass and in order, upright, with an account of what was missing.

A file is read twice. First its packets only, without decoding (about a hundredth of the work): that gives the real
length and number of frames, which headers of streams leave out and headers of truncated files get wrong. Then it is
read from front to back; what the chosen frames do not need is not decoded (`facetell.media.needed`), and only they are
converted. No seeking in the file: containers do it inexactly.

Frames are as a player shows them on an SDR screen (limited or full range, BT.601, 709 or 2020, PQ and HLG; see
`facetell.pixels.light`) except for two things: non-square pixels are not stretched (resampling would blur the traces a
detector looks for), and transparency is dropped.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facetell.errors import MediaError
from facetell.media.container import (
    Clock,
    Deadline,
    check_size,
    opened,
    orientation_of,
    place_of,
    reading,
    stamp_of,
)
from facetell.media.decoder import Decoder, Passed
from facetell.media.frame import Account, Frame
from facetell.media.frame_choice import Choice
from facetell.media.limits import Limits
from facetell.media.needed import plan_decoding
from facetell.media.packet_scan import PacketScan, scan_packets
from facetell.pixels.decode import resize, upright
from facetell.pixels.light import coding, to_srgb

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

__all__ = ["read_video"]

_UNSAID = 2  # H.273: unspecified
_ODD_PIXELS = (Fraction(1, 4), Fraction(4))  # width over height of a pixel; what is beyond is a mistake
_SLACK = Fraction(1, 4)  # s; headers and streams differ by less even in whole files


def read_video(
    path: Path, choice: Choice, limits: Limits, threads: int, deadline: Deadline, number: int = 0, first: int = 0
) -> Generator[Frame, None, Account]:
    """The chosen frames of one video stream; ``first`` is the index of its first frame.

    ``number``: 0 for the stream that a player shows, then the others in the file's order.

    Raises:
        MediaError: see `facetell.media.frames.frames`.
    """
    with opened(path, limits, number) as (container, stream):
        scan = scan_packets(container, stream, limits, deadline)
        plan = plan_decoding(scan, choice, stream.codec_context.codec.canonical_name)
    with opened(path, limits, number) as (container, stream):
        place, streams = place_of(container, stream)
        decoder = Decoder(container, stream, threads, deadline, plan)
        convert = _Converter(stream, limits)
        shown = given = 0
        reached: Fraction | None = None
        latest: tuple[int, Fraction, VideoFrame] | None = None  # decoded and not given
        for start, end, image in _shown(decoder, Clock(scan.base, scan.head.rate), scan):
            if not isinstance(image, Passed):
                latest, reached = (first + shown, start, image), start
            # Of a chosen frame that is damaged the one before is taken, which a player goes on showing.
            taken = stamp_of(image) in plan.chosen if plan else choice.takes(start, end, scan.seconds, scan.packets)
            if latest and taken:
                frame = Frame(latest[0], float(latest[1]), convert(latest[2]), place)
                latest = None
                with deadline.paused():
                    yield frame
                given += 1
            shown += 1
    if reached is None:
        raise MediaError("no frame can be decoded")
    return replace(_account(scan, shown, given, decoder.corrupt, reached), stream=place, streams=streams)


def _shown(
    images: Iterable[VideoFrame | Passed], clock: Clock, scan: PacketScan
) -> Iterator[tuple[Fraction, Fraction | None, VideoFrame | Passed]]:
    """Each frame with the time (s since the origin) from which and until which it is shown; None: the last one."""
    held: tuple[Fraction, VideoFrame | Passed] | None = None
    for image in images:
        clock(stamp_of(image) if scan.stamped else None)
        start = max(clock.last - scan.origin, Fraction(0))
        if held is not None:
            yield held[0], start, held[1]
        held = start, image
    if held is not None:
        yield held[0], None, held[1]


class _Converter:
    """Decoded frames of any pixel format, size, shape of pixels and colour to upright sRGB of square pixels."""

    def __init__(self, stream: VideoStream, limits: Limits) -> None:
        from av.video.reformatter import Colorspace, VideoReformatter

        self._limits = limits
        self._codec = stream.codec_context
        aspect = stream.sample_aspect_ratio or Fraction(1)  # 0: unknown; the container's word goes before the stream's
        self._aspect = aspect if _ODD_PIXELS[0] <= aspect <= _ODD_PIXELS[1] else Fraction(1)
        self._unsaid = {True: Colorspace.ITU709, False: Colorspace.ITU601}
        self._reformatter: VideoReformatter = VideoReformatter()  # shared: it keeps its tables while nothing changes

    def __call__(self, image: VideoFrame) -> NDArray[np.uint8]:
        """uint8 (H, W, 3) in C order."""
        width = round(image.width * self._aspect)
        check_size(max(width, image.width), image.height, self._limits)
        colour = coding(int(self._codec.color_primaries), int(self._codec.color_trc), video=True)
        # Players take what says nothing for HD from a size that TV before HD did not have.
        space = self._unsaid[image.width >= 1280 or image.height > 576] if image.colorspace == _UNSAID else None
        with reading():
            depth = "rgb48le" if colour else "rgb24"
            pixels = self._reformatter.reformat(image, format=depth, src_colorspace=space).to_ndarray()
        shown = to_srgb(pixels, colour) if colour else pixels.astype(np.uint8, copy=False)
        shown = resize(shown, image.height, width)
        return np.ascontiguousarray(upright(shown, orientation_of(image)))


def _account(scan: PacketScan, frames: int, given: int, corrupt: int, shown: Fraction) -> Account:
    """Compare what came with what was said; ``shown`` is the time of the last frame that came."""
    slack = _SLACK + 2 / scan.head.rate
    # The stream's own length if it has one; the file's may be that of the sound, and counts from 0.
    whole, reached = (scan.head.seconds, scan.seconds) if scan.head.seconds else (scan.head.file, scan.end)
    short = whole is not None and reached < whole - slack
    lost = scan.last - shown > slack  # packets were there, but the last ones could not be decoded
    return Account(
        frames=frames,
        given=given,
        corrupt=corrupt,
        seconds=float(shown + 1 / scan.head.rate if lost else scan.seconds),
        declared=float(whole) if whole else None,
        truncated=short or lost,
    )
