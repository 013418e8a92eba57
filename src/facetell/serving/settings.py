"""What a server does and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass

from facetell.media.limits import Limits
from facetell.pixels.opening import MAX_PIXELS

__all__ = ["ServeSettings"]


@dataclass(frozen=True)
class ServeSettings:
    """Limits of a server; each has an answer of its own where it is passed.

    ``workers``: processes that judge, None: one per core; ``request_bytes``: of a request with all its files (413);
    ``files``: in a request (422); ``pixels`` of a picture or frame and ``seconds`` of a video (422); ``queue``: files that
    wait (503); ``rate``: files a minute and key, 0: as many as come (429); ``work_seconds``: that a file may take a worker;
    ``idle_seconds``: without a byte, after which a client is given up (408); ``kept``: how many verdicts can be asked for
    again, for ``kept_seconds``; ``fetch_from``: hosts that files are fetched from where a client names an address,
    for ``fetching`` requests at once (503);
    ``grace_seconds``: in which what has begun may end when the server is told to.
    """

    workers: int | None = None
    request_bytes: int = 64 * 2**20
    files: int = 16
    pixels: int = MAX_PIXELS
    seconds: float = 600.0
    queue: int = 256
    rate: int = 0
    work_seconds: float = 300.0
    idle_seconds: float = 30.0
    kept: int = 10_000
    kept_seconds: float = 3600.0
    fetch_from: tuple[str, ...] = ()
    fetching: int = 16
    grace_seconds: int = 30

    @property
    def media(self) -> Limits:
        """Of videos."""
        return Limits(max_bytes=self.request_bytes, max_pixels=self.pixels, max_seconds=self.seconds)
