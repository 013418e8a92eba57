"""What one video may cost. Pictures have their own two limits, in `facetell.pixels.opening`."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from facetell.errors import MediaError

__all__ = ["Limits", "file_size", "read_bytes"]


@dataclass(frozen=True)
class Limits:
    """Upper bounds for one video; beyond one of them it is refused, before memory is taken for it.

    A video is streamed, so bytes and seconds cost time but no memory; pixels cost memory. The defaults let a feature
    film pass (two hours, 4K, 60 frames a second) and stop what no camera makes.
    """

    max_bytes: int = 64 * 2**30
    """Size of the file, in bytes. Two hours as a camera records 4K (60 Mbit/s) are 50 GiB."""
    max_pixels: int = 50_000_000
    """Width times height of a frame, in pixels. 8K has 33 million; a decoder holds up to some 20 frames of 1.5 bytes
    a pixel, and each one handed out has 3 bytes a pixel."""
    max_seconds: float = 4 * 3600.0
    """Length of the video, in seconds."""
    max_frames: int = 1_000_000
    """Frames in the video: four hours at 60 a second are 864,000."""
    decode_seconds: float = 3600.0
    """Time spent reading and decoding one file, in seconds; what the caller does with the frames does not count. Two
    hours of 1080p take about 12 minutes on one slow core."""


def file_size(path: Path) -> int:
    """Size in bytes of a regular file that has any.

    Raises:
        MediaError: ``missing``, ``empty``, ``no_access``, ``unreadable`` (no name of a file) or ``unsupported`` (a folder, or a
            pipe or device, which could be waited on for ever).
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise MediaError("no such file", reason="missing") from None
    except OSError as error:
        raise no_access(error) from None
    except ValueError as error:  # a name with a NUL
        raise MediaError(f"cannot be read: {error}") from None
    if not stat.S_ISREG(status.st_mode):
        raise MediaError("not a regular file", reason="unsupported")
    if status.st_size == 0:
        raise MediaError("the file is empty (0 bytes)", reason="empty")
    return status.st_size


def read_bytes(path: Path, limit: int) -> bytes:
    """The bytes of a regular file that has any, and at most ``limit``.

    Raises:
        MediaError: as `file_size`, and ``too_large``.
    """
    if file_size(path) > limit:
        raise MediaError(f"the file has more than {limit:,} bytes, the limit", reason="too_large")
    try:
        return path.read_bytes()
    except OSError as error:
        raise no_access(error) from None


def no_access(error: OSError) -> MediaError:
    """What the system said when it gave no bytes, which is no fault of the file."""
    return MediaError(f"cannot be read: {error.strerror}", reason="no_access")
