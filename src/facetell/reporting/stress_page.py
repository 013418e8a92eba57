"""The page of ``stress`` for people: ``stress.md`` from the numbers of ``stress.json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from facetell.reporting.markdown import flat, shown, table, text

__all__ = ["headline", "render", "speed_of"]

_NOTHING = "–"


def headline(found: Mapping[str, Any]) -> str:
    """Return the result in two sentences, without markup."""
    summary, clean = found["summary"], found["clean"]["auroc"]["value"]
    survives, counts = summary["robustness"], found["counts"]
    first = (
        "The detector is no better than chance on untouched faces: there is nothing to lose"
        if survives is None
        else f"Robustness {survives:.2f}: over {summary['conditions']} conditions the mean AUROC is "
        f"{summary['mean_auroc']:.3f}, on the untouched {counts['n']:,} faces {clean:.3f}{_interval(summary['difference'])}"
    )
    return (
        f"{first}. Lowest AUROC: {_at(summary['worst'], 'auroc')}. At the fixed threshold recall falls to "
        f"{_at(summary['lowest_recall'], 'recall')}, FPR rises to {_at(summary['highest_fpr'], 'fpr')}."
    )


def _at(condition: Mapping[str, Any], key: str) -> str:
    return f"{condition[key]['value']:.3f} ({condition['title']}, {condition['unit']} {condition['value']:g})"


def _interval(difference: Mapping[str, float | None]) -> str:
    if difference["low"] is None:
        return ""
    return f" (difference {difference['value']:+.3f}, {difference['low']:+.3f} to {difference['high']:+.3f})"


def speed_of(found: Mapping[str, Any]) -> str:
    """Return how fast it went and what took the time."""
    speed = found["speed"]
    whole = max(sum(speed["parts"].values()), 1e-9)
    shares = ", ".join(f"{name} {spent / whole:.0%}" for name, spent in speed["parts"].items())
    return (
        f"{speed['images']:,} pictures in {speed['seconds']:,.0f} s, {speed['images_per_s']:,.0f} images/s; "
        f"processor time {speed['processor_seconds']:,.0f} s: {shares}"
    )


def _areas(found: Mapping[str, Any]) -> str:
    clean = f"{found['clean']['auroc']['value']:.3f}"
    rows = [
        [
            text(entry["title"]),
            text(entry["unit"]),
            clean,
            *(f"{one['auroc']['value']:.3f}" for one in entry["strengths"]),
        ]
        for entry in found["corruptions"]
    ]
    return table(["corruption", "strength is", "none", *"12345"], rows, numbers=6)


def _details(found: Mapping[str, Any]) -> Iterable[str]:
    for entry in found["corruptions"]:
        rows = [["none", *(shown(found["clean"][key]) for key in ("auroc", "recall", "fpr")), _NOTHING]]
        for one in entry["strengths"]:
            difference = one["difference"]
            change = _NOTHING
            if difference["low"] is not None:
                change = f"{difference['value']:+.3f} ({difference['low']:+.3f} to {difference['high']:+.3f})"
            rows.append([f"{one['value']:g}", *(shown(one[key]) for key in ("auroc", "recall", "fpr")), change])
        yield f"### {text(entry['title'])}"
        yield table([text(entry["unit"]), "AUROC", "recall", "FPR", "AUROC less clean"], rows, numbers=5)


def render(found: Mapping[str, Any]) -> str:
    """Return the Markdown page of what :func:`~facetell.reporting.stress.write_stress` returns."""
    bootstrap, counts = found["bootstrap"], found["counts"]
    parts = ["# Stress test of a facetell detector", f"**{text(headline(found))}**"]
    if found["warnings"]:
        parts.append("\n".join(f"> **Note:** {text(warning)}\n>" for warning in found["warnings"]).removesuffix("\n>"))
    parts += [
        "Robustness is (mean AUROC under all conditions − 0.5) / (clean AUROC − 0.5), kept within 0 and 1: 1 means that "
        "nothing is lost, 0 that nothing is left. It says nothing of the threshold: see recall and FPR.",
        f"Crops were corrupted at their own size ({found['context']['crop_side_median']:g} pixels in the median) and then "
        f"resized to the {found['context']['input_size']} pixels the detector sees, which hides what is finer.",
        "## AUROC",
        _areas(found),
        "## Curves",
        "Thin dashes are the untouched faces, bands the intervals.",
    ]
    if found["plots"]:
        parts += [f"![AUROC, recall and FPR over strength]({found['plots']['curves']})", "## What it looks like"]
        parts += [f"![one face under every condition]({found['plots']['sample']})"]
    else:
        parts.append("No plots: they need matplotlib. `pip install 'facetell[report]'`, then stress again.")
    parts += [
        "## Every condition",
        f"Recall (share of fakes found) and FPR (share of reals called fake) are at the detector's threshold "
        f"{found['threshold']:.4g}, which stays the same. {bootstrap['level']:.0%} intervals.",
        *_details(found),
        "## How it was made",
        table(
            ["", ""],
            [
                *([text(key), text(flat(value))] for key, value in found["context"].items()),
                ["faces", f"{counts['n_real']:,} real, {counts['n_fake']:,} fake, {counts['groups']:,} groups"],
                [
                    "intervals",
                    f"percentile bootstrap over groups, {bootstrap['repetitions']:,} repetitions, seed "
                    f"{bootstrap['seed']}; differences draw the same groups for both",
                ],
                ["speed", text(speed_of(found))],
            ],
        ),
        "`predictions.parquet` holds the logit of every face under every condition.",
    ]
    return "\n\n".join(parts) + "\n"
