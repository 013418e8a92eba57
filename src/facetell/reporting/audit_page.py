"""The page of an audit for people: ``audit.md``, and the sentences that say what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from facetell.detector.shortcut_warnings import EXPLAINS, suspicious
from facetell.reporting.markdown import shown, table, text

__all__ = ["findings", "render"]

_SMALL = 0.01
_TWICE = 2.0
_PICTURES = {
    "shortcuts.png": "AUROC of each family alone",
    "near-duplicates.png": "The pairs across splits that look most alike",
}


def findings(audit: Mapping[str, Any]) -> list[str]:
    """The sentences to act on, the gravest first; empty when all is quiet."""
    leaks, found = audit["leaks"], []
    if leaks["groups"]["count"]:
        found.append(f"{leaks['groups']['count']:,} groups are in two splits, such as {leaks['groups']['examples'][0]}")
    for key, where in (("both_labels", "with both labels"), ("across_splits", "in two splits")):
        same = leaks["identical"][key]
        if same["rows"]:
            one, other = same["examples"][0]
            found.append(
                f"{same['rows']:,} pictures are identical {where}, such as {one['path']} ({one['split']}, {one['label']}) "
                f"and {other['path']} ({other['split']}, {other['label']})"
            )
    near = leaks["near"]
    if near["rows"]:
        here = near["by_split"][audit["split"]]
        one, other = near["examples"][0]["rows"]
        found.append(
            f"{here['rows']:,} of {here['of']:,} pictures of {audit['split']} look like one of another split, and "
            f"{near['rows']:,} in all; closest: {one['path']} ({one['split']}) and {other['path']} ({other['split']})"
        )
    follows = {one["family"]: one["follows"] for one in (audit["detector"] or {}).get("follows", [])}
    for one in suspicious(audit["shortcuts"]["families"]):
        words = "alone tells real from fake" if one["verdict"] == "strong" else "alone tells something of the label"
        heard = "; the detector follows it" if follows.get(one["family"]) else ""
        found.append(
            f"{one['family']} {words}: AUROC {one['auroc']:.2f} ({one['low']:.2f}–{one['high']:.2f}, n = {one['n']:,}){heard}"
        )
    worst = (audit["detector"] or {}).get("worst_groups")
    if worst and worst["share"] is not None and worst["p"] < _SMALL and worst["share"] > _TWICE * worst["chance"]:
        found.append(
            f"{worst['share']:.0%} of the detector's {worst['errors']:,} errors are in {worst['worst']:,} of "
            f"{worst['groups']:,} groups; by chance it would be {worst['chance']:.0%}"
        )
    return [*found, *(audit["detector"] or {}).get("warnings", [])]


_NOTHING = "Nothing found: no leak between splits, no shortcut to the label"


def render(audit: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """Return the page; ``pictures`` are the files beside it."""
    several = len(audit["findings"]) > 1
    parts = [
        f"# Audit of {text(audit['faceset'])}",
        f"**{len(audit['findings'])} findings.**"
        if several
        else f"**{text(''.join(audit['findings']) or _NOTHING)}.**",
        "\n".join(f"- {text(line)}" for line in audit["findings"]) if several else "",
        f"{audit['rows']:,} faces, fingerprint `{audit['fingerprint'][:16]}`, split *{audit['split']}*, "
        f"seed {audit['seed']}. What each number means: `docs/audit.md` of facetell. Finding nothing is no proof that there "
        "is nothing.",
        *_leaks(audit["leaks"]),
        *_shortcuts(audit["shortcuts"]),
        *(_detector(audit["detector"]) if audit["detector"] else []),
        *(f"![{_PICTURES[name]}]({name})" for name in pictures),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _leaks(leaks: Mapping[str, Any]) -> list[str]:
    same, near = leaks["identical"], leaks["near"]
    rows = [
        ["groups in two splits", f"{leaks['groups']['count']:,}"],
        ["identical pictures in two splits", f"{same['across_splits']['rows']:,}"],
        ["identical pictures with both labels", f"{same['both_labels']['rows']:,}"],
        *(
            [f"near duplicates: {text(name)} with another split", f"{found['rows']:,} of {found['of']:,}"]
            for name, found in near["by_split"].items()
        ),
    ]
    parts = ["## Leaks", table(["what", "faces"], rows, numbers=1)]
    if near["examples"]:
        pairs = [
            [
                f"{pair['difference']:.3f}",
                *(f"{row['split']}, {row['label']}: {text(row['path'])}" for row in pair["rows"]),
            ]
            for pair in near["examples"]
        ]
        parts.append(table(["difference", "one", "other"], pairs))
    return parts


def _shortcuts(shortcuts: Mapping[str, Any]) -> list[str]:
    if not shortcuts["families"]:
        return ["## Shortcuts", "Not measured: a label has fewer than 20 groups."]
    where = (
        f"learned on *{shortcuts['learned_on']}*, measured on *{shortcuts['measured_on']}*"
        if shortcuts["learned_on"] != shortcuts["measured_on"]
        else f"learned and measured on *{shortcuts['measured_on']}* in five folds, groups apart"
    )
    rows = [
        [
            text(one["family"]),
            "may be legitimate" if one["family"] in EXPLAINS else one["verdict"],
            shown({"value": one["auroc"], "low": one["low"], "high": one["high"]}),
        ]
        for one in sorted(shortcuts["families"], key=lambda one: -one["auroc"])
    ]
    n = shortcuts["families"][0]["n"]
    return [
        "## Shortcuts",
        f"How well each of these alone tells fake from real, {where} (n = {n:,}).",
        table(["measured", "shortcut", "AUROC"], rows, numbers=1),
    ]


def _detector(found: Mapping[str, Any]) -> list[str]:
    sources = [
        [text(one["source"]), one["label"], f"{one['n']:,}", shown({**one, "value": one["rate"]})]
        for one in found["sources"]
    ]
    worst = found["worst_groups"]
    parts = [
        f"## Errors of {text(found['name'])}",
        f"{found['errors']:,} of {found['n']:,} faces at threshold {found['threshold']:.3f}.",
        table(["source", "label", "n", "error rate"], sources, numbers=2),
    ]
    if worst["share"] is not None:
        groups = [[text(one["group"]), f"{one['errors']:,}", f"{one['n']:,}"] for one in worst["examples"]]
        parts += [
            f"The {worst['worst']:,} groups with the most errors, of {worst['groups']:,}, have {worst['share']:.1%} of "
            f"them; {worst['chance']:.1%} by chance (95% of draws up to {worst['chance_high']:.1%}, p = {worst['p']:.3f}).",
            table(["group", "errors", "faces"], groups, numbers=2),
        ]
    if found["follows"]:
        rows = [
            [text(one["family"]), "yes" if one["follows"] else "no", shown(one["real"]), shown(one["fake"])]
            for one in found["follows"]
        ]
        parts += [
            "Rank correlation of the detector's logit with that of each measurement, within each class:",
            table(["measured", "followed", "among real", "among fake"], rows, numbers=2),
        ]
    return parts
