"""Which packets of a video must be decoded for the frames that are chosen.

A key frame begins a group that can be decoded without what was before it, but for frames that are stored after it and
shown before it. So a group is decoded if a chosen frame is in it or in the next one; the group before is also what a
decoder needs where a "key frame" only begins to refresh the picture (H.264, recovery point).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from facetell.media.frame_choice import All, Choice
from facetell.media.packet_scan import HIDDEN, PacketScan

__all__ = ["Need", "Plan", "plan_decoding"]

# Codecs whose key frames FFmpeg's parsers find in the frames themselves, whatever the container says.
_GROUPS = frozenset({"av1", "h264", "hevc", "mjpeg", "mpeg4", "vp8", "vp9"})
# FFmpeg can leave out frames that no other refers to. In HEVC those that it takes for such may be referred to.
_NO_REFERENCE = frozenset({"h264"})


class Need(IntEnum):
    """What is done with a packet: passed over; decoded if other frames refer to its own; decoded."""

    NOTHING = 0
    REFERENCE = 1
    FRAME = 2


@dataclass(frozen=True)
class Plan:
    """The stamp of each packet's frame and its `Need`, in the file's order, and the stamps of the ``chosen`` frames."""

    stamps: Sequence[int]
    needs: Sequence[int]
    chosen: set[int]


def plan_decoding(scan: PacketScan, choice: Choice, codec: str) -> Plan | None:
    """How to decode no more than is needed; None: decode all, for nothing can be left out for certain."""
    if not scan.stamps or isinstance(choice, All) or codec not in _GROUPS:
        return None
    stamps, groups = np.asarray(scan.stamps), np.cumsum(scan.keys)
    hidden = stamps == HIDDEN
    shown = np.sort(stamps[~hidden]).tolist()
    chosen = _chosen(shown, scan, choice)
    wanted = np.isin(stamps, [*chosen, shown[-1]])  # the last one tells whether the end could be decoded
    decoded = np.isin(groups, groups[wanted]) | np.isin(groups + 1, groups[wanted])
    spare = Need.REFERENCE if codec in _NO_REFERENCE else Need.FRAME
    needs = np.where(wanted | hidden, Need.FRAME, spare) * decoded
    return Plan(scan.stamps, needs.astype(np.uint8).tobytes(), chosen)


def _chosen(shown: list[int], scan: PacketScan, choice: Choice) -> set[int]:
    """Of the stamps of all frames, in order, those of the chosen ones."""
    chosen, at = set(), 0
    while at < len(shown):
        moment = choice.moment(shown[at] * scan.base - scan.origin, scan.seconds, scan.packets)
        if moment is None:
            break
        at = bisect_right(shown, (moment + scan.origin) // scan.base)  # behind the frame shown at the moment
        chosen.add(shown[at - 1])
    return chosen
