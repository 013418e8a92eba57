"""A repository as a folder here: looked at, fetched, checked whole, and kept in the cache of the hub's library."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from facetell.errors import DataError, HubError
from facetell.files import check_space, whole_file
from facetell.hub.client import UnreachableError, answered, client
from facetell.hub.contents import Contents
from facetell.hub.reference import Reference, is_commit

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["fetched", "is_fetched"]

log = logging.getLogger("facetell")

_NEWEST = "main"
_COMMITS = "snapshots"
_SECONDS = 10
"""For an answer, after which the hub counts as out of reach."""
_LARGE_FILES = ".gitattributes"
"""The hub's own list, which no folder needs."""
_CHECKED = "facetell"
"""The folder, beside the hub's own, with a link to each revision that was checked: ``name@commit``, as a name that is seen."""


def fetched(reference: Reference, contents: Contents) -> Path:
    """The folder of a repository, which was checked whole and is not to be changed. A commit that is here is not asked for.

    Where the hub does not answer, a branch is what it was when it last did, which is said.

    Raises:
        HubError: there is no such repository or revision, or no connection and nothing in the cache.
        FacetellError: of ``contents``, for one that is something else, damaged or too large; nothing else was fetched.
        MissingExtraError: the hub's library is not installed.
    """
    hub = client()
    storage = _storage(reference, contents)
    commit = str(reference.revision) if reference.pinned else _commit(hub, storage, reference, contents)
    place = storage / _CHECKED / f"{reference.repository.partition('/')[2]}@{commit[:12]}"
    if place.is_dir():
        return place
    pinned = replace(reference, revision=commit)
    folder = _fetch(hub, storage, pinned, contents)
    contents.check(folder)
    try:
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(Path("..", _COMMITS, commit), target_is_directory=True)
    except FileExistsError:
        return place
    except OSError:  # a cache that cannot be written, or a system without links: it is checked again next time
        return folder
    return place


def is_fetched(path: Path) -> bool:
    """Whether a path is what `fetched` gave: part of the cache, so not to be changed."""
    return path.parent.name in (_CHECKED, _COMMITS) and (path.parent.parent / "refs").is_dir()


def _storage(reference: Reference, contents: Contents) -> Path:
    """The folder of a repository in the cache, as the library lays it out."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = repo_folder_name(repo_id=reference.repository, repo_type=contents.repo_type)
    return Path(constants.HF_HUB_CACHE).expanduser() / folder


def _commit(hub: HfApi, storage: Path, reference: Reference, contents: Contents) -> str:
    """The commit that a revision is now; without an answer, what it was when the hub last gave one."""
    revision = reference.revision or _NEWEST
    last = storage / "refs" / revision
    try:
        with answered(contents.what, reference):
            commit = hub.repo_info(
                reference.repository, repo_type=contents.repo_type, revision=revision, timeout=_SECONDS
            ).sha
    except UnreachableError:
        commit = last.read_text(encoding="utf-8") if last.is_file() else None
        if not is_commit(commit):
            raise
        log.warning("the hub was not asked: %s is what it was last time, %s", reference, commit)
        return str(commit)
    if not is_commit(commit):  # it becomes the name of a folder
        raise HubError(f"the hub names no commit for {reference}", hint="is HF_ENDPOINT a hub?")
    log.info("%s is %s", reference, replace(reference, revision=commit))
    with contextlib.suppress(DataError), whole_file(last) as partial:  # of a cache that cannot be written
        partial.write_text(str(commit), encoding="utf-8")
    return str(commit)


def _fetch(hub: HfApi, storage: Path, pinned: Reference, contents: Contents) -> Path:
    """Look at the names and sizes in a commit, then fetch it; without a connection, what another program has fetched."""
    here = storage / _COMMITS / str(pinned.revision)
    try:
        with answered(contents.what, pinned):
            return _download(hub, storage, pinned, contents)
    except UnreachableError:
        if not here.is_dir():
            raise
    files = (file for file in here.rglob("*") if file.is_file())
    contents.inspect(str(pinned), {file.relative_to(here).as_posix(): file.stat().st_size for file in files})
    return here


def _download(hub: HfApi, storage: Path, pinned: Reference, contents: Contents) -> Path:
    from huggingface_hub import RepoFile

    name, kind, commit = pinned.repository, contents.repo_type, pinned.revision
    tree = hub.list_repo_tree(name, repo_type=kind, revision=commit, recursive=True)
    sizes = {file.path: file.size for file in tree if isinstance(file, RepoFile)}
    contents.inspect(str(pinned), sizes)
    storage.mkdir(parents=True, exist_ok=True)
    check_space(storage, sum(sizes.values()), f"fetching {pinned}", "free some space, or set HF_HOME to another disk")
    wanted = [each for each in sizes if each != _LARGE_FILES]
    return Path(hub.snapshot_download(name, repo_type=kind, revision=commit, allow_patterns=wanted))
