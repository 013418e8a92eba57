"""Frames of a video, in one pass and in order, upright, with an account of what was missing.

A file is read twice. First its packets only, without decoding (about a hundredth of the work): that gives the real
length and number of frames, which headers of streams leave out and headers of truncated files get wrong. Then it is
decoded from front to back; only chosen frames are converted. No seeking: it is slower than decoding on, and inexact.

Frames are as a player shows them on an SDR screen (limited or full range, BT.601, 709 or 2020, PQ and HLG; see
`facetell.pixels.light`) except for two things: non-square pixels are not stretched (resampling would blur the traces a
detector looks for), and transparency is dropped.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facetell.errors import MediaError
from facetell.media.container import (
    Clock,
    Deadline,
    Declared,
    check_size,
    declared,
    opened,
    orientation_of,
    packets,
    place_of,
    reading,
    stamp_of,
)
from facetell.media.frame import Account, Frame
from facetell.media.frame_choice import Choice
from facetell.media.limits import Limits
from facetell.pixels.decode import resize, upright
from facetell.pixels.light import coding, to_srgb

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
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
        scan = _scan(container, stream, limits, deadline)
    with opened(path, limits, number) as (container, stream):
        place, streams = place_of(container, stream)
        decoder = _Decoder(container, stream, threads, deadline)
        convert = _Converter(stream, limits)
        decoded = given = 0
        start = Fraction(0)
        for start, end, image in _shown(decoder, Clock(stream.time_base, scan.head.rate), scan):
            if choice.takes(start, end, scan.seconds, scan.packets):
                frame = Frame(first + decoded, float(start), convert(image), place)
                with deadline.paused():
                    yield frame
                given += 1
            decoded += 1
    if not decoded:
        raise MediaError("no frame can be decoded")
    return replace(_account(scan, decoded, given, decoder.corrupt, start), stream=place, streams=streams)


@dataclass(frozen=True)
class _Scan:
    """What the packets say: their number, the ``origin`` (s) of the video's time, its length in ``seconds``, the time
    of the ``last`` frame since the origin, the ``end`` (s) of the file's longest stream, and whether time stamps can be
    relied on (``stamped``); where they cannot, frames follow each other at the declared rate."""

    head: Declared
    packets: int
    origin: Fraction
    seconds: Fraction
    last: Fraction
    end: Fraction
    stamped: bool


def _scan(container: InputContainer, stream: VideoStream, limits: Limits, deadline: Deadline) -> _Scan:
    """Read all packets of all streams without decoding any."""
    head = declared(container, stream)
    clock = Clock(stream.time_base, head.rate)
    span: tuple[Fraction, Fraction, Fraction] | None = None  # first time, last time, end
    count, bare, others = 0, 0, Fraction(0)
    for packet in packets(container, None, deadline):
        if packet.stream_index != stream.index:
            if packet.pts is not None and packet.time_base:
                others = max(others, (packet.pts + (packet.duration or 0)) * packet.time_base)
            continue
        time = clock(packet.dts)
        if packet.is_discard or packet.is_corrupt:  # cut away by an edit list, or only part of a packet
            continue
        if packet.pts is not None:
            time = packet.pts * clock.base + clock.offset
        end = time + (packet.duration * clock.base if packet.duration else clock.step)
        first, last, ending = span or (time, time, end)
        span = min(first, time), max(last, time), max(ending, end)
        count, bare = count + 1, bare + (packet.pts is None)
        if count > limits.max_frames:
            raise MediaError(f"more than {limits.max_frames:,} frames, the limit", reason="too_long")
        if span[2] - span[0] > limits.max_seconds:
            raise MediaError(
                f"its time stamps span more than {limits.max_seconds:,.0f} s, the limit", reason="too_long"
            )
    if span is None:
        raise MediaError("no frame in it")
    # AVI has no presentation times, and what FFmpeg guesses is wrong if frames are stored out of order.
    guessed = container.format.name == "avi" and stream.codec_context.has_b_frames
    stamped = bare in (0, count) and not guessed
    first, last, ending = span if stamped else (Fraction(0), (count - 1) * clock.step, count * clock.step)
    return _Scan(head, count, first, ending - first, last - first, max(ending, ending - first, others), stamped)


class _Decoder:
    """The frames of a video stream in order; ``corrupt`` counts packets and frames that were left out as damaged."""

    def __init__(self, container: InputContainer, stream: VideoStream, threads: int, deadline: Deadline) -> None:
        self.corrupt = 0
        self._container, self._stream, self._deadline = container, stream, deadline
        stream.codec_context.thread_count = threads
        if threads > 1:
            stream.codec_context.thread_type = "AUTO"  # by frame where the codec can, which is faster than by slice

    def __iter__(self) -> Iterator[VideoFrame]:
        for packet in packets(self._container, self._stream, self._deadline):
            yield from self._decode(packet)
        yield from self._decode(None)  # what the decoder still holds back

    def _decode(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        import av

        try:
            images = self._stream.decode(packet)
        except MemoryError:
            raise MediaError("not enough memory to decode it", reason="too_large") from None
        except EOFError:
            return []
        except av.error.FFmpegError:
            self.corrupt += 1
            return []
        # A packet marked as corrupt is decoded all the same, for later frames refer to it; its own frame is marked too.
        whole = [image for image in images if not image.is_corrupt]
        self.corrupt += len(images) - len(whole)
        return whole


def _shown(
    images: Iterable[VideoFrame], clock: Clock, scan: _Scan
) -> Iterator[tuple[Fraction, Fraction | None, VideoFrame]]:
    """Each frame with the time (s since the origin) from which and until which it is shown; None: the last one."""
    held: tuple[Fraction, VideoFrame] | None = None
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


def _account(scan: _Scan, decoded: int, given: int, corrupt: int, shown: Fraction) -> Account:
    """Compare what came with what was said; ``shown`` is the time of the last frame that came."""
    slack = _SLACK + 2 / scan.head.rate
    # The stream's own length if it has one; the file's may be that of the sound, and counts from 0.
    whole, reached = (scan.head.seconds, scan.seconds) if scan.head.seconds else (scan.head.file, scan.end)
    short = whole is not None and reached < whole - slack
    lost = scan.last - shown > slack  # packets were there, but the last ones could not be decoded
    return Account(
        decoded=decoded,
        given=given,
        corrupt=corrupt,
        seconds=float(shown + 1 / scan.head.rate if lost else scan.seconds),
        declared=float(whole) if whole else None,
        truncated=short or lost,
    )
