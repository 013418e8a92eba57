"""What the packets of a video say before any is decoded: how many frames, when each is shown, from where it can be decoded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from facetell.errors import MediaError
from facetell.media.container import Clock, Deadline, Declared, declared, packets
from facetell.media.limits import Limits

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = ["PacketScan", "Stored", "scan_packets"]


@dataclass(frozen=True, slots=True)
class Stored:
    """One packet: the presentation ``stamp`` of its frame, None if it has none or is not shown; whether it is a key
    frame, from which decoding can begin."""

    stamp: int | None
    key: bool


@dataclass(frozen=True)
class PacketScan:
    """What the packets say: ``base`` (s) of a stamp, their number, the ``origin`` (s) of the video's time, its length in
    ``seconds``, the time of the ``last`` frame since the origin, the ``end`` (s) of the file's longest stream, and whether
    time stamps can be relied on (``stamped``); where they cannot, frames follow each other at the declared rate.
    ``stored``: every packet in the file's order; empty if the stamps are not one a frame, running on, or one is damaged."""

    head: Declared
    base: Fraction
    packets: int
    origin: Fraction
    seconds: Fraction
    last: Fraction
    end: Fraction
    stamped: bool
    stored: list[Stored]


def scan_packets(container: InputContainer, stream: VideoStream, limits: Limits, deadline: Deadline) -> PacketScan:
    """Read all packets of all streams without decoding any.

    Raises:
        MediaError: ``too_long`` if there are more frames or seconds than the limits allow; ``unreadable`` without a frame.
    """
    head = declared(container, stream)
    clock = Clock(stream.time_base, head.rate)
    span: tuple[Fraction, Fraction, Fraction] | None = None  # first time, last time, end
    count, bare, corrupt, others = 0, 0, False, Fraction(0)
    stored: list[Stored] = []
    for packet in packets(container, None, deadline):
        if packet.stream_index != stream.index:
            if packet.pts is not None and packet.time_base:
                others = max(others, (packet.pts + (packet.duration or 0)) * packet.time_base)
            continue
        time = clock(packet.dts)
        corrupt |= packet.is_corrupt
        if packet.is_discard or packet.is_corrupt:  # cut away by an edit list, or only part of a packet
            stored.append(Stored(None, packet.is_keyframe))
            continue
        stored.append(Stored(packet.pts, packet.is_keyframe))
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
    shown = {one.stamp for one in stored if one.stamp is not None}
    exact = stamped and not corrupt and not clock.offset and len(shown) == count
    return PacketScan(
        head=head,
        base=clock.base,
        packets=count,
        origin=first,
        seconds=ending - first,
        last=last - first,
        end=max(ending, ending - first, others),
        stamped=stamped,
        stored=stored if exact else [],
    )
