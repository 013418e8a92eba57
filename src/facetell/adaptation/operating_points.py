"""Operating points that hold on old faces and on new ones, each domain by itself; and what is unsure then.

A threshold that 5% of the old reals exceed may be exceeded by most reals of another place. So for each domain the threshold
is found that its own reals ask for, and the larger one is written. New faces are judged by models that have not seen their
group; what is reported was measured on folds that did not choose the threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.detector.calibration import DEFAULT, Held, OperatingPoint, Scale, UnsureBand
from facetell.detector.measure import Sample
from facetell.errors import DataError
from facetell.evaluation.choice_gain import assign_folds
from facetell.evaluation.conformal import most_of
from facetell.evaluation.rates import effective_share, operating_rates, rate_interval
from facetell.evaluation.score_curves import Curve
from facetell.evaluation.thresholds import FPR_RULES, check_rule

__all__ = ["OLD", "AtPoint", "Carried", "cross_fitted", "held_scale", "logit_at", "stated_rate"]

FOLDS = 3
ONE_SIDED = 0.9
"""Level of a two-sided interval whose ends are one-sided 95% bounds."""
OLD = "old"

Carried = Mapping[str, Mapping[str, Held]]
"""Of operating points, by name: what they do in domains of earlier adapts, by name, whose faces are not here."""


@dataclass(frozen=True)
class AtPoint:
    """Faces that did not choose a point, at that point: how many, how many are called fake, and how much each counts.

    ``stated``: the share of reals that may be called fake, ``on_old``: the same of old ones, where it is larger as the detector
    called more of those faces fake before; ``promised``: what can be promised of a threshold that as many new reals chose,
    1 / (groups + 1) at least. Counts are of new reals, new fakes and old reals.
    """

    stated: float
    on_old: float
    promised: float
    n: tuple[int, int, int]
    called: tuple[int, int, int]
    share: tuple[float, float, float]

    def rate(self, which: int) -> tuple[float, float, float]:
        """The share called fake, and its one-sided 95% bounds (Clopper-Pearson over groups)."""
        n, called, share = self.n[which], self.called[which], self.share[which]
        return called / n, *rate_interval(called * share, n * share, ONE_SIDED)


def held_scale(
    scale: Scale,
    old: Sample,
    new: Sample,
    parent: Scale | None,
    carried: Carried | None = None,
    before: NDArray[np.float32] | None = None,
) -> Scale:
    """``scale``, measured on ``old`` alone, with operating points that hold on ``new`` faces too, and a band for the rest.

    ``new`` (N,) are held-out logits. A point of the rule ``recall=`` keeps its recall in each domain, all others the share of
    reals that they call fake: that of ``fpr=``, else what the rule gave on old faces, (k + 1) / (n + 1) for k of n.

    The old faces of a replay buffer are few, and drawn evenly from their sources. Where the ``parent`` called more of them fake
    than a point states, its threshold is still what many more faces chose: then as many may be. ``before`` (N,) are its logits.

    *Unsure* is what lies below the ``default`` threshold and yet above where new fakes lie: so no more of these are called
    real than reals are called fake. A band that the ``parent`` had is measured anew and joined to it.
    """
    points = {
        name: _held(
            scale.curve,
            point,
            {OLD: old, new.fingerprint[:16]: new},
            (carried or {}).get(name, {}),
            _called_before(old, before, parent, name),
        )
        for name, point in scale.points.items()
    }
    coverage = parent.unsure.coverage if parent and parent.unsure else None
    return replace(scale, points=points, unsure=_band(scale.curve, points[DEFAULT], old, new, coverage))


def cross_fitted(scale: Scale, old: Sample, new: Sample, seed: int) -> dict[str, AtPoint]:
    """What each operating point of ``scale`` does on folds of old and new faces, chosen on the other folds."""
    folds = [assign_folds(sample.labels, sample.groups, FOLDS, seed) for sample in (old, new)]
    found = {}
    for name, point in scale.points.items():
        called = [np.zeros(len(sample.labels), bool) for sample in (old, new)]
        promised = []
        for part in range(FOLDS):
            rest = [_subset(sample, fold != part) for sample, fold in zip((old, new), folds, strict=True)]
            value, stated = _chosen_again(scale.curve, point, *rest)
            promised.append(max(stated, 1 / (len(np.unique(rest[1].groups[rest[1].labels == 0])) + 1)))
            for sample, fold, mine in zip((old, new), folds, called, strict=True):
                mine[fold == part] = scale.curve.scores(sample.logits[fold == part]) >= value
        found[name] = _counted(
            (stated_rate(point), _on_old(point), float(np.mean(promised))),
            (new, called[1], 0), (new, called[1], 1), (old, called[0], 0),
        )  # fmt: skip
    return found


def _counted(rates: tuple[float, float, float], *of: tuple[Sample, NDArray[np.bool_], int]) -> AtPoint:
    n, called, share = list[int](), list[int](), list[float]()
    for sample, fake, label in of:
        rows = sample.labels == label
        n.append(int(rows.sum()))
        called.append(int(fake[rows].sum()))
        share.append(effective_share(sample.logits[rows], sample.groups[rows]))
    return AtPoint(*rates, tuple(n), tuple(called), tuple(share))  # type: ignore[arg-type]


def _chosen_again(curve: Curve, point: OperatingPoint, old: Sample, new: Sample) -> tuple[float, float]:
    """The threshold that the point's rule gives on these faces, and the share of reals it states."""
    try:
        on_old = old.point(curve, point.rule)
    except DataError:  # a precision that all of the old faces reach, and part of them does not
        on_old = point
    held = _held(curve, on_old, {OLD: old, new.fingerprint[:16]: new}, {}, _on_old(point))
    return held.value, stated_rate(held)


def logit_at(curve: Curve, point: OperatingPoint) -> float:
    """The logit of a point's threshold; of one above 1, at which none is called fake, the largest there is a score for."""
    return float(curve.logits(min(point.value, 1 - 1e-12)))


def stated_rate(point: OperatingPoint) -> float:
    """The share of reals that may be called fake at a point: what its rule says, else what it was on the faces that chose it,
    (k + 1) / (n + 1) for k of n."""
    name, number = check_rule(point.rule)
    if name in FPR_RULES:
        return number
    if point.domains:
        return point.domains[OLD].stated
    rate = point.rates["fpr"]
    value, n = rate["value"], rate["effective"]
    assert value is not None  # it was measured on real faces
    assert n is not None
    return (value * n + 1) / (n + 1)


def _on_old(point: OperatingPoint) -> float:
    """The share of old reals that may be called fake at a point."""
    return point.domains[OLD].stated if point.domains else stated_rate(point)


def _called_before(old: Sample, before: NDArray[np.float32] | None, parent: Scale | None, name: str) -> float:
    """The share of reals like the old ones that the parent calls fake at a point, (k + 1) / (n + 1) for k of n; 0 if unknown."""
    if before is None or parent is None or name not in parent.points:
        return 0.0
    called = parent.curve.scores(before[old.labels == 0]) >= parent.points[name].value
    return float((called.sum() + 1) / (len(called) + 1))


def _held(
    curve: Curve, point: OperatingPoint, domains: Mapping[str, Sample], carried: Mapping[str, Held], on_old: float
) -> OperatingPoint:
    """The point at the threshold that all domains need; see `Carried`. ``on_old``: what `_on_old` will be, if it is more."""
    stated, (name, number) = stated_rate(point), check_rule(point.rule)
    may = {domain: max(stated, on_old) if domain == OLD else stated for domain in domains}
    own = chosen = logit_at(curve, point)
    least = name == "recall"  # then fewer called fake would break what the rule says
    need = {
        domain: _lower(sample, 1 - number) if least else _upper(sample, may[domain])
        for domain, sample in domains.items()
    }
    if name in FPR_RULES and may[OLD] > stated:
        own = need[OLD]
    elif name != "fpr":  # of whatever else the rule asks, its own threshold keeps it on old faces
        need[OLD] = own
    furthest: Callable[..., float] = min if least else max
    every = [own, *need.values(), *(held.logit for held in carried.values())]
    logit = furthest(every)
    old = domains[OLD]
    value = point.value if logit == chosen else float(curve.scores(logit))
    rates = operating_rates(old.labels, curve.scores(old.logits), old.groups, value)
    held = {domain: _measured(curve, sample, value, may[domain], need[domain]) for domain, sample in domains.items()}
    return replace(point, value=value, rates=rates, domains={**carried, **held})


def _measured(curve: Curve, sample: Sample, value: float, stated: float, logit: float) -> Held:
    called, fakes = curve.scores(sample.logits) >= value, sample.labels == 1
    counted = _counted((stated,) * 3, (sample, called, 0), (sample, called, 1), (sample, called, 0))
    fpr, _, high = counted.rate(0)
    return Held(stated, logit, fpr, high, counted.rate(1)[0], int((~fakes).sum()), int(fakes.sum()))


def _upper(sample: Sample, rate: float) -> float:
    """The logit from which on at most ``rate`` of the reals of new groups are called fake, midway to the next face."""
    reals = sample.labels == 0
    bound = most_of(sample.logits[reals], sample.groups[reals], rate)
    above = sample.logits[sample.logits > bound]
    return float((bound + above.min(initial=bound + 0.1)) / 2) if np.isfinite(bound) else float(sample.logits.min())


def _lower(sample: Sample, rate: float) -> float:
    """The logit below which at most ``rate`` of the fakes of new groups lie, midway to the next face."""
    return -_upper(replace(sample, logits=-sample.logits, labels=1 - sample.labels), rate)


def _band(curve: Curve, point: OperatingPoint, old: Sample, new: Sample, coverage: float | None) -> UnsureBand | None:
    rate = stated_rate(point)
    fake_from, real_to = (float(curve.scores(bound(new, rate))) for bound in (_lower, _upper))
    bands = [] if fake_from >= point.value else [UnsureBand(fake_from, real_to, 1 - rate, new.on)]
    if coverage:
        with suppress(DataError):  # too few groups for it now
            bands.append(old.band(curve, coverage))
    if not bands:
        return None
    return replace(
        bands[-1],
        fake_from=min(band.fake_from for band in bands),
        real_to=max(band.real_to for band in bands),
    )


def _subset(sample: Sample, rows: NDArray[Any]) -> Sample:
    sources = None if sample.sources is None else sample.sources[rows]
    return replace(
        sample, labels=sample.labels[rows], logits=sample.logits[rows], groups=sample.groups[rows], sources=sources
    )
