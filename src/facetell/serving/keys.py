"""Keys to a server: a file with a name, scopes and a hash for each. The key itself is shown once and kept nowhere.

A key has 256 random bits, so a plain SHA-256 of it is as safe as a slow hash is for a password.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from facetell.errors import DataError, UsageError
from facetell.files import locked, whole_file

__all__ = ["SCOPES", "Key", "KeyFile", "add_key", "read_keys", "remove_key"]

SCOPES = ("judge", "review", "admin")
"""What a key may do: have files judged; read and label what others had judged; reload detectors and read metrics."""

_PREFIX = "facetell_"
_LIMIT = 2**20


@dataclass(frozen=True)
class Key:
    """``name`` of who holds it, its ``scopes``, the SHA-256 (hex) of the key, when it was made (ISO 8601)."""

    name: str
    scopes: tuple[str, ...]
    sha256: str
    created: str


def read_keys(path: Path) -> list[Key]:
    """The keys of a file; none of one that is not there. Raises ``DataError`` for one that is no such file."""
    try:
        if path.stat().st_size > _LIMIT:
            raise ValueError
        told = json.loads(path.read_text("utf-8"))
        return [
            Key(_name(str(k["name"])), _scopes(k["scopes"]), str(k["sha256"]), str(k["created"])) for k in told["keys"]
        ]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"the keys in {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, UsageError):
        raise DataError(f"{path} is no file of keys", hint="make one: facetell keys keys.json --add NAME") from None


def add_key(path: Path, name: str, scopes: tuple[str, ...] = ("judge",)) -> str:
    """Add a key to a file, which only its owner may read; gives the key. Raises ``UsageError`` for a name that is taken."""
    name = _name(name)
    token = _PREFIX + secrets.token_urlsafe(32)
    key = Key(name, _scopes(scopes), _hash(token), datetime.now(UTC).isoformat(timespec="seconds"))
    with locked(path):
        keys = read_keys(path)
        if any(other.name == name for other in keys):
            raise UsageError(
                f"there is a key of '{name}' in {path} already", hint="remove it first, or give another name"
            )
        _write(path, [*keys, key])
    return token


def remove_key(path: Path, name: str) -> None:
    """Take a key out of a file. Raises ``UsageError`` where there is none of that name."""
    with locked(path):
        keys = read_keys(path)
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            names = ", ".join(key.name for key in keys) or "none"
            raise UsageError(f"there is no key of '{name}' in {path}", hint=f"there are: {names}")
        _write(path, left)


class KeyFile:
    """Knows who holds a key; a file that changes is read again, so that a key that was taken out is refused at once.

    Raises ``UsageError`` for one without a key, and ``DataError`` as `read_keys`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._keys: dict[str, Key] = {}
        self._read()
        if not self._keys:
            raise UsageError(f"there is no key in {path}", hint=f"make one: facetell keys {path} --add NAME")

    def holder(self, token: str) -> Key | None:
        """Whose key that is. Raises ``DataError`` where the file is damaged."""
        self._read()
        return self._keys.get(_hash(token))

    def _read(self) -> None:
        try:
            status = self._path.stat()
            stamp = status.st_mtime_ns, status.st_ino
        except OSError:
            stamp = None
        if stamp is None or stamp != self._stamp:
            self._keys = {key.sha256: key for key in read_keys(self._path)}
            self._stamp = stamp


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _name(name: str) -> str:
    """The name, which a store can hold and a log can show. Raises ``UsageError`` for another one."""
    if not name or not name.isprintable() or len(name) > 100:
        raise UsageError("the name of a key has 1 to 100 printable characters", hint="give another name")
    return name


def _scopes(scopes: Any) -> tuple[str, ...]:
    given = tuple(dict.fromkeys(scopes))
    unknown = [scope for scope in given if scope not in SCOPES]
    if unknown or not given:
        raise UsageError(f"unknown scope '{unknown[0] if unknown else ''}'", hint=f"scopes are {', '.join(SCOPES)}")
    return given


def _write(path: Path, keys: list[Key]) -> None:
    told = {"keys": [{**key.__dict__, "scopes": list(key.scopes)} for key in keys]}
    with whole_file(path, hint="give another file") as fresh:
        fresh.touch(0o600)
        fresh.write_text(json.dumps(told, indent=2) + "\n", "utf-8")
