"""What the verbs return: frozen records, with the names and values of what ``--json`` prints and their folder holds.

A rate or a metric with an interval is a mapping ``value``, ``low``, ``high`` (95%); what is not defined is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "AuditResult",
    "BenchResult",
    "CacheResult",
    "CompareResult",
    "DetectorsResult",
    "EvaluateResult",
    "ExplainResult",
    "ExportResult",
    "HistoryResult",
    "InspectResult",
    "Interval",
    "KeysResult",
    "ListedDetector",
    "PromoteResult",
    "PullResult",
    "PushResult",
    "Result",
    "StressResult",
    "VerifyResult",
    "WatchResult",
]

Numbers = Mapping[str, Any]
_ASIDE = {"aside": True}
"""Marks a field for people who program, which JSON does not hold."""


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its 95% interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Result:
    """What a verb found. ``path``: the folder it was written to, None where it was not."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        aside = {each.name for each in fields(self) if each.metadata.get("aside")}
        return {name: value for name, value in asdict(self).items() if name not in aside}


@dataclass(frozen=True)
class CacheResult(Result):
    """What is kept in the cache at ``path``: (name, kind, bytes, time of the last use in s since 1970), the least recently
    used first; ``bytes`` of all, of at most ``limit``; ``removed``: names of what went.
    """

    path: Path
    bytes: int
    limit: int
    entries: Sequence[Mapping[str, Any]]
    removed: Sequence[str]


@dataclass(frozen=True)
class KeysResult(Result):
    """The keys in the file ``path``: name, scopes and when each was made (ISO 8601). ``key``: the one that was made now, None if
    none was."""

    path: Path
    key: str | None
    keys: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class ListedDetector:
    """A detector that a name stands for: its ``folder``, whether that is ``in_box``, and whether one of the same name in the
    folder of detectors is taken instead (``shadowed``); ``bytes`` on the disk.

    ``method``, ``kinds`` (what fakes it knows, else the sources it was fitted on), ``licence`` (None: not said), ``date``
    (said, else the day of its last change, YYYY-MM-DD) and ``calibrated`` are what its description says. ``error``: why it is
    broken, which leaves these empty.
    """

    name: str
    folder: str
    in_box: bool
    shadowed: bool
    bytes: int
    method: str = ""
    kinds: Sequence[str] = ()
    licence: str | None = None
    date: str = ""
    calibrated: bool = False
    error: str | None = None


@dataclass(frozen=True)
class DetectorsResult(Result):
    """The detectors that can be named (see `ListedDetector`), that in the box first; ``path``: the folder of the others."""

    path: Path
    detectors: Sequence[ListedDetector]


@dataclass(frozen=True)
class EvaluateResult(Result):
    """What a detector says of a labelled split.

    ``threshold``: a score, None for an uncalibrated detector, of which only what the ranking says is defined.
    ``counts``: n, n_real, n_fake, groups. ``metrics``: by name. ``confusion``: tn, fp, fn, tp. ``operating_points``: name,
    rule, value and rates of each. ``thresholds``: crossing, youden, difference, agree
    (:mod:`facetell.evaluation.densities`). ``calibration``: before and after. ``sources``: a fake source is measured
    against all real faces, a real source alone, the worst first, and how many of it are unlike all that the detector knows
    where ``unlike`` of the known faces are called so. ``over_sources``: mean AUROC of the fake ones and mean FPR
    of the real ones, each counted once, and n. ``videos``: counts, metrics, confusion and threshold of whole videos, judged
    as `detect` does, and the AUROC of the mean score of their faces; None where there are none. ``mistakes``: the worst.
    ``context``: where the numbers come from.
    """

    format: str
    version: int
    threshold: float | None
    threshold_rule: str
    context: Numbers
    counts: Mapping[str, int]
    metrics: Mapping[str, Interval]
    confusion: Mapping[str, int] | None
    operating_points: Sequence[Numbers]
    thresholds: Numbers | None
    calibration: Numbers | None
    prevalence: Numbers | None
    unsure: Numbers | None
    unlike: float | None
    videos: Numbers | None
    mistakes: Sequence[Numbers]
    sources: Sequence[Numbers]
    over_sources: Mapping[str, Numbers]
    bootstrap: Numbers
    warnings: Sequence[str]
    plots: Mapping[str, str]
    path: Path | None = field(default=None, metadata=_ASIDE)

    @classmethod
    def of(cls, numbers: Numbers, path: Path | None) -> EvaluateResult:
        """The result that ``report.json`` holds."""
        metrics = {name: Interval(**found) for name, found in numbers["metrics"].items()}
        return cls(**{**numbers, "metrics": metrics}, path=path)


@dataclass(frozen=True)
class CompareResult(Result):
    """Several reports of the same faces, compared with the first.

    ``reports``: each with its metrics on the common faces. ``comparisons``: each other report with the first: AUROC,
    difference, ``delong``, ``bootstrap`` and ``conclusion``. ``pairs``: every two, where there are three or more.
    """

    format: str
    version: int
    reports: Sequence[Numbers]
    counts: Mapping[str, int]
    comparisons: Sequence[Numbers]
    pairs: Sequence[Numbers]
    bootstrap: Numbers
    warnings: Sequence[str]
    plots: Mapping[str, str]
    path: Path | None = field(default=None, metadata=_ASIDE)


@dataclass(frozen=True)
class StressResult(Result):
    """A detector under corruptions.

    ``summary``: ``robustness`` (0 to 1), mean AUROC, the worst conditions. ``clean``: auroc, recall and fpr of untouched
    faces. ``corruptions``: each with its five ``strengths``.
    """

    format: str
    version: int
    summary: Numbers
    counts: Mapping[str, int]
    threshold: float
    clean: Mapping[str, Numbers]
    corruptions: Sequence[Numbers]
    bootstrap: Numbers
    speed: Numbers
    context: Numbers
    warnings: Sequence[str]
    plots: Mapping[str, str]
    path: Path | None = field(default=None, metadata=_ASIDE)


@dataclass(frozen=True)
class AuditResult(Result):
    """Leaks and shortcuts of a face set, and a detector's errors on it.

    ``leaks``: see :func:`facetell.faceset.leaks.find_leaks`. ``shortcuts``: ``learned_on``, ``measured_on`` and
    ``families``, see :func:`facetell.evaluation.shortcuts.tells`; no families where a label has fewer than 20 groups.
    ``detector``: ``sources``, ``worst_groups``, ``follows``; None without one. ``findings``: sentences that a person
    should read, empty when all is quiet.
    """

    format: str
    version: int
    faceset: str
    fingerprint: str
    rows: int
    split: str
    seed: int
    leaks: Numbers
    shortcuts: Numbers
    detector: Numbers | None
    findings: Sequence[str]
    path: Path | None = field(default=None, metadata=_ASIDE)


@dataclass(frozen=True)
class WatchResult(Result):
    """Whether unlabelled traffic looks like what a detector was validated on.

    ``seen``: ``nothing``, ``little``, ``new``, or None where all is too few. ``whole`` and ``batches``: counts, shares
    ``unjudged``, ``fake`` and ``unsure`` with exact 95% intervals, score quantiles, and ``tests`` by kind
    (:func:`facetell.evaluation.drift.drift`); ``p_holm`` is adjusted for all tests made. ``look``: where files were opened,
    how many were ``drawn`` and ``opened``, and the suspected ``clusters``. ``next``: what to do now.
    """

    format: str
    version: int
    detector: str
    identity: str
    seed: int
    repetitions: int
    reference: Numbers
    whole: Numbers
    batches: Sequence[Numbers]
    warnings: Sequence[str]
    look: Numbers | None
    seen: str | None
    sentences: Sequence[str]
    next: str | None
    path: Path | None = field(default=None, metadata=_ASIDE)


@dataclass(frozen=True)
class ExplainResult(Result):
    """Where in faces a detector sees the fake.

    ``faces``: an entry each with path, logit, score, decision and picture. ``sources``: of a face set, by source and label.
    ``sanity``, ``pointing`` and ``attention``: whether the maps can be believed. ``maps``: by kind, (N, h, w), positive =
    fake, in the order of ``faces``. ``left_out``: what could not be explained, with the reason.
    """

    format: str
    version: int
    detector: str
    warnings: Sequence[str]
    sanity: Numbers | None
    pointing: Numbers | None
    attention: Numbers
    left_out: Sequence[Any]
    context: Numbers
    kinds: Mapping[str, Numbers]
    centre_area: float
    sources: Sequence[Numbers]
    faces: Sequence[Numbers]
    written: Sequence[str]
    maps: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict, metadata=_ASIDE, repr=False)
    path: Path | None = field(default=None, metadata=_ASIDE)


@dataclass(frozen=True)
class BenchResult(Result):
    """The table of a bench: ``lines`` are its rows, one for each test set, with means over seeds and intervals."""

    format: str
    version: int
    title: str
    about: str
    lines: Sequence[Numbers]
    path: Path | None = field(default=None, metadata=_ASIDE)


@dataclass(frozen=True)
class ExportResult(Result):
    """A detector for other programs. ``auroc``: ``before`` and ``after`` int8; ``difference``: the largest of a logit."""

    detector: str
    out: str
    to: str
    int8: bool
    bytes: int
    auroc: Mapping[str, float] | None
    difference: float | None
    points: Mapping[str, float]
    path: Path | None = field(default=None, metadata=_ASIDE)


@dataclass(frozen=True)
class PromoteResult(Result):
    """What was ``done`` (``shadow``, ``now``, ``back``, or ``nothing`` where it was only asked for), and how it stands then:
    the detector in ``current`` use, None where servers judge by the one they were started with; the one in ``shadow``; each
    with ``refused``, why a server does not judge by it, if one does not; and the ``differences`` between that, or the one that
    was put into use now, and what was answered."""

    done: str
    current: Mapping[str, Any] | None
    shadow: Mapping[str, Any] | None
    differences: Mapping[str, Any] | None


@dataclass(frozen=True)
class PushResult(Result):
    """A commit to the hub: ``repository`` with its hash, whether it is a detector or a face set, and for whom."""

    repository: str
    what: str
    private: bool
    files: int
    bytes: int


@dataclass(frozen=True)
class PullResult(Result):
    """A commit from the hub that was copied to the folder ``path``: ``repository`` with its hash, and what it is."""

    repository: str
    what: str
    files: int
    bytes: int
    path: Path | None = field(default=None, metadata=_ASIDE)


@dataclass(frozen=True)
class VerifyResult(Result):
    """A detector that is whole. ``replay``: faces in its replay buffer; ``selftest``: by runtime, how far its logits are from
    the stored ones, in units of 1 + |logit|; ``selftest_difference``: the largest. ``signed``: SHA-256 of the public key it was
    signed with, None where no key was given."""

    detector: str
    method: str
    size: int
    parameters: int
    files: int
    replay: int
    operating_points: Mapping[str, float]
    selftest_difference: float
    selftest: Mapping[str, float]
    signed: str | None = None


@dataclass(frozen=True)
class HistoryResult(Result):
    """What a detector was fitted on, and an event for each kind of fake it has learned since, in the order of time."""

    detector: str
    fitted: Numbers
    adapted: Sequence[Numbers]


@dataclass(frozen=True)
class InspectResult(Result):
    """Counts of a face set.

    ``counts``: split → label → source → rows. ``groups``: split → distinct groups. ``sizes``: width, height → min, median,
    max in pixels. ``skipped``: reason → files left out. ``splits_made``: how the splits came about. ``contact_sheet``: the
    picture that was drawn, None without one.
    """

    rows: int
    fingerprint: str
    seed: int
    splits_made: Any
    counts: Numbers
    by_split: Mapping[str, int]
    by_label: Mapping[str, int]
    by_source: Mapping[str, int]
    groups: Mapping[str, int]
    sizes: Numbers
    formats: Mapping[str, int]
    skipped: Mapping[str, int]
    contact_sheet: str | None = None
