"""Face sets in repositories of the hub: what may be in one, and where one is that was fetched."""

from __future__ import annotations

import importlib
from pathlib import Path

from facetell.buckets import is_bucket, place
from facetell.errors import DataError, UsageError
from facetell.hub import Contents, fetched, reference_in

__all__ = ["FACESET_CONTENTS", "INFO_FILE", "SHARDS", "SKIPPED_FILE", "located_faceset"]

INFO_FILE = "faceset.json"
SKIPPED_FILE = "skipped.csv"
SHARDS = r"[a-z]+-[0-9]{5}\.parquet"
"""A pattern for the names of shards."""
_MOST = 2 * 10**12


def _check(folder: Path) -> None:
    # By name: a face set asks this module where it is.
    importlib.import_module("facetell.faceset.table").FaceSet.open(folder).verify()


FACESET_CONTENTS = Contents(
    "face set", "dataset", INFO_FILE, rf"faceset\.json|skipped\.csv|{SHARDS}", _MOST, _check, DataError
)


def located_faceset(path: str | Path) -> Path:
    """The folder of a face set: ``path`` itself, or where it is ``hf://owner/name[@revision]``, what was fetched.

    Raises ``HubError``, ``DataError`` for a repository that holds none, and ``UsageError`` for a bucket.
    """
    if is_bucket(path):
        raise UsageError(
            f"{place(path)}: a face set is read from a disk, not from a bucket",
            hint="copy it here first; of a folder of pictures there, make one: facetell prepare SOURCE -o FACESET",
        )
    reference = reference_in(path)
    return Path(path) if reference is None else fetched(reference, FACESET_CONTENTS)
