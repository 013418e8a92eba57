"""The model card of a detector: its ``README.md``, written when it is made, free to edit afterwards."""

from __future__ import annotations

from typing import Any

from facetell.detector.calibration import DEFAULT, OperatingPoint, calibration_of
from facetell.detector.known_faces import UNLIKE
from facetell.detector.lineage import history_of
from facetell.detector.shortcut_warnings import shortcut_warnings

__all__ = ["model_card"]


def model_card(name: str, description: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Markdown for people: what the detector is, what it was made from, how well it did on validation, its limits."""
    settings, data = description["settings"], description["data"]
    shots = f", {data['shots']} shots per class" if data["shots"] else ""
    measured = {key: value for key, value in metrics.get("validation", {}).items() if not key.startswith("n")}
    rows = "\n".join(f"| {key} | {value:.4f} |" for key, value in measured.items())
    warned = "".join(f"- **Shortcut**: {line}\n" for line in shortcut_warnings(data.get("shortcuts", [])))
    learned = "".join(f"- **Adapted**: {_learned(event)}\n" for event in history_of(description)[1:])
    table = f"""
## On validation (the data that chose what is said above, so rather too good)

| metric | value |
| --- | --- |
{rows}
"""
    return f"""# {name}

A detector of fake face images, made with facetell {description["versions"]["facetell"]}.
It takes face crops at {settings["size"]}×{settings["size"]} pixels and gives the probability that a face is fake.

- **Method**: {description["method"]} on {settings["backbone"]}, starting from {description["lineage"]["start"]}
- **Fitted on**: split *{data["split"]}* of {data["name"]} ({data["images"]:,} images{shots}; sources: \
{", ".join(data["sources"])}; fingerprint `{data["fingerprint"][:16]}`), seed {description["seed"]}
{_calibrated(description)}\
{_knows(metrics.get("known"))}{warned}{_made(data.get("made"))}{learned}
Operating points, calibrations and an *unsure* band set later with `facetell threshold` and `facetell calibrate` are in
`detector.json`; `facetell verify` lists them.
{table if measured else ""}
## Limits

It knows the kinds of fakes it was fitted on. On another generator, another camera or another way of cropping its
scores can be no better than chance: measure with `facetell evaluate` on your own labelled faces before acting on
them, and never on this card alone. Compression, resizing and beauty filters move scores.

## Use

```
facetell verify {name}
facetell detect {name} PICTURE...
facetell evaluate {name} FACESET --split test -o report
```
"""


def _calibrated(description: dict[str, Any]) -> str:
    calibration = calibration_of(description)
    if calibration is None:
        return (
            "- **Uncalibrated**: it gives logits and no decision until `facetell calibrate` has seen labelled faces\n"
        )
    face, point = calibration.face, calibration.face.points[DEFAULT]
    return (
        f"- **Temperature, threshold and (where there are epochs) the epoch chosen on**: split *{face.on.split}* "
        f"({face.on.n:,} images), never on test\n"
        f"- **Temperature when made**: {face.curve.temperature:.4f}\n"
        f"- **Threshold when made**: {point.value:.4f} (rule: {point.rule}); a score from there on is called fake\n"
    ) + "".join(f"- **Point {name}**: {_held(each)}\n" for name, each in face.points.items() if each.domains)


def _held(point: OperatingPoint) -> str:
    """What an operating point does in each domain, and what is stated."""
    found = [
        f"{'old' if domain == 'old' else f'new (`{domain}`)'} reals called fake {held.fpr:.1%} of {held.n_real:,} "
        f"(at most {held.fpr_high:.1%}), fakes found {held.recall:.0%} of {held.n_fake:,}"
        for domain, held in point.domains.items()
    ]
    stated = next(iter(point.domains.values())).stated
    return f"rule {point.rule}, {stated:.1%} of the reals in each domain may be called fake; {'; '.join(found)}"


def _knows(groups: int | None) -> str:
    """A line on faces unlike all it knows, where ``groups`` of known faces are enough to say what that is."""
    if not groups or UNLIKE * (groups + 1) < 1:
        return ""
    return (
        f"- **Faces unlike all it knows** are unsure, whatever their score: it keeps validation faces of {groups} groups, and "
        f"calls {UNLIKE:.0%} of the faces like those unlike them, too (`facetell detect --unlike`)\n"
    )


def _learned(event: dict[str, Any]) -> str:
    new, old = event["checks"]["new"], event["checks"].get("old")
    kept = (
        f"; on old faces {old['before']:.3f} → {old['after']:.3f}" if old else "; without a replay buffer of old faces"
    )
    return (
        f"{new['n_fake']} fake and {new['n_real']} real faces of a new kind, by {event['chosen']}: AUROC on held-out ones "
        f"{new['before']:.3f} → {new['after']:.3f}{kept} (`facetell history`)"
    )


def _made(made: dict[str, Any] | None) -> str:
    """A line that says so where no fake of the data is one that somebody used."""
    if made is None:
        return ""
    origin = made["from"]
    return (
        f"- **Fitted on made fakes**: it saw real faces alone ({origin['real']:,} of {origin['faceset']}, fingerprint "
        f"`{origin['fingerprint'][:16]}`) and fakes made from them ({made['kind']}), in validation too. How well it knows "
        "fakes as they are met must be measured on some.\n"
    )
