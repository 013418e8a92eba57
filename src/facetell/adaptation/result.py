"""What ``adapt`` returns, and keeps in the new detector's history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facetell.adaptation.acceptance import AcceptanceCheck

__all__ = ["AdaptResult", "AtThreshold", "Tried"]


@dataclass(frozen=True)
class Tried:
    """A candidate, its AUROC on held-out new faces, and how far that on old faces fell (None: no replay buffer).

    ``allowed``: it fell by no more than half the margin. ``finished``: it was tried on every fold.
    """

    candidate: str
    auroc: float
    fall: float | None
    allowed: bool
    finished: bool


@dataclass(frozen=True)
class AtThreshold:
    """Held-out new faces at thresholds that others chose: part of the fakes found, of the reals called fake, and how many."""

    recall: float
    fpr: float
    n_real: int
    n_fake: int


@dataclass(frozen=True)
class AdaptResult:
    """What was tried, measured and chosen.

    ``parent`` is the old detector's name and identity, ``new`` the new faces' fingerprint and counts. ``before`` is the old
    detector's AUROC on them. ``checks`` are the acceptance checks by name: ``new``, ``old``, ``labels``, one for each operating
    point (``at default``) and for each kind of shortcut; ``refused`` holds what those said that refused the new detector.
    ``unfit`` says why a strategy was not tried, ``sentences`` what else should be known. ``at_threshold`` is None where the
    new detector is uncalibrated.
    """

    when: str
    facetell: str
    parent: Mapping[str, str]
    seed: int
    new: Mapping[str, Any]
    tried: tuple[Tried, ...]
    unfit: Mapping[str, str]
    chosen: str
    why: str
    before: float
    checks: Mapping[str, AcceptanceCheck]
    refused: tuple[str, ...]
    sentences: tuple[str, ...]
    at_threshold: AtThreshold | None = None
    path: Path | None = None
    """Where the new detector is; not part of its history."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the event ``adapt`` of a detector's history."""
        checks = {name: check.as_dict() for name, check in self.checks.items()}
        found = {"what": "adapt", **asdict(self), "checks": checks}
        return {name: value for name, value in found.items() if name != "path"}
