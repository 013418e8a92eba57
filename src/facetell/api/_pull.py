"""``pull``: a detector or a face set from the Hugging Face Hub into a folder of one's own."""

from __future__ import annotations

import shutil
from pathlib import Path

from facetell.detector.bundle import DETECTOR_CONTENTS
from facetell.detector.detector import Detector
from facetell.errors import HubError, UsageError
from facetell.faceset.on_hub import FACESET_CONTENTS
from facetell.files import locked, whole_folder
from facetell.hub import Contents, Reference, fetched, reference_in
from facetell.results import PullResult

__all__ = ["pull"]


def pull(repository: str, out: str | Path) -> PullResult:
    """Fetch ``hf://owner/name[@revision]``, check it whole, and copy it to the folder ``out``, which must not exist.

    A detector, or where there is none by that name (or for ``hf://datasets/owner/name``) a face set. It is not said which of
    the two is private and which not there: the hub does not tell.

    Raises:
        UsageError: something is at ``out``, or ``repository`` names none.
        BundleError, DataError: what is there is something else, damaged or too large.
        HubError: there is none, or the hub is out of reach. MissingExtraError: the extra ``hub`` is not installed.
    """
    reference, out = reference_in(repository), Path(out)
    if reference is None:
        raise UsageError(f"'{repository}' names no repository", hint="hf://owner/name, or hf://owner/name@revision")
    with locked(out):
        if out.exists():
            raise UsageError(f"{out} exists", hint="choose another name or remove it")
        folder, contents = _found(reference)
        if contents is DETECTOR_CONTENTS:
            Detector.verify(folder)
        with whole_folder(out) as partial:
            shutil.copytree(folder, partial, dirs_exist_ok=True)
            contents.check(partial)
    files = [file for file in out.rglob("*") if file.is_file()]
    commit = folder.resolve().name
    return PullResult(
        f"hf://{reference.repository}@{commit}",
        contents.what,
        len(files),
        sum(file.stat().st_size for file in files),
        path=out,
    )


def _found(reference: Reference) -> tuple[Path, Contents]:
    if reference.dataset:
        return fetched(reference, FACESET_CONTENTS), FACESET_CONTENTS
    try:
        return fetched(reference, DETECTOR_CONTENTS), DETECTOR_CONTENTS
    except HubError as error:
        try:
            return fetched(reference, FACESET_CONTENTS), FACESET_CONTENTS
        except HubError:
            raise error from None
