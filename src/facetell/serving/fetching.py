"""Files from addresses that clients name: from hosts that the operator allows, and never from within the network.

A name is looked up once, and the connection goes to what was found: between a check and a connection it could change.
Redirects are not followed, for they lead elsewhere.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpcore

from facetell.serving.problems import Problem

__all__ = ["Fetcher", "is_outside"]

_SECONDS = 10.0
"""To connect, and between two parts of an answer."""
_IN_ALL = 60.0
"""For all files of a request together, however slowly they come: it holds a thread."""
_PORTS = {"http": 80, "https": 443}
_SEND = "send the file itself"
_NAT64 = IPv6Network("64:ff9b::/96")
_UNICAST = IPv6Network("2000::/3")
"""All of IPv6 that IANA has given out for the public internet; what lies elsewhere is local, reserved, or another's name."""


class _InsideError(Exception):
    """An address that must not be asked."""


class _LateError(Exception):
    """It took too long in all."""


class Fetcher:
    """Fetches the files of one request from ``hosts``, names or patterns such as ``*.example.org``, of ``most`` bytes each."""

    def __init__(self, hosts: tuple[str, ...], most: int) -> None:
        self._hosts, self._most = tuple(host.lower() for host in hosts), most
        self._outside = _Outside(time.monotonic() + _IN_ALL)

    def fetch(self, url: str, path: Path) -> None:
        """Write what an address gives to ``path``. Raises ``Problem``: 413 too large, 422 for all else."""
        host = self._allowed(url)
        try:
            with httpcore.ConnectionPool(network_backend=self._outside) as pool:
                timeouts = dict.fromkeys(("connect", "read", "write", "pool"), _SECONDS)
                with pool.stream("GET", url, extensions={"timeout": timeouts}) as answer:
                    if answer.status != 200:
                        raise Problem(422, f"{host} answers with status {answer.status}", _SEND)
                    self._write(answer.iter_stream(), path)
        except _InsideError:
            raise self._refused() from None
        except _LateError:
            raise Problem(
                422, f"{host} did not give the file within {_IN_ALL:.0f} s", f"send fewer addresses, or {_SEND}"
            ) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError, UnicodeError):
            raise Problem(422, f"{host} does not give the file", f"check the address, or {_SEND}") from None

    def _allowed(self, url: str) -> str:
        """The host of an address. Raises ``Problem`` unless it may be asked."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise Problem(422, "an address cannot be read", "https://host/path") from None
        default = _PORTS.get(parts.scheme)
        if default is None or not url.isascii() or not url.isprintable() or parts.username is not None or not host:
            raise Problem(422, "an address is not one of http or https, in ASCII and without a password", _SEND)
        if port not in (None, default) or not any(fnmatchcase(host, allowed) for allowed in self._hosts):
            raise self._refused()
        return host

    def _refused(self) -> Problem:
        said = f"this server fetches from: {', '.join(self._hosts)}" if self._hosts else "this server fetches no files"
        return Problem(422, "this address is not allowed", f"{_SEND}; {said}")

    def _write(self, parts: Iterable[bytes], path: Path) -> None:
        size = 0
        with path.open("xb") as file:
            for part in parts:
                size += len(part)
                if size > self._most:
                    raise Problem(413, f"the file has more than {self._most:,} bytes, the limit", "send a smaller one")
                file.write(part)


class _Outside(httpcore.NetworkBackend):
    """Connects to addresses of the public internet alone, until ``end`` (of ``time.monotonic``)."""

    def __init__(self, end: float) -> None:
        self._plain, self._end = httpcore.SyncBackend(), end

    def connect_tcp(self, host: str, port: int, *more: Any, **options: Any) -> httpcore.NetworkStream:
        if time.monotonic() > self._end:
            raise _LateError
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(each[4][0]) for each in found]
        if not all(map(is_outside, addresses)):
            raise _InsideError
        return _Ending(self._plain.connect_tcp(addresses[0], port, *more, **options), self._end)


class _Ending(httpcore.NetworkStream):
    """A connection that is read until ``end``: by the time between two parts alone, a byte every nine seconds could go on for
    ever."""

    def __init__(self, stream: httpcore.NetworkStream, end: float) -> None:
        self._stream, self._end = stream, end

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What came. Raises ``_LateError``."""
        if time.monotonic() > self._end:
            raise _LateError
        return self._stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send."""
        self._stream.write(buffer, timeout)

    def start_tls(self, *how: Any, **options: Any) -> httpcore.NetworkStream:
        """The same with TLS."""
        return _Ending(self._stream.start_tls(*how, **options), self._end)

    def get_extra_info(self, info: str) -> Any:
        """As of the connection."""
        return self._stream.get_extra_info(info)

    def close(self) -> None:
        """End it."""
        self._stream.close()


def is_outside(address: str) -> bool:
    """Whether an IP address is of the public internet, also where it holds another one (mapped, 6to4, Teredo, NAT64)."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        public = ip.ipv4_mapped is not None or ip in _NAT64 or (ip in _UNICAST and ip.is_global)
        return public and not ip.is_multicast and all(is_outside(str(each)) for each in _held(ip))
    return ip.is_global and not ip.is_multicast


def _held(ip: IPv6Address) -> list[IPv4Address]:
    """The addresses that traffic to this one may go to instead."""
    translated = IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
    return [each for each in (ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ()), translated) if each is not None]
