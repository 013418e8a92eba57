"""Runs the service: its socket, its signals, its log."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import shutil
import signal
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from filelock import FileLock, Timeout
from uvicorn.protocols.http.h11_impl import H11Protocol

from facetell.detector.many import Judging
from facetell.errors import DataError, FacetellError, UsageError
from facetell.serving.access import Access, is_loopback
from facetell.serving.app import service
from facetell.serving.engine import Engine
from facetell.serving.settings import ServeSettings

__all__ = ["run"]

log = logging.getLogger("facetell.serve")

_HEADER_BYTES = 16_384
_CONNECTIONS = 1000
_FOLDER, _LOCK = "facetell-serve-", "lock"


def run(
    how: Judging,
    settings: ServeSettings,
    *,
    host: str,
    port: int,
    keys: Path | None,
    certificate: Path | None = None,
    private_key: Path | None = None,
    store: str | None = None,
    keep_crops: float | None = None,
    keep_verdicts: float | None = None,
) -> None:
    """Serve until a signal ends it: SIGTERM or Ctrl-C after what has begun; SIGHUP reloads the detector.

    Raises:
        UsageError: no keys, and an address that others reach; or half of a certificate; or what is to be kept without a store,
            or crops for longer than their verdicts.
        FacetellError: the detector cannot judge, the address cannot be had, or the store cannot be used.
    """
    if keys is None and not is_loopback(host):
        raise UsageError(
            f"others reach {host}, and no keys are asked for",
            hint="facetell keys keys.json --add NAME; then --keys keys.json",
        )
    if (certificate is None) != (private_key is None):
        raise UsageError("TLS needs a certificate and its private key", hint="give --certificate and --private-key")
    if store is None and (keep_crops, keep_verdicts) != (None, None):
        raise UsageError("crops and verdicts are kept in a store", hint="give --store PATH as well")
    if keep_verdicts is not None and keep_crops is not None and keep_verdicts < keep_crops:
        raise UsageError(
            f"verdicts are kept for {keep_verdicts:g} days, and the crops of their faces for {keep_crops:g}",
            hint=f"--keep-verdicts {keep_crops:g} or more, or fewer days for --keep-crops",
        )
    kept = None
    if store is not None:
        from facetell.store.store import Store

        kept = Store(store)
    access, line = Access(keys, settings.rate), _bound(host, port)
    try:
        _clear_left()
        folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
    except OSError as error:
        line.close()
        raise DataError(
            f"no folder for what clients send: {error.strerror}", hint="set TMPDIR to a folder that can be written"
        ) from None
    held = FileLock(folder / _LOCK)
    held.acquire()
    try:
        with _ended_well():
            config = _config(settings, host, certificate, private_key)
            engine = Engine(how, settings, folder)
            server, recorder, follower = _Server(config, engine), None, None
            try:
                if kept is not None:
                    from facetell.serving.follower import Follower
                    from facetell.serving.recorder import Recorder

                    recorder, follower = Recorder(kept, keep_crops, keep_verdicts), Follower(kept, engine, folder)
                uploads = folder / "uploads"
                uploads.mkdir()
                config.app = service(engine, access, settings, uploads, recorder)
                server.run(sockets=[line])
            finally:
                if follower is not None:
                    follower.close()
                engine.close(server.left)
                if recorder is not None:
                    recorder.close(settings.grace_seconds)
    finally:
        line.close()
        held.release()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _ended_well() -> Iterator[None]:
    """SIGTERM, which ends a process where it stands, ends the block as an exit does, and a second one changes nothing. While
    uvicorn runs it is uvicorn's; that finishes what has begun, and then raises it again."""

    def leave(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(0)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _clear_left() -> None:
    """Away with what servers left that were killed: their locks ended with them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        if folder.is_symlink() or not (folder / _LOCK).exists():  # another's, or one that is just being made
            continue
        with contextlib.suppress(Timeout, OSError), FileLock(folder / _LOCK, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)


def _bound(host: str, port: int) -> socket.socket:
    """The address, taken before a detector is loaded for it. Raises ``FacetellError``."""
    line: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        line = socket.socket(family, kind, protocol)  # without it asyncio leaves Nagle's algorithm on: 40 ms an answer
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        line.bind(address)
    except OSError as error:
        if line is not None:
            line.close()
        taken = "another program may have it: give another --port"
        other = "--host is an address of this machine, and a --port below 1024 may need more rights"
        hint = taken if error.errno == errno.EADDRINUSE else other
        raise FacetellError(f"{host}:{port} cannot be had: {error.strerror}", hint=hint) from None
    return line


def _config(settings: ServeSettings, host: str, certificate: Path | None, private_key: Path | None) -> uvicorn.Config:
    config = uvicorn.Config(
        "none",  # once the detector is loaded
        host=host,
        http=_protocol(settings.idle_seconds),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=settings.grace_seconds,
        ssl_certfile=certificate,
        ssl_keyfile=private_key,
    )
    _log_as_json()
    if certificate is not None and private_key is not None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, private_key)
        except (OSError, ssl.SSLError) as error:
            raise DataError(f"the certificate cannot be used: {error}", hint="give PEM files") from None
    return config


class _Server(uvicorn.Server):
    """Reloads on SIGHUP, and says where it listens."""

    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self._engine, self._ends = engine, 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Told to end: from the first time on there is so much time for what has begun."""
        self._ends = self._ends or time.monotonic() + (self.config.timeout_graceful_shutdown or 0)
        super().handle_exit(sig, frame)

    @property
    def left(self) -> float:
        """Of that time, in seconds; none once somebody has pressed Ctrl-C twice."""
        return 0.0 if self.force_exit else max(0.0, self._ends - time.monotonic())

    async def startup(self, sockets: Any = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        port = sockets[0].getsockname()[1]
        scheme = "https" if self.config.is_ssl else "http"
        said = {"address": f"{scheme}://{self.config.host}:{port}", "detector": self._engine.current.identity}
        log.info("listening", extra={"said": said})

    def _reload(self) -> None:
        asyncio.get_running_loop().run_in_executor(None, self._reloaded)

    def _reloaded(self) -> None:
        try:
            self._engine.reload()
        except FacetellError as error:
            log.error("the old detector goes on: %s", error.message)
        except Exception:
            log.exception("the old detector goes on")


def _protocol(seconds: float) -> type[H11Protocol]:
    """HTTP, where a client that does not come to the end of its headers is given up."""

    class Protocol(H11Protocol):
        waits: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.look()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.look()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self.waits is not None:
                self.waits.cancel()

        def look(self) -> None:
            """A request has so long from its first byte to the end of its headers, the first one from the connection on."""
            begun = self.cycle is not None and not self.cycle.response_complete
            if begun and self.waits is not None:
                self.waits.cancel()
                self.waits = None
            elif not begun and self.waits is None:
                self.waits = self.loop.call_later(seconds, self.transport.close)

    return Protocol


class _Line(logging.Formatter):
    """One JSON object: when, how bad, what, and what was said of it. Never contents of files or names of them."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(), "message": record.getMessage(), **getattr(record, "said", {}),
        }  # fmt: skip
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _log_as_json() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Line())
    for name in ("facetell", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO if name == "facetell" else logging.WARNING)
