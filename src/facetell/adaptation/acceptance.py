"""The acceptance checks of ``adapt``: what an adapted detector must show before it is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.adaptation.operating_points import AtPoint
from facetell.adaptation.transplants import TRANSPLANTS, transplanted
from facetell.evaluation.choice_gain import Gain
from facetell.evaluation.comparison import delong
from facetell.evaluation.metrics import auroc
from facetell.evaluation.rates import effective_share, rate_interval
from facetell.faceset.table import FaceSet
from facetell.pixels.decode import decode_resized

__all__ = ["AcceptanceCheck", "gain_check", "label_check", "next_step", "old_check", "point_check", "shortcut_checks"]

KNOWN = 0.95
"""AUROC of the old detector from which on it knows a kind already."""
RISK = 0.1
"""Share of resamples without a gain up to which a gain is believed."""
CLOSES = 0.25
"""Part of the way from real to fake that one borrowed property may take a real face. Clean batches with 400 reals stay below
0.13; a black border, a tint and a hard compression planted in 50 fakes gave 0.50, 0.67 and 0.38 (docs/results.md). It must not
be chance either: the 95% interval of that part lies above 0. A clean draw of 50 + 50 gave 0.25, from -0.07 to 0.58."""
WRONG_WAY = 0.25
"""AUROC of the old detector on the new labels below which these look exchanged. Not nearer to 0.5: generated faces can be
smoother than real ones, and a detector of face swaps ranked them at 0.30."""
CLEAR = 3.0
"""Standard errors by which the mean logits of fakes and reals must differ for a part of that way to mean anything."""
LITTLE = 0.2
"""And logits by which they must: some five points of probability, as an expert that has learned nothing hardly moves."""
DONORS = 20
"""Faces of each label that shortcuts are measured on at most, by the model of each fold."""

Floats = NDArray[np.float64]
Score = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Logits of uint8 (N, size, size, 3)."""


@dataclass(frozen=True)
class AcceptanceCheck:
    """One thing an adapted detector must show: whether it does, the numbers behind that, and a sentence for people."""

    passed: bool
    numbers: Mapping[str, float]
    says: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**self.numbers, "passed": self.passed, "says": self.says}


def gain_check(labels: NDArray[np.int8], gain: Gain) -> AcceptanceCheck:
    """The AUROC on held-out new faces must rise, and not by luck: see `RISK`."""
    passed = gain.difference > 0 and gain.risk <= RISK
    fakes = int(labels.sum())
    reals = len(labels) - fakes
    if passed:
        verdict = f"{gain.risk:.0%} of resamples show no gain"
    elif gain.before >= KNOWN:
        verdict = "the detector tells these apart already"
    else:
        verdict = f"that may be luck: {gain.risk:.0%} of resamples show no gain, {RISK:.0%} are allowed"
    return AcceptanceCheck(
        passed,
        {
            "n_real": reals,
            "n_fake": fakes,
            "before": gain.before,
            "after": gain.after,
            "gain": gain.difference,
            "low": gain.low,
            "high": gain.high,
            "risk": gain.risk,
        },
        f"on held-out new faces ({fakes} fake, {reals} real) the AUROC goes from {gain.before:.3f} to {gain.after:.3f} "
        f"({gain.low:+.3f} to {gain.high:+.3f}, corrected for choosing the best); {verdict}",
    )


def old_check(
    labels: NDArray[np.int8], groups: NDArray[Any], before: Floats, after: Floats, margin: float, seen: int = 0
) -> AcceptanceCheck:
    """Non-inferiority on old faces: the one-sided 95% lower bound of the change of AUROC must be above ``-margin``.

    ``seen``: how many of them an earlier ``adapt`` learned from; nothing was learned from any now.
    """
    change = delong(labels, after, before, groups)
    bound = change.difference - NormalDist().inv_cdf(0.95) * change.standard_error
    passed = bound >= -margin
    areas = auroc(labels, before), auroc(labels, after)
    earlier = f" ({seen:,} of them only by an earlier adapt)" if seen else ""
    return AcceptanceCheck(
        passed,
        {
            "n": len(labels),
            "seen": seen,
            "groups": change.groups,
            "before": areas[0],
            "after": areas[1],
            "change": change.difference,
            "low": change.low,
            "high": change.high,
            "bound": bound,
            "margin": margin,
        },
        f"on {len(labels):,} old faces that were not learned from{earlier} the AUROC "
        f"{'rose' if change.difference > 0 else 'fell'} from {areas[0]:.3f} to {areas[1]:.3f} "
        f"({change.low:+.3f} to {change.high:+.3f}); a fall of {'more than ' * passed}{margin:g} is {'not ' * (not passed)}"
        "ruled out",
    )


def next_step(checks: Mapping[str, AcceptanceCheck], refused: Iterable[str]) -> str:
    """What to do about sentences of checks that refused; where it is the old faces alone, the margin that would have passed."""
    step = "look at the pictures and their labels, add more of them, or see what else may be learned: --strategy"
    old = checks.get("old")
    if old is None or list(refused) != [old.says]:
        return step
    return f"if old kinds may be found that much worse: --margin {math.ceil(-1000 * old.numbers['bound']) / 1000:g}; else {step}"


def label_check(labels: NDArray[np.int8], groups: NDArray[Any], before: Floats) -> AcceptanceCheck:
    """The old detector must not rank the new reals far above the new fakes, as it does when labels are exchanged."""
    area = auroc(labels, before)
    error = delong(labels, before, np.zeros(len(labels)), groups).standard_error
    high = min(area + NormalDist().inv_cdf(0.95) * error, 1.0)
    passed = high >= WRONG_WAY
    exchanged = ": your reals look more fake than your fakes, so the labels may be exchanged (--trust-labels)"
    return AcceptanceCheck(
        passed,
        {"auroc": area, "high": high},
        f"the old detector ranks the new labels with AUROC {area:.3f}" + ("" if passed else exchanged),
    )


def point_check(name: str, at: AtPoint) -> AcceptanceCheck:
    """The operating point ``name`` must not call more than twice the stated share of new reals fake, nor of old ones.

    It is refused where the measured share is above twice the stated one (of new reals: or twice what so few can promise),
    and its one-sided 95% lower bound is still above the stated one. Fakes found are measured, and refuse nothing.
    """
    (fpr, low, high), (recall, least, most), (old, old_low, old_high) = (at.rate(which) for which in range(3))
    passed = (fpr <= 2 * at.promised or low <= at.promised, old <= 2 * at.on_old or old_low <= at.on_old)
    says = (
        f"at its point {name}, chosen without the faces that are judged here, {recall:.0%} of {at.n[1]:,} new fakes are found "
        f"({least:.0%} to {most:.0%}), and called fake {fpr:.1%} of {at.n[0]:,} new reals (at most {high:.1%}) and {old:.1%} "
        f"of {at.n[2]:,} old ones (at most {old_high:.1%}); stated are {at.stated:.1%}"
        + (f", of the old ones {at.on_old:.1%}, as before" if at.on_old > at.stated else "")
    )
    if not all(passed):
        says += (
            f": the {' and the '.join(kind for kind, fine in zip(('new', 'old'), passed, strict=True) if not fine)} "
        )
        says += "reals exceed twice that, by more than chance"
    elif high > 2 * at.stated:
        says += f"; {_enough(lambda n: rate_interval(fpr * n, n, 0.9)[1] <= 2 * at.stated, 'reals')} show at most twice that"
    if least <= fpr:
        says += f"; {_enough(lambda n: rate_interval(recall * n, n, 0.9)[0] > fpr, 'fakes')} show that more of them are found"
    numbers = {
        "stated": at.stated, "stated_old": at.on_old, "promised": at.promised,
        "n_real": at.n[0], "n_fake": at.n[1], "n_old": at.n[2],
        "fpr": fpr, "fpr_low": low, "fpr_high": high, "recall": recall, "recall_low": least, "recall_high": most,
        "old_fpr": old, "old_fpr_low": old_low, "old_fpr_high": old_high,
    }  # fmt: skip
    return AcceptanceCheck(all(passed), numbers, says)


def _enough(shown: Callable[[int], bool], what: str) -> str:
    """About how many faces would show something, at the rates found here."""
    least = next((n for n in (*range(1, 1000), *range(1000, 100_000, 500)) if shown(n)), None)
    return f"about {least:,} {what} like these would" if least else f"no number of {what} like these would"


def shortcut_checks(
    faces: FaceSet, size: int, judges: Iterable[tuple[Score, NDArray[np.int64]]], seed: int
) -> dict[str, AcceptanceCheck]:
    """Real faces that get the border, colours, compression or resolution of a fake must not become fakes; by property.

    ``judges``: pairs of what scores faces, and the rows of ``faces`` that it has not learned from, real and fake. ``closes``
    is the part of the way from the mean logit of reals to that of fakes that reals then go, with a 95% interval over groups of
    reals. Where the two means do not differ clearly, a part of that way means nothing, and the other checks decide.
    """
    rng, groups = np.random.default_rng(seed), faces.columns(["group"])["group"].to_numpy().astype(str)
    folds = [_Fold.of(faces, size, score, rows, rng) for score, rows in judges]
    plain, shown = (np.concatenate([fold.logits[label] for fold in folds]) for label in (0, 1))
    of_real, of_fake = (groups[np.concatenate([fold.rows[label] for fold in folds])] for label in (0, 1))
    gap = float(shown.mean() - plain.mean())
    errors = [
        values.var() / (len(values) * effective_share(values, mine))
        for values, mine in ((shown, of_fake), (plain, of_real))
    ]
    clear = gap > max(LITTLE, CLEAR * float(np.sqrt(sum(errors))))
    found = {}
    for name in TRANSPLANTS:
        closes = (np.concatenate([fold.changed[name] for fold in folds]) - plain) / max(gap, 1e-6)
        count = len(closes) * effective_share(closes, of_real)
        reach = 1.96 * float(closes.std(ddof=1)) / count**0.5 if len(closes) > 1 else float("inf")
        value = float(closes.mean())
        low, high = value - reach, value + reach
        passed = not clear or value < CLOSES or low <= 0
        says = f"a real face that gets the {name} of a fake goes {value:.0%} of the way to a fake"
        if not clear:
            says = f"the logits of fakes and reals are too near to each other to tell whether the {name} was learned"
        elif not passed:
            says += f": the {name} is a good part of what was learned, a shortcut"
        elif value >= CLOSES:
            says += f", which may be chance ({low:.0%} to {high:.0%})"
        numbers = {"closes": value, "low": low, "high": high, "n": len(closes)}
        found[name] = AcceptanceCheck(passed, numbers, says)
    return found


@dataclass(frozen=True)
class _Fold:
    """What one model says of faces that it has not learned from: ``rows`` and ``logits`` of reals and of fakes, and logits
    of the reals once ``changed``, by property."""

    rows: tuple[NDArray[np.int64], NDArray[np.int64]]
    logits: tuple[Floats, Floats]
    changed: dict[str, Floats]

    @classmethod
    def of(cls, faces: FaceSet, size: int, score: Score, rows: NDArray[np.int64], rng: np.random.Generator) -> _Fold:
        labels = faces.labels()
        own = tuple(np.sort(rng.permutation(rows[labels[rows] == label])[:DONORS]) for label in (0, 1))
        reals, fakes = ([picture for _, some in faces.pick(mine, 64) for picture in some] for mine in own)
        donors = [fakes[k % len(fakes)] for k in rng.permutation(len(reals))]

        def logits(crops: list[NDArray[np.uint8]]) -> Floats:
            return score(np.stack(crops)).astype(np.float64)

        real, fake = (logits([decode_resized(picture, size) for picture in pictures]) for pictures in (reals, fakes))
        pairs = list(zip(reals, donors, strict=True))
        changed = {name: logits([transplanted(name, *pair, size) for pair in pairs]) for name in TRANSPLANTS}
        return cls((own[0], own[1]), (real, fake), changed)
