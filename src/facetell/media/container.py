"""The inside of a video file: opened under limits, its one video stream, its times and the way it is turned."""

from __future__ import annotations

import contextlib
import io
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from facetell.errors import MediaError
from facetell.media.kind import VIDEO_FORMATS, kind_of
from facetell.media.limits import Limits, file_size, no_access

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = [
    "Clock",
    "Deadline",
    "Declared",
    "check_size",
    "count_streams",
    "declared",
    "opened",
    "orientation_of",
    "packets",
    "place_of",
    "reading",
    "stamp_of",
]

_BUFFER = 2**18  # bytes per read
_MOVES = 10_000  # without a read between them; a whole file takes a few
_RATES = (Fraction(1, 10), Fraction(1000))  # frames per second that are believed
_USUAL_RATE = Fraction(25)
_RESET = Fraction(1)  # s; time stamps that step back further have started anew, e.g. two recordings in one file


@dataclass(frozen=True)
class Declared:
    """What the headers say: ``seconds`` of the video stream, of the whole ``file``, frame ``rate`` (never
    None: 25 where nothing credible is said), number of ``frames``."""

    seconds: Fraction | None
    file: Fraction | None
    rate: Fraction
    frames: int | None


class Deadline:
    """An amount of time for one file, that stands still while somebody else works."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Raise `MediaError` (``timeout``) once the time is used up."""
        if time.monotonic() > self._end:
            raise MediaError(f"decoding took longer than {self.seconds:g} s, the limit", reason="timeout")

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside does not count."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._end += time.monotonic() - start


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Turn what PyAV raises into `MediaError`."""
    import av

    try:
        yield
    except (av.error.ExitError, TimeoutError):
        raise MediaError("reading it took too long", reason="timeout") from None
    except MemoryError:
        raise MediaError("not enough memory to decode it", reason="too_large") from None
    except (av.error.FFmpegError, EOFError) as error:
        raise MediaError(_text(error)) from None
    except OSError as error:  # of the file below it; FFmpeg's own are of this kind too
        raise no_access(error) from None


def _text(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    log = getattr(error, "log", None)
    return "corrupt or truncated: " + " ".join(f"{text} {log[2] if log else ''}".split())[:200]


class _NoCircles(io.FileIO):
    """A file whose reader, if it only moves about in it and never reads, is told that the file ends.

    FFmpeg goes round for ever in some files whose parts are of the wrong length.
    """

    _moves = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._moves = 0
        return super().read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._moves += 1
        if self._moves == _MOVES:
            raise EOFError("its parts lead round in a circle")
        return super().seek(offset, whence) if self._moves < _MOVES else -1  # a second error would be printed


@contextlib.contextmanager
def opened(path: Path, limits: Limits, number: int = 0) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The open file and a video stream of it, both checked against the limits by what the headers say.

    ``number``: 0 for the stream that a player shows, then the others in the file's order.

    Raises:
        MediaError: see `facetell.media.frames.frames`.
    """
    import av

    size = file_size(path)
    if size > limits.max_bytes:
        raise MediaError(f"the file has {size:,} bytes; {limits.max_bytes:,} is the limit", reason="too_large")
    if kind_of(path) != "video":
        raise MediaError("not a video in a format we read", reason="unsupported")
    with contextlib.ExitStack() as stack:
        # An open file and not its name, which FFmpeg would take apart (protocols, %d patterns).
        try:
            file = stack.enter_context(_NoCircles(path))
        except OSError as error:
            raise no_access(error) from None
        with reading():
            container = stack.enter_context(
                av.open(
                    file,
                    mode="r",
                    buffer_size=_BUFFER,
                    metadata_errors="replace",
                    timeout=limits.decode_seconds,
                    options={"max_pixels": str(limits.max_pixels)},  # opening decodes a little already
                    container_options={"format_whitelist": ",".join(VIDEO_FORMATS)},
                )
            )
            stream = _video_streams(container)[number]
        check_size(stream.codec_context.width, stream.codec_context.height, limits)
        head = declared(container, stream)
        seconds = head.seconds or head.file
        if seconds and seconds > limits.max_seconds:
            raise MediaError(
                f"{float(seconds):,.0f} s long; {limits.max_seconds:,.0f} s is the limit", reason="too_long"
            )
        if head.frames and head.frames > limits.max_frames:
            raise MediaError(f"{head.frames:,} frames; {limits.max_frames:,} is the limit", reason="too_long")
        stream.codec_context.options = {"max_pixels": str(limits.max_pixels)}  # the size may change on the way
        yield container, stream


def count_streams(path: Path, limits: Limits) -> int:
    """How many video streams a file has that can be opened. Raises as `opened`."""
    with opened(path, limits) as (container, _):
        return len(_video_streams(container))


def place_of(container: InputContainer, stream: VideoStream) -> tuple[int, int]:
    """The number of a video stream in the file's order, from 0, and how many there are."""
    places = sorted(each.index for each in _video_streams(container))
    return places.index(stream.index), len(places)


def _video_streams(container: InputContainer) -> list[VideoStream]:
    """All streams that move, the one a player would show first; the cover picture of a song is none."""
    import av

    still = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    moving = [stream for stream in container.streams.video if not stream.disposition & still]
    if not moving:
        kinds = sorted({stream.type for stream in container.streams})
        if not container.streams.video and not container.streams.audio:
            raise MediaError("no video found in it; truncated?")
        what = "only a cover picture" if container.streams.video else f"only {', '.join(kinds)}"
        raise MediaError(f"no video in it, {what}", reason="unsupported")
    known = [stream for stream in moving if stream.codec_context is not None]
    if not known:
        raise MediaError("a video codec we cannot decode", reason="unsupported")
    known = _sequences(known) or known
    shown = max(known, key=lambda stream: bool(stream.disposition & av.stream.Disposition.default))
    return [shown, *(stream for stream in known if stream is not shown)]


def _sequences(streams: list[VideoStream]) -> list[VideoStream]:
    """Those that move in an AVIF or HEIC sequence, which holds a still picture beside them, and transparency as grey;
    none of a file without a still picture."""
    stills = [stream for stream in streams if stream.duration is None and stream.frames == 1 and stream.time_base == 1]
    grey = [stream for stream in streams if (stream.codec_context.pix_fmt or "").startswith("gray")]
    return [stream for stream in streams if stream not in stills and stream not in grey] if stills else []


def check_size(width: int, height: int, limits: Limits) -> None:
    """Refuse frames over the limit; 0 x 0 passes, for a header that leaves the size to the frames."""
    if width * height > limits.max_pixels:
        message = f"frames of {width}x{height} are more than {limits.max_pixels:,} pixels, the limit"
        raise MediaError(message, reason="too_large")


def declared(container: InputContainer, stream: VideoStream) -> Declared:
    """Read what the headers say about the stream."""
    seconds = _positive(stream.duration, stream.time_base) or _tagged(stream.metadata)
    rate = next((r for r in (stream.average_rate, stream.guessed_rate) if r and _RATES[0] <= r <= _RATES[1]), None)
    frames = stream.frames if stream.frames > 0 else None
    if container.format.name == "avi" and seconds and frames:  # FFmpeg shortens the length to what the file holds
        seconds = max(seconds, frames / Fraction(rate or _USUAL_RATE))
    return Declared(
        seconds=seconds,
        file=_positive(container.duration, Fraction(1, 1_000_000)),
        rate=Fraction(rate or _USUAL_RATE),
        frames=frames,
    )


def _positive(ticks: int | None, base: Fraction | None) -> Fraction | None:
    return ticks * base if ticks is not None and ticks > 0 and base else None


def _tagged(metadata: dict[str, str]) -> Fraction | None:
    """Matroska keeps a stream's length in a tag, ``00:00:10.010000000``."""
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", metadata.get("DURATION", ""), re.ASCII)
    seconds = int(match[1]) * 3600 + int(match[2]) * 60 + Fraction(match[3]) if match else Fraction(0)
    return seconds or None


def packets(container: InputContainer, stream: VideoStream | None, deadline: Deadline) -> Iterator[Packet[Any]]:
    """The packets of one stream, or of all, to the end of what can be read.

    Damage that the container can get over is stepped over; the end of a truncated file is like any end.
    """
    import av

    going = True
    while going:
        going = False
        try:
            for packet in container.demux(stream) if stream is not None else container.demux():
                deadline.check()
                if packet.size:  # the empty one at the end is the decoder's affair
                    going = True
                    yield packet
            return
        except (av.error.ExitError, TimeoutError):
            raise MediaError("reading it took too long", reason="timeout") from None
        except (av.error.FFmpegError, EOFError):
            continue


class Clock:
    """Time stamps to seconds that run on, whatever the file says.

    Called with each stamp in order (packets' ``dts``, or frames' ``pts``), it keeps ``offset`` (s) such that stamps
    that start anew go on where the last ones ended.
    """

    def __init__(self, base: Fraction | None, rate: Fraction) -> None:
        self.base = base or 1 / rate
        self.step = 1 / rate
        self.offset = Fraction(0)
        self.last = Fraction(0)
        self._started = False

    def __call__(self, stamp: int | None) -> Fraction:
        """Seconds of this stamp; one step after the last where there is none. ``last`` is the latest so far."""
        if not self._started:
            self._started = True
            time = self.last = stamp * self.base if stamp is not None else Fraction(0)
            return time
        time = stamp * self.base + self.offset if stamp is not None else self.last + self.step
        if time < self.last - _RESET:
            self.offset += self.last + self.step - time
            time = self.last + self.step
        self.last = max(self.last, time)
        return time


class _Stamped(Protocol):
    @property
    def pts(self) -> int | None: ...
    @property
    def dts(self) -> int | None: ...


def stamp_of(item: _Stamped) -> int | None:
    """Presentation time, or decoding time where (AVI) there is no other."""
    return item.pts if item.pts is not None else item.dts


def orientation_of(frame: VideoFrame) -> int:
    """The way the display matrix turns a frame, as the EXIF value 1..8; ISO/IEC 14496-12, 8.2.2.3.

    A point (p, q) of the stored picture is shown at (a p + c q, b p + d q). Slanted angles go to the nearest quarter.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 1
    a, b, _, c, d = (int(value) for value in np.frombuffer(cast("Any", matrix), dtype=np.int32)[:5])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return {(False, False): 1, (True, False): 2, (True, True): 3, (False, True): 4}[a < 0, d < 0]
    return {(False, False): 5, (True, False): 6, (True, True): 7, (False, True): 8}[c < 0, b < 0]
