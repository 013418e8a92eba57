"""``promote``: a new detector for the servers on a store, in shadow first, then in use, and back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from facetell.api._opened_store import opened_store
from facetell.detector.bundle import identity_of, read_description
from facetell.detector.calibration import uncalibrated
from facetell.detector.detector import Detector
from facetell.detector.places import DetectorLike, bundle_path
from facetell.errors import UsageError
from facetell.results import PromoteResult

__all__ = ["promote"]


def promote(
    detector: DetectorLike | None = None, *, store: str | Path, now: bool = False, back: bool = False
) -> PromoteResult:
    """Have the servers on a store judge by another detector. They follow within seconds and lose no request.

    With a detector alone it comes into shadow: servers judge by both, and answer as before. With ``now`` the one in shadow is
    put into use. Each step is written into the audit trail.

    Args:
        detector: the new one. With ``now`` it may be left out, else it must be the one in shadow. Without it, and without
            the rest: only say how it stands.
        store: of the servers, see `facetell.serve`. A copy of the detector goes into it, without its replay buffer.
        now: put the detector in shadow into use.
        back: undo the last step: end the shadow if there is one, else go back to what was in use before.

    Raises:
        BundleError: the detector is damaged, or does not give the logits of its self-test again.
        UsageError: it is uncalibrated or in use already; with ``now``, it is not in shadow or has judged nothing there; with
            ``back``, nothing was promoted.
        DataError: the store cannot be used.
    """
    if now and back:
        raise UsageError("a detector is put into use, or it goes back", hint="give one of --now and --back")
    if back and detector is not None:
        raise UsageError("going back needs no detector", hint="facetell promote --store PATH --back")
    path = None if detector is None else bundle_path(detector)
    if path is not None and not now:
        Detector.verify(path)
        if not read_description(path)["calibration"]:
            raise uncalibrated("decisions to serve")
    with opened_store(store) as opened:
        from facetell.store import promotions
        from facetell.store.store import user

        done, compared = "nothing", None
        if back:
            promotions.back(opened, user())
            done = "back"
        elif now:
            compared = promotions.into_use(opened, None if path is None else identity_of(path), user()).identity
            done = "now"
        elif path is not None:
            promotions.shadow(opened, path, user())
            done = "shadow"
        said = promotions.uses(opened)
        if compared is None and said.shadow is not None:
            compared = said.shadow.identity
        differences = None if compared is None else asdict(promotions.differences(opened, compared))
    return PromoteResult(done=done, **asdict(said), differences=differences)
