"""The frames of a video stream in the order in which they are shown, those that need no decoding by their time alone."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facetell.errors import MediaError
from facetell.media.container import Deadline, packets, stamp_of
from facetell.media.needed import Need, Plan
from facetell.media.packet_scan import HIDDEN

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = ["Decoder", "Passed"]


@dataclass(frozen=True, slots=True)
class Passed:
    """A frame of which there are no pixels: passed over, or damaged where frames are passed over."""

    pts: int
    dts: None = None


class Decoder:
    """Iterator over frames; ``corrupt`` counts packets and frames that were left out as damaged.

    ``plan``: what is done with each packet; None: all are decoded.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        threads: int,
        deadline: Deadline,
        plan: Plan | None = None,
    ) -> None:
        self.corrupt = 0
        self._container, self._stream, self._deadline = container, stream, deadline
        self._plan = plan
        self._awaited: list[int] = []  # heap of the stamps of frames that are neither shown nor passed over yet
        stream.codec_context.thread_count = threads
        if threads > 1:
            stream.codec_context.thread_type = "AUTO"  # by frame where the codec can, which is faster than by slice

    def __iter__(self) -> Iterator[VideoFrame | Passed]:
        plan = zip(self._plan.stamps, self._plan.needs, strict=True) if self._plan else iter(())
        gap = False
        for packet in packets(self._container, self._stream, self._deadline):
            stamp, need = next(plan, (HIDDEN, Need.FRAME))
            if need != Need.NOTHING and gap:  # a key frame
                yield from self._in_turn(self._decode(None))
                self._stream.codec_context.flush_buffers()
            gap = need == Need.NOTHING
            if stamp != HIDDEN:
                heapq.heappush(self._awaited, stamp)
            if not gap:
                if self._plan:
                    self._stream.codec_context.skip_frame = "NONREF" if need == Need.REFERENCE else "DEFAULT"
                yield from self._in_turn(self._decode(packet))
        yield from self._in_turn(self._decode(None))  # what the decoder still holds back
        yield from self._passed(None)

    def _in_turn(self, images: Iterable[VideoFrame]) -> Iterator[VideoFrame | Passed]:
        for image in images:
            stamp = stamp_of(image)
            if stamp is not None:
                yield from self._passed(stamp)
                if self._awaited and self._awaited[0] == stamp:
                    heapq.heappop(self._awaited)
            yield image

    def _passed(self, before: int | None) -> Iterator[Passed]:
        while self._awaited and (before is None or self._awaited[0] < before):
            yield Passed(heapq.heappop(self._awaited))

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
