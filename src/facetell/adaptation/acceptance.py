"""The gate of ``adapt``: what an adapted detector must show before it is written."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from facetell.adaptation.transplants import TRANSPLANTS, transplanted
from facetell.evaluation.choice_gain import Gain
from facetell.evaluation.comparison import delong
from facetell.evaluation.metrics import auroc
from facetell.faceset.table import FaceSet
from facetell.pixels.decode import decode_resized

__all__ = ["CLOSES", "RISK", "WRONG_WAY", "gain_gate", "label_gate", "old_gate", "shortcut_gate"]

KNOWN = 0.95
"""AUROC of the old detector from which a kind is no new one."""
RISK = 0.1
"""Share of resamples without a gain up to which a gain is believed."""
CLOSES = 0.25
"""Part of the way from real to fake that one borrowed thing may take a real face. Clean batches stay below 0.1; a black
border, a tint and a hard compression planted in 50 fakes gave 0.45, 0.62 and 0.35 (docs/results.md)."""
WRONG_WAY = 0.25
"""AUROC of the old detector on the new labels below which these look exchanged. Not nearer to 0.5: generated faces can be
smoother than real ones, and a detector of face swaps ranked them at 0.30."""
CLEAR = 3.0
"""Standard errors that the mean logits of fakes and reals must lie apart for a part of that way to mean anything."""
LITTLE = 0.2
"""And in logits, some five points of probability: an expert that has learned nothing hardly moves its own."""
_DONORS = 60

Floats = npt.NDArray[np.float64]


def old_gate(
    labels: npt.NDArray[np.int8],
    groups: npt.NDArray[Any],
    before: Floats,
    after: Floats,
    margin: float,
    taught: int = 0,
) -> dict[str, Any]:
    """Non-inferiority on old faces: the 95% lower bound (one-sided) of the change of AUROC must be above ``-margin``.

    ``taught``: how many of them an earlier `adapt` learned from; the new network learned from none.
    """
    change = delong(labels, after, before, groups)
    bound = change.difference - NormalDist().inv_cdf(0.95) * change.standard_error
    passed = bound >= -margin
    found: dict[str, Any] = {
        "n": len(labels),
        "taught": taught,
        "groups": change.groups,
        "before": auroc(labels, before),
        "after": auroc(labels, after),
        "change": change.difference,
        "low": change.low,
        "high": change.high,
        "bound": bound,
        "margin": margin,
        "passed": passed,
    }
    again = f" (but {taught:,} by an earlier adapt)" if taught else ""
    verb = "rose" if change.difference > 0 else "fell"
    found["says"] = (
        f"on {len(labels):,} old faces that nothing was learned from{again} the AUROC {verb} from {found['before']:.3f} to "
        f"{found['after']:.3f} ({change.low:+.3f} to {change.high:+.3f}); "
        + (f"a fall of more than {margin:g} is ruled out" if passed else f"a fall of {margin:g} is not ruled out")
    )
    return found


def gain_gate(labels: npt.NDArray[np.int8], gain: Gain) -> dict[str, Any]:
    """The AUROC on new faces that were held out must rise, and not by luck: see :data:`RISK`."""
    passed = gain.difference > 0 and gain.risk <= RISK
    fakes = int(labels.sum())
    return {
        "n_real": len(labels) - fakes,
        "n_fake": fakes,
        "before": gain.before,
        "after": gain.after,
        "gain": gain.difference,
        "low": gain.low,
        "high": gain.high,
        "risk": gain.risk,
        "passed": passed,
        "says": (
            f"on new faces that were held out ({fakes} fake, {len(labels) - fakes} real) the AUROC goes from "
            f"{gain.before:.3f} to {gain.after:.3f} ({gain.low:+.3f} to {gain.high:+.3f}, corrected for choosing the best); "
            + (
                f"{gain.risk:.0%} of resamples show no gain"
                if passed
                else "the detector tells these apart already"
                if gain.before >= KNOWN
                else f"that may be luck: {gain.risk:.0%} of resamples show no gain, {RISK:.0%} are allowed"
            )
        ),
    }


def label_gate(labels: npt.NDArray[np.int8], groups: npt.NDArray[Any], before: Floats) -> dict[str, Any]:
    """The old detector must not rank the new reals far above the new fakes, which it does when labels are exchanged."""
    area = auroc(labels, before)
    error = delong(labels, before, np.zeros(len(labels)), groups).standard_error
    high = min(area + NormalDist().inv_cdf(0.95) * error, 1.0)
    passed = high >= WRONG_WAY
    return {
        "auroc": area,
        "high": high,
        "passed": passed,
        "says": f"the old detector ranks the new labels with AUROC {area:.3f}"
        + (
            ""
            if passed
            else ": your reals look more fake than your fakes, so the labels may be exchanged (--trust-labels)"
        ),
    }


def shortcut_gate(
    faces: FaceSet, size: int, score: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]], seed: int
) -> list[dict[str, Any]]:
    """Give real faces the border, the colours, the compression or the resolution of a fake: they must not become fakes.

    ``score`` judges uint8 (N, size, size, 3). Of each family: the part of the way from the mean logit of reals to that
    of fakes which reals go (``closes``), with its 95% interval over reals. Where that way is within the noise of these
    logits, or next to nothing, there is nothing to measure a part of, and the other checks decide.
    """
    labels = faces.labels()
    rng = np.random.default_rng(seed)
    real, fake = (np.sort(rng.permutation(np.flatnonzero(labels == label))[:_DONORS]) for label in (0, 1))
    reals, fakes = ([picture for _, some in faces.pick(rows, 64) for picture in some] for rows in (real, fake))
    donors = [fakes[k % len(fakes)] for k in rng.permutation(len(reals))]

    plain = score(np.stack([decode_resized(picture, size) for picture in reals])).astype(np.float64)
    shown = score(np.stack([decode_resized(picture, size) for picture in fakes])).astype(np.float64)
    gap = float(shown.mean() - plain.mean())
    told = gap > max(LITTLE, CLEAR * float(np.sqrt(shown.var() / len(shown) + plain.var() / len(plain))))
    found = []
    for name in TRANSPLANTS:
        changed = np.stack([transplanted(name, *pair, size) for pair in zip(reals, donors, strict=True)])
        closes = (score(changed).astype(np.float64) - plain) / max(gap, 1e-6)
        reach = 1.96 * float(closes.std(ddof=1)) / len(closes) ** 0.5 if len(closes) > 1 else float("inf")
        value = float(closes.mean())
        passed = not told or value < CLOSES
        found.append(
            {
                "family": name,
                "closes": value,
                "low": value - reach,
                "high": value + reach,
                "n": len(closes),
                "passed": passed,
                "says": f"a real face that is given the {name} of a fake goes {value:.0%} of the way to a fake"
                + ("" if passed else f": the {name} is a good part of what was learned, a shortcut")
                if told
                else f"fakes and reals are too near to each other to tell whether the {name} was learned",
            }
        )
    return found
