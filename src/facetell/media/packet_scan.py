"""What the packets of a video say before any is decoded: how many frames, when each is shown, from where it can be decoded."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from facetell.errors import MediaError
from facetell.media.container import Clock, Deadline, Declared, declared, packets
from facetell.media.limits import Limits

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = ["HIDDEN", "PacketScan", "scan_packets"]

HIDDEN = -(2**63)
"""Instead of the stamp of a frame that is not shown; FFmpeg's mark of none."""


@dataclass(frozen=True)
class PacketScan:
    """What the packets say: ``base`` (s) of a stamp, their number, the ``origin`` (s) of the video's time, its length in
    ``seconds``, the time of the ``last`` frame since the origin, the ``end`` (s) of the file's longest stream, and whether
    time stamps can be relied on (``stamped``); where they cannot, frames follow each other at the declared rate.
    ``stamps``: the presentation time of each packet's frame, in the file's order, or `HIDDEN`; ``keys``: which of them are key
    frames, from which decoding can begin. Both are empty if stamps are not one a frame, running on, or a packet is damaged."""

    head: Declared
    base: Fraction
    packets: int
    origin: Fraction
    seconds: Fraction
    last: Fraction
    end: Fraction
    stamped: bool
    stamps: Sequence[int]
    keys: Sequence[int]


def scan_packets(container: InputContainer, stream: VideoStream, limits: Limits, deadline: Deadline) -> PacketScan:
    """Read all packets of all streams without decoding any.

    Raises:
        MediaError: ``too_long`` if there are more frames or seconds than the limits allow; ``unreadable`` without a frame.
    """
    head = declared(container, stream)
    clock = Clock(stream.time_base, head.rate)
    span: tuple[Fraction, Fraction, Fraction] | None = None  # first time, last time, end
    count, bare, corrupt, others = 0, 0, False, Fraction(0)
    stamps, keys = array("q"), bytearray()  # a list of objects would grow by megabytes an hour
    for packet in packets(container, None, deadline):
        if packet.stream_index != stream.index:
            if packet.pts is not None and packet.time_base:
                others = max(others, (packet.pts + (packet.duration or 0)) * packet.time_base)
            continue
        time = clock(packet.dts)
        corrupt |= packet.is_corrupt
        stamps.append(HIDDEN)
        keys.append(packet.is_keyframe)
        if packet.is_discard or packet.is_corrupt:  # cut away by an edit list, or only part of a packet
            continue
        if packet.pts is not None:
            stamps[-1] = packet.pts
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
    distinct = np.unique(np.frombuffer(stamps, np.int64))
    exact = stamped and not bare and not corrupt and not clock.offset and np.sum(distinct != HIDDEN) == count
    return PacketScan(
        head=head,
        base=clock.base,
        packets=count,
        origin=first,
        seconds=ending - first,
        last=last - first,
        end=max(ending, ending - first, others),
        stamped=stamped,
        stamps=stamps if exact else (),
        keys=keys if exact else (),
    )
