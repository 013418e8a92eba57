"""Who may do what: the key of a request, its scope, and how many files a minute it may bring."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from starlette.requests import Request

from facetell.errors import DataError
from facetell.serving.keys import SCOPES, Key, KeyFile
from facetell.serving.problems import Problem

__all__ = ["Access", "Bucket", "is_loopback"]

log = logging.getLogger("facetell.serve")

_EVERYONE = Key("everyone", SCOPES, "", "")
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_HOLDERS = 10_000


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    return host in ("localhost", "::1") or host.startswith("127.")


class Bucket:
    """Allows ``rate`` a minute, and as many at once; 0: as many as come."""

    def __init__(self, rate: int) -> None:
        self._rate, self._left, self._last = rate, float(rate), time.monotonic()

    def take(self, count: int) -> float:
        """Take ``count``; seconds to wait where there are not as many, 0 where they were taken."""
        if not self._rate:
            return 0.0
        now = time.monotonic()
        self._left = min(float(self._rate), self._left + (now - self._last) * self._rate / 60)
        self._last = now
        if self._left < count:
            return (count - self._left) * 60 / self._rate
        self._left -= count
        return 0.0


class Access:
    """Asks for a key, where a file of them is given. Without one the server is on loopback, and only programs and pages of
    this machine may talk to it: a page of another site has another ``Origin``, or another name in ``Host``."""

    def __init__(self, keys: Path | None, rate: int) -> None:
        self.needs_key = keys is not None
        self._keys = KeyFile(keys) if keys is not None else None
        self._rate = rate
        self._buckets: dict[str, Bucket] = {}

    def check(self, request: Request, scope: str) -> Key:
        """The key of a request. Raises ``Problem``: 401, or 403 where it lacks the scope."""
        if self._keys is None:
            self._check_local(request)
            return _EVERYONE
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            key = self._keys.holder(token.strip()) if kind.lower() == "bearer" else None
        except DataError as error:  # damaged while the server runs
            log.error("the keys cannot be read, and nobody is let in", extra={"said": {"why": error.message}})
            raise Problem(
                503, "the keys of this server cannot be read", "send it again in a minute", retry=60
            ) from None
        if key is None:
            said = "this server does not know the key" if token else "this server asks for a key"
            raise Problem(401, said, "send the header 'Authorization: Bearer KEY'")
        if scope not in key.scopes:
            raise Problem(403, f"this key may not {scope}", f"ask for one with the scope {scope}")
        return key

    def _check_local(self, request: Request) -> None:
        host = request.headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        origin = request.headers.get("origin")
        if name not in _LOCAL or (origin is not None and origin.partition("://")[2] != host):
            raise Problem(403, "without keys this server answers this machine alone", "start it with --keys keys.json")

    def take(self, key: Key, count: int) -> None:
        """Count files that a key brings. Raises ``Problem``: 429."""
        if len(self._buckets) > _HOLDERS:
            self._buckets.clear()
        bucket = self._buckets.setdefault(key.sha256, Bucket(self._rate))
        wait = bucket.take(count)
        if wait:
            raise Problem(
                429, f"more than {self._rate} files a minute with this key", f"send it again in {wait:.0f} s or later",
                retry=max(1, round(wait)),
            )  # fmt: skip
