"""Opens a store: a file of SQLite in WAL mode, or a database of PostgreSQL."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
)

from facetell.errors import DataError, MissingExtraError, UsageError
from facetell.store.tables import ABOUT, TABLES, TRAIL, VERSION

__all__ = ["Store", "StoreError", "now", "record", "user"]

PATIENCE = 10
"""Seconds that a writer of SQLite waits for another, and that PostgreSQL may take to answer."""
_MAKING = 0x66616365
"""The advisory lock of PostgreSQL under which tables are made."""
_OTHER = "give another --store"
_BACK = "put it back, or start the server anew"
_ROOM = "see that the file can be written and the disk has room"
_RUNS = "see that PostgreSQL runs there, and that user, password and database are right"


class StoreError(DataError):
    """A store that cannot be reached, is full, or is no store. ``again``: it may be there at the next try."""

    def __init__(self, message: str, *, hint: str | None = None, again: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.again = again


class Store:
    """The store at ``place``, made where nothing is: a path, or ``postgresql://USER@HOST/DATABASE``.

    Raises:
        UsageError: an address of another kind.
        StoreError: it cannot be reached, is no store, or was written by a later version.
    """

    def __init__(self, place: str | Path, *, make: bool = True) -> None:
        url = _url(str(place))
        self._file = Path(str(url.database)) if url.drivername == "sqlite" else None
        self.name = str(place) if self._file else url.set(drivername="postgresql").render_as_string(hide_password=True)
        self._node: tuple[int, int] | None = None
        self._engine = self._connected(url, make)
        self._writer = self._engine.execution_options(facetell_begin="BEGIN IMMEDIATE")
        try:
            with self.writing() as done:
                self._made(done, make)
            self._node = self._found()
        except BaseException:
            self.close()
            raise

    def _connected(self, url: URL, make: bool) -> Engine:
        if self._file is None:
            options = {"connect_timeout": PATIENCE, "application_name": "facetell"}
            return sql.create_engine(url, pool_pre_ping=True, connect_args=options)
        self._checked(self._file, make)
        engine = sql.create_engine(url, connect_args={"timeout": PATIENCE})
        sql.event.listen(engine, "connect", _prepared)
        sql.event.listen(engine, "begin", _begun)
        return engine

    def _checked(self, path: Path, make: bool) -> None:
        """See that a file is a store or may become one, before anything in it is changed. Raises ``StoreError``."""
        none = StoreError(
            f"there is no store at {self.name}", hint=f"facetell serve --store {shlex.quote(self.name)} makes one"
        )
        if not make and not path.exists():
            raise none
        if path.is_dir():
            raise StoreError(f"{self.name} is a folder, and a store is a file", hint=_OTHER)
        try:
            if make:
                path.touch(0o600)
            with contextlib.closing(sqlite3.connect(path, timeout=PATIENCE)) as asked:
                there = {name for (name,) in asked.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except OSError as error:
            raise StoreError(f"the store {self.name} cannot be opened: {error.strerror}", hint=_OTHER) from None
        except sqlite3.Error as error:
            raise StoreError(f"the store {self.name} cannot be used: {error}", hint=_OTHER) from None
        if there and ABOUT.name not in there:
            raise StoreError(f"{self.name} is a database of something else", hint=_OTHER)
        if not there and not make:
            raise none

    def _found(self) -> tuple[int, int] | None:
        """Which file lies at the path; None: none, or a database of PostgreSQL."""
        if self._file is None:
            return None
        try:
            node = self._file.stat()
        except OSError:
            return None
        return node.st_dev, node.st_ino

    def _made(self, done: Connection, make: bool) -> None:
        """The tables, if they are not there yet. Raises ``StoreError`` for those of a later version."""
        if self._file is None:
            done.execute(sql.select(sql.func.pg_advisory_xact_lock(_MAKING)))
        there = sql.inspect(done).get_table_names()
        if ABOUT.name in there:
            version = done.execute(sql.select(ABOUT.c.value).where(ABOUT.c.name == "version")).scalar()
            if version != str(VERSION):
                raise StoreError(
                    f"the store {self.name} is of version {version}, and this facetell knows version {VERSION}",
                    hint="use the facetell that made it, or a later one, or give another --store",
                )
            return
        if not make:
            raise StoreError(
                f"there is no store in {self.name}", hint=f"facetell serve --store {shlex.quote(self.name)} makes one"
            )
        TABLES.create_all(done)
        done.execute(ABOUT.insert().values(name="version", value=str(VERSION)))

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to ask by. Raises ``StoreError``."""
        with self._told(), self._engine.connect() as asked:
            yield asked

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: all that is written in it, or nothing; on the disk when the block has ended. Raises ``StoreError``."""
        if self._node is not None and self._node != self._found():  # SQLite would write into what nobody finds again
            raise StoreError(f"the file of the store {self.name} was moved or deleted", hint=_BACK, again=True)
        with self._told(), self._writer.begin() as done:
            yield done

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            said = str(error.orig).strip().splitlines()
            why = said[0] if said else type(error.orig).__name__
            again = isinstance(error, (OperationalError, InterfaceError, InternalError))
            hint = _RUNS if self._file is None else _ROOM
            raise StoreError(f"the store {self.name} cannot be used: {why}", hint=hint, again=again) from None
        except SQLAlchemyError as error:  # no free connection in time
            raise StoreError(f"the store {self.name} cannot be used: {error}", hint="try again", again=True) from None

    def scrub(self) -> None:
        """Have nothing left in the log of SQLite of what was removed; where somebody is just reading, the next time."""
        if self._file is None:
            return
        alone = self._engine.execution_options(facetell_begin=None)  # no log is emptied within a transaction
        with self._told(), alone.connect() as asked:
            for pragma in ("busy_timeout=100", "wal_checkpoint(TRUNCATE)", f"busy_timeout={1000 * PATIENCE}"):
                asked.exec_driver_sql(f"PRAGMA {pragma}")

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()


def now(done: Connection) -> float:
    """Seconds since 1970, by the one clock that all servers on a store share: those of several machines differ."""
    if done.dialect.name == "sqlite":
        return time.time()
    return float(done.execute(sql.select(sql.func.extract("epoch", sql.func.clock_timestamp()))).scalar_one())


def record(done: Connection, who: str, what: str, about: str) -> None:
    """Write into the trail who did what to what, within a transaction."""
    done.execute(TRAIL.insert().values(at=now(done), who=who, what=what, about=about))


def user() -> str:
    """Who runs a command, for the trail."""
    try:
        return f"{getpass.getuser()} (command)"
    except (KeyError, OSError):  # a container's number without a name
        return f"user {os.getuid()} (command)"


def _url(place: str) -> URL:
    scheme, separator, _ = place.partition("://")
    if not place:
        raise UsageError("the name of the store is empty", hint="give a path or postgresql://USER@HOST/DATABASE")
    if "\0" in place:
        raise UsageError("the name of the store holds a NUL character", hint="give another name")
    if not separator:  # a full path: SQLite keeps ``:memory:`` nowhere
        return URL.create("sqlite", database=str(Path(place).absolute()))
    if scheme not in ("postgresql", "postgres"):
        raise UsageError(f"a store is a path or postgresql://…, and not {scheme}://…", hint="give a path")
    try:
        place.encode()  # what a shell hands over may be no text
        url = make_url(place).set(drivername="postgresql+psycopg")
        url.get_dialect().import_dbapi()
    except (ArgumentError, ValueError):
        raise UsageError("the address of the store cannot be read", hint="postgresql://USER@HOST/DATABASE") from None
    except ImportError:
        raise MissingExtraError("a store in PostgreSQL", "serve") from None
    return url


def _prepared(connection: sqlite3.Connection, _: Any) -> None:
    """Of each connection to SQLite: readers and a writer beside each other, a commit on the disk, keys that hold, and nothing
    left in the file of what was deleted."""
    connection.isolation_level = None  # transactions are begun by `_begun`, not by the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begun(connection: Connection) -> None:
    """A transaction that will write waits for its turn at once; one that began to read could not change its mind."""
    how = connection.get_execution_options().get("facetell_begin", "BEGIN")
    if how is not None:
        connection.exec_driver_sql(how)
