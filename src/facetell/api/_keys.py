"""``keys``: who may talk to a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facetell.errors import UsageError
from facetell.results import KeysResult
from facetell.serving.keys import add_key, read_keys, remove_key

__all__ = ["keys"]


def keys(
    path: str | Path, *, add: str | None = None, scopes: Sequence[str] = ("judge",), remove: str | None = None
) -> KeysResult:
    """List the keys in a file for ``facetell serve --keys``, after one was added or removed. A running server reads them anew.

    Args:
        path: the file, made with the first key. It holds hashes: a key itself is in the result of the call that made it, and
            nowhere else.
        add: name of who is to have a new key.
        scopes: of the new key: ``judge``, ``review``, ``admin``.
        remove: name whose key is taken away.

    Raises:
        UsageError: a name that is taken or missing, an unknown scope, or both add and remove.
        DataError: no file of keys, or it cannot be written.
    """
    path = Path(path)
    if add is not None and remove is not None:
        raise UsageError("a key is added or removed, not both", hint="call it twice")
    key = add_key(path, add, tuple(scopes)) if add is not None else None
    if remove is not None:
        remove_key(path, remove)
    held = [{"name": one.name, "scopes": list(one.scopes), "created": one.created} for one in read_keys(path)]
    return KeysResult(path=path, key=key, keys=held)
