"""``adapt``: teach a detector a new kind of fake from a few examples, without losing what it knew."""

from __future__ import annotations

import logging
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from facetell.adaptation.new_faces import LEAST
from facetell.adaptation.task import SPLIT, AdaptOptions
from facetell.api._opened_store import opened_store
from facetell.detector.bundle import read_description
from facetell.detector.places import DetectorLike, bundle_path
from facetell.errors import UsageError
from facetell.faceset.table import FaceSetLike, source_path
from facetell.files import alone
from facetell.ingest.prepare import prepare
from facetell.progress import ShowProgress, callback
from facetell.settings import check_counts

if TYPE_CHECKING:
    from facetell.adaptation.result import AdaptResult

__all__ = ["adapt"]

log = logging.getLogger("facetell")


@alone("out")
def adapt(
    detector: DetectorLike,
    out: str | Path,
    *,
    fake: FaceSetLike | None = None,
    real: FaceSetLike | None = None,
    faces: str = "auto",
    store: str | Path | None = None,
    kind: str | None = None,
    shots: int | None = None,
    strategy: str = "auto",
    backbone: str | None = None,
    pretrained: str | None = None,
    size: int | None = None,
    margin: float = AdaptOptions.margin,
    trust_labels: bool = False,
    seed: int = 0,
    device: str = "auto",
    progress: ShowProgress = None,
) -> AdaptResult:
    """Learn a new kind of fake and write the new detector to ``out``, if it passes the acceptance checks.

    Args:
        detector: the old detector, which is not changed.
        out: where the new one goes; nothing may be there.
        fake: a folder in which every picture, photo or video is fake, or a face set of which the fakes are taken (split
            *finetune*, else *train*). Without it fakes are blended from the reals (:func:`facetell.blend`).
        real: the same for reals, from where the fakes were found; at most 1,000 are used, or as many as there are fakes.
            Without it some of the replay buffer stand in.
        faces: in folders: ``find`` looks for faces in photos and videos and cuts them out, as for the old detector; ``crops``
            takes every picture as a face crop; ``auto`` finds if there are videos.
        store: in place of ``fake``, and of ``real`` where that is not given, the faces in the store of a server that people
            labelled (:func:`facetell.serve`).
        kind: of those only the fakes of this kind, as the reviewers called it.
        shots: at most that many of the fakes, drawn by ``seed``.
        strategy: a name of ``STRATEGIES``, or ``auto``: the best of all that fit, by cross-validation on the new faces.
        backbone: the second backbone of the strategy ``expert``; by default like the detector's own.
        pretrained: its weights: ``library``, a safetensors file or a detector; by default what the detector's own backbone
            was pretrained with.
        size: side in pixels of the crops that the second backbone reads, at least the detector's, which is the default.
        margin: how far the AUROC on old faces may fall. Only a detector with a replay buffer can tell
            (:func:`facetell.remember`).
        trust_labels: accept labels that the old detector ranks the wrong way round.
        seed: of shots, folds, order and augmentation; the same seed gives the same detector.
        device: ``auto``, ``cpu`` or ``cuda``.
        progress: True shows bars; a function is called as files are read and strategies are tried.

    Returns:
        What was tried, measured and chosen; :func:`facetell.history` tells it of the new detector too.

    Raises:
        AcceptanceError: a check is not passed and nothing is written; its ``record`` is what would have been returned, as
            a dict.
        UsageError: something is asked for that cannot be, ``out`` exists, or there are no reals at all.
        DataError: a place without faces, or too few faces or groups to hold some out.
        LeakError: a picture has both labels.
        BundleError: the detector or its replay buffer is damaged.
    """
    from facetell.adaptation.flow import adapt_detector
    from facetell.networks.seeding import seeded

    check_counts(shots=shots)
    if store is not None and fake is not None:
        raise UsageError("fakes come from a folder, or from a store", hint="leave out one of --fake and --store")
    if kind is not None and store is None:
        raise UsageError("a kind is one that reviewers named in a store", hint="give --store as well")
    if kind is not None and not kind.strip():
        raise UsageError("the name of the kind is empty", hint="leave --kind out to learn from fakes of every kind")
    path = bundle_path(detector)
    fakes, reals = (None if each is None else source_path(each) for each in (fake, real))
    with ExitStack() as kept:
        if store is not None:
            fakes, reals, kind = _reviewed(kept, store, kind, path, reals)
        asked = AdaptOptions(
            fakes, reals, faces, shots, strategy, backbone, pretrained, size, margin, trust_labels, seed, device,
            callback(progress),
        )  # fmt: skip
        with seeded(seed):
            result = adapt_detector(path, Path(out), asked)
        if store is not None:
            _written(store, result, kind)
        return result


def _reviewed(
    kept: ExitStack, store: str | Path, kind: str | None, path: Path, real: Path | None
) -> tuple[Path, Path, str | None]:
    """Face sets of the fakes and reals that people labelled, until ``kept`` ends, ``real`` in place of the latter; and the kind
    as they spelled it."""
    folder = Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="facetell-")))
    with opened_store(store) as opened:
        from facetell.store.records import cut_of
        from facetell.store.reviewed import INDEX, write_reviewed
        from facetell.store.reviews import kinds

        found = write_reviewed(opened, folder, cut_of(read_description(path)["input"]["crop"]), kind)
        named = kinds(opened)
    found.check(LEAST, reals=real is None, named=named)
    log.info("%s", found.sentence)

    def prepared(label: str) -> Path:
        out = folder / f"{label}-faces"
        return prepare(folder / label / INDEX, out, split=SPLIT, one_label=True, faces="crops").path

    return prepared("fake"), prepared("real") if real is None else real, found.kind


def _written(store: str | Path, result: AdaptResult, kind: str | None) -> None:
    """Write into the trail what was learned from the store."""
    with opened_store(store) as opened:
        from facetell.store.store import record, user

        of_kind = f" the kind '{kind}'" if kind else ""
        with opened.writing() as done:
            record(
                done, user(), "adapt", f"{result.parent['identity']} learned{of_kind}: {result.chosen}, {result.path}"
            )
