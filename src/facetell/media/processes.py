"""Processes of our own, started the same way whatever the caller is: a script without a main guard, a notebook, standard
input, a thread, a daemon, a worker of another pool.

A server, begun once for each process that needs one, imports what they need and forks them. It begins as a fresh Python:
nothing of the caller's script runs again and no lock of its threads is copied, which a plain fork would do. Where the process
is the command's own, has one thread, and no library with threads or connections of its own, it begins as a copy: a fresh
Python would import all again, which takes as long as judging a photo. It needs no shared memory, no named socket and no
temporary file. Where the caller ends, however that is, the server ends them all.
Windows has no such copies of a process: there `NoProcessError` says so.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.spawn import get_executable
from pathlib import Path
from typing import Any

from facetell.errors import FacetellError
from facetell.own_process import is_ours

__all__ = ["NoProcessError", "Process", "start_process"]

_OPEN = "/proc/self/fd"
_PATIENCE = 300.0
"""Seconds for imports on a busy machine; beyond them, a server that says nothing is taken for dead."""
_CHANNEL = 3
_BUSY = ("asyncio", "av", "onnxruntime", "pyarrow", "torch")
"""Libraries that may have begun threads, which a copy of the process would lack, or opened connections, which it would hold."""
_GONE = (EOFError, OSError)


class NoProcessError(FacetellError):
    """No process can be started here."""

    def __init__(self, why: object) -> None:
        super().__init__(f"worker processes cannot be started: {why}")


@dataclass(frozen=True, eq=False)
class Process:
    """A process and the ``connection`` to it, which it has as well."""

    server: _Server
    pid: int
    connection: Connection

    def end(self) -> int:
        """Kill it, if it is not over; its exit code, below 0 for a signal."""
        return self._over("end")

    def wait(self) -> int:
        """Its exit code once it is over."""
        return self._over("wait")

    def _over(self, how: str) -> int:
        try:
            with _Keeper.lock:
                return int(self.server.ask((how, self.pid)))
        except NoProcessError:
            return -signal.SIGKILL  # as the server did it


def start_process(function: Callable[..., None], *arguments: Any, preload: tuple[str, ...] = ()) -> Process:
    """Have ``function(connection, *arguments)`` done in a new process, with the caller's folder and environment.

    Both must be picklable. ``preload``: modules it shall find imported: that is done once, for those that come after it
    too.

    Raises:
        NoProcessError: the system gives none, or no fresh Python begins.
    """
    try:
        order = "start", preload, os.getcwd(), dict(os.environ)  # noqa: PTH109
        ours, theirs = socket.socketpair()
    except OSError as error:
        raise NoProcessError(error.strerror) from None
    with ours, theirs:
        with _Keeper.lock:
            server = _Keeper.server()
            answer = server.ask(order, theirs)
        if isinstance(answer, OSError):
            raise NoProcessError(answer.strerror)
        process = Process(server, answer, Connection(ours.detach()))
    with contextlib.suppress(OSError):  # it is gone already: whoever listens to it will see
        process.connection.send((function, arguments))
    return process


class _Server:
    """The caller's end of a server."""

    def __init__(self) -> None:
        if not hasattr(os, "fork"):
            raise NoProcessError("this system does not copy processes")
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                self.pid = _copy(theirs.fileno()) if _may_be_copied() else _begin(theirs.fileno())
        except OSError as error:
            raise NoProcessError(error.strerror or error) from None
        self.socket, self.connection = ours, Connection(os.dup(ours.fileno()))

    def ask(self, order: tuple[Any, ...], handed: socket.socket | None = None) -> Any:
        """What it answers to an order. One that was left alone before it has answered is of no more use."""
        try:
            self.connection.send(order)
            if handed is not None:
                socket.send_fds(self.socket, [b"."], [handed.fileno()])
            if not self.connection.poll(_PATIENCE):
                raise EOFError
            return self.connection.recv()
        except _GONE:
            self.close()
            raise NoProcessError("the one that starts them has ended") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it, and all that it started."""
        if not self.connection.closed:
            self.forget()
            with contextlib.suppress(OSError):
                os.waitpid(self.pid, 0)

    def forget(self) -> None:
        """Let go of it."""
        self.connection.close()
        self.socket.close()


class _Keeper:
    """Keeps the one server of this process."""

    lock = threading.Lock()
    kept: _Server | None = None

    @classmethod
    def server(cls) -> _Server:
        if cls.kept is None or cls.kept.connection.closed:
            cls.kept = _Server()
        return cls.kept

    @classmethod
    def close(cls) -> None:
        if cls.kept is not None:
            cls.kept.close()

    @classmethod
    def forked(cls) -> None:
        """In a child of this process: the server is its parent's."""
        cls.lock = threading.Lock()
        if cls.kept is not None and not cls.kept.connection.closed:
            cls.kept.forget()
        cls.kept = None


atexit.register(_Keeper.close)
if hasattr(os, "fork"):
    os.register_at_fork(after_in_child=_Keeper.forked)


def _may_be_copied() -> bool:
    busy = threading.active_count() > 1 or any(name in sys.modules for name in _BUSY)
    return is_ours() and not busy and sys.platform == "linux" and Path(_OPEN).is_dir()


def _copy(channel: int) -> int:
    """As `_begin`, by a copy of this process, which has no other files open than a fresh one would."""
    for stream in (sys.stdout, sys.stderr):  # what is in them is said once
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid
    try:
        os.dup2(channel, _CHANNEL)
        os.closerange(_CHANNEL + 1, 1 + max(int(name) for name in os.listdir(_OPEN)))  # noqa: PTH208  names alone
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        logger = logging.getLogger("facetell")  # its lines belong among the bars of the command, which this is not
        logger.handlers, logger.level = [], logging.NOTSET
        serve(_CHANNEL)
    finally:
        os._exit(1)


def _begin(channel: int) -> int:
    """Start a Python that serves the socket with that descriptor; its process id.

    Ctrl-C, which a terminal sends to every process, is for the caller alone: it is blocked from the first moment on.
    """
    code = f"import sys; sys.path[:] = {sys.path!r}; from facetell.media.processes import serve; serve({_CHANNEL})"
    files = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, channel, _CHANNEL)]
    python = os.fsdecode(get_executable() or b"")
    return os.posix_spawn(python, [python, "-c", code], os.environ, file_actions=files, setsigmask=[signal.SIGINT])


def serve(channel: int) -> None:
    """In the server: start and end processes, as the socket with the descriptor ``channel`` says, until it is closed."""
    control = socket.socket(fileno=channel)
    line = Connection(os.dup(channel))
    children: set[int] = set()
    while True:
        try:
            order, *details = line.recv()
            if order == "start":
                line.send(_fork(control, line, children, *details))
            else:
                line.send(_end(details[0], children, kill=order == "end"))
        except _GONE:
            for child in list(children):
                _end(child, children, kill=True)
            os._exit(0)


def _fork(
    control: socket.socket,
    line: Connection,
    children: set[int],
    preload: tuple[str, ...],
    folder: str,
    environment: Any,
) -> int | OSError:
    (handed,) = socket.recv_fds(control, 1, 1)[1]
    os.environ.clear()
    os.environ.update(environment)
    for name in preload:
        with contextlib.suppress(ImportError):  # said where it is needed
            importlib.import_module(name)
    try:
        os.chdir(folder)
        pid = os.fork()
    except OSError as error:
        os.close(handed)
        return error
    if not pid:
        control.close()
        line.close()
        _work(Connection(handed))
    os.close(handed)
    children.add(pid)
    return pid


def _work(connection: Connection) -> None:
    """In a process: what it was started for, and its end."""
    code = 1
    try:
        function, arguments = connection.recv()
        function(connection, *arguments)
        code = 0
    except (EOFError, ConnectionError):
        pass  # the caller is gone
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _end(pid: int, children: set[int], *, kill: bool) -> int:
    if pid not in children:
        return 0
    if kill:
        os.kill(pid, signal.SIGKILL)
    children.discard(pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
