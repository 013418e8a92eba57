"""A folder's files as one commit to a repository of the hub, which is made, private, where there is none."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facetell.errors import HubError, UsageError
from facetell.hub.client import answered, client
from facetell.hub.contents import Contents
from facetell.hub.reference import Reference

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, HfApi

__all__ = ["send"]


def send(
    reference: Reference, contents: Contents, files: Mapping[str, Path | bytes], *, public: bool, message: str
) -> tuple[Reference, bool]:
    """Make ``files``, by name, what the newest revision of a repository holds: all of them or nothing.

    Files that an earlier revision had are removed, but for licences. Returns the commit, and whether it is private.

    Raises:
        UsageError: the repository holds something else, or is public and that was not asked for; nothing was sent.
        HubError: the hub refuses or is out of reach.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    hub, name, kind = client(), reference.repository, contents.repo_type
    with answered(contents.what, reference, sending=True):
        hub.create_repo(name, repo_type=kind, private=not public, exist_ok=True)
        info = hub.repo_info(name, repo_type=kind)
        there = set(hub.list_repo_files(name, repo_type=kind, revision=info.sha))
        foreign = sorted(each for each in there if not contents.allows(each))
        if foreign:
            raise UsageError(
                f"{reference} holds {foreign[0]!r}, which is no part of a {contents.what}", hint="give another name"
            )
        if not info.private and not public:
            raise UsageError(
                f"{reference} can be read by anybody", hint="--public if it is meant to, else another name"
            )
        adding = [CommitOperationAdd(each, content) for each, content in files.items()]
        old = [CommitOperationDelete(each, is_folder=False) for each in there - files.keys() if contents.outdated(each)]
        commit = _commit(hub, name, kind, [*adding, *old], message, info.sha)
    return replace(reference, revision=commit.oid), bool(info.private)


def _commit(hub: HfApi, name: str, kind: str, operations: list[Any], message: str, parent: str | None) -> CommitInfo:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")  # of a replay buffer
        try:
            return hub.create_commit(name, operations, commit_message=message, repo_type=kind, parent_commit=parent)
        except (ValueError, RuntimeError) as error:  # metadata or a large file that the hub does not take
            raise HubError(f"the hub does not take what was sent: {error}") from error
