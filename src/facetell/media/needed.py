"""Which packets of a video must be decoded for the frames that are chosen.

A key frame begins a group that can be decoded without what was before it, but for frames that are stored after it and
shown before it. So a group is decoded if a chosen frame is in it or in the next one; the group before is also what a
decoder needs where a "key frame" only begins to refresh the picture (H.264, recovery point).
"""

from __future__ import annotations

import itertools
from enum import Enum, auto

from facetell.media.frame_choice import All, Choice
from facetell.media.packet_scan import PacketScan, Stored

__all__ = ["Need", "plan_decoding"]

# Codecs whose key frames FFmpeg's parsers find in the frames themselves, whatever the container says.
_GROUPS = frozenset({"av1", "h264", "hevc", "mjpeg", "mpeg4", "vp8", "vp9"})
# FFmpeg can leave out frames that no other refers to. In HEVC those that it takes for such may be referred to.
_NO_REFERENCE = frozenset({"h264"})


class Need(Enum):
    """What is done with a packet: decoded; decoded if other frames refer to its own; passed over."""

    FRAME = auto()
    REFERENCE = auto()
    NOTHING = auto()


def plan_decoding(scan: PacketScan, choice: Choice, codec: str) -> list[tuple[Stored, Need]]:
    """The need of every packet in the file's order; empty: decode all, for nothing can be left out for certain."""
    stored = scan.stored
    if not stored or isinstance(choice, All) or codec not in _GROUPS:
        return []
    wanted = _wanted(scan, choice)
    groups = list(itertools.accumulate(int(one.key) for one in stored))
    holding = {group for group, one in zip(groups, stored, strict=True) if one.stamp in wanted}
    decoded = holding | {group - 1 for group in holding}
    spare = Need.REFERENCE if codec in _NO_REFERENCE else Need.FRAME
    plan = []
    for group, one in zip(groups, stored, strict=True):
        need = Need.FRAME if one.stamp is None or one.stamp in wanted else spare
        plan.append((one, need if group in decoded else Need.NOTHING))
    return plan


def _wanted(scan: PacketScan, choice: Choice) -> set[int]:
    """Stamps of the chosen frames, and of the last one, which tells whether the end could be decoded."""
    stamps = sorted(one.stamp for one in scan.stored if one.stamp is not None)
    times = [stamp * scan.base - scan.origin for stamp in stamps]
    return {stamps[-1]} | {
        stamp
        for stamp, start, end in zip(stamps, times, [*times[1:], None], strict=True)
        if choice.takes(start, end, scan.seconds, scan.packets)
    }
