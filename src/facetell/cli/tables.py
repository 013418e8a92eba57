"""Tables for people on stdout."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import click

from facetell.cli.options import print_warnings

__all__ = [
    "print_adaptation",
    "print_audit",
    "print_comparison",
    "print_explanation",
    "print_history",
    "print_report",
    "print_stress",
    "print_summary",
    "print_watch",
]


def print_summary(summary: dict[str, Any]) -> None:
    """Print what ``inspect`` counted: nested dicts become indented lines."""
    _print_nested(summary, 0)


def _print_nested(values: dict[str, Any], depth: int) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            click.echo(f"{'  ' * depth}{key}")
            _print_nested(value, depth + 1)
        else:
            shown = f"{value:,}" if isinstance(value, int) else value
            click.echo(f"{'  ' * depth}{key:<{24 - 2 * depth}} {shown}")


def print_report(report: dict[str, Any], out: Path) -> None:
    """Print the numbers of a report with their 95% intervals, and where the rest is."""
    counts, metrics = report["counts"], report["metrics"]
    click.echo(
        f"{counts['n']:,} faces ({counts['n_real']:,} real, {counts['n_fake']:,} fake) of {counts['groups']:,} groups, "
        + (
            "uncalibrated"
            if report["threshold"] is None
            else f"threshold {report['threshold']:.3f} ({report['threshold_rule']})"
        )
    )
    for name, found in metrics.items():
        click.echo(f"  {name:<20}{_number(found['value'])}   {_number(found['low'])} to {_number(found['high'])}")
    if report["videos"]:
        found = report["videos"]
        parts = [f"{name} {_number(found['metrics'][name]['value'])}" for name in ("auroc", "recall", "fpr")]
        click.echo(f"  {found['counts']['n']:,} whole videos: {', '.join(parts)}")
    if report["unlike"] is not None:
        hits = sum(row["unlike"]["hits"] for row in report["sources"])
        click.echo(f"  {hits:,} faces are unlike all the detector knows: unsure for `detect`, counted above")
    print_warnings(report["warnings"])
    click.echo(f"report: {out / 'report.md'}")


def print_comparison(comparison: dict[str, Any], out: Path) -> None:
    """Print the AUROC of each report with its 95% interval, what may be concluded, and where the rest is."""
    for report in comparison["reports"]:
        area = report["metrics"]["auroc"]
        interval = f"{_number(area['low'])} to {_number(area['high'])}"
        click.echo(f"AUROC {_number(area['value'])}   {interval}   {report['name']}")
    for one in comparison["comparisons"]:
        click.echo(one["conclusion"])
    print_warnings(comparison["warnings"])
    click.echo(f"comparison: {out / 'compare.md'}")


def print_explanation(explanation: dict[str, Any], out: Path) -> None:
    """Print how many faces were explained, whether the maps can be believed, and where the pictures are."""
    from facetell.explanation.pointing import pointing_sentence

    count, kinds = len(explanation["faces"]), explanation["kinds"]
    click.echo(f"{count:,} face{'s' * (count != 1)}: {', '.join(kind['title'] for kind in kinds.values())}")
    for sentence in (explanation["sanity"] or {"sentences": []})["sentences"]:
        click.echo(sentence)
    for key, game in (explanation["pointing"] or {"kinds": {}})["kinds"].items():
        click.echo(pointing_sentence(kinds[key]["title"], game))
    print_warnings(explanation["warnings"])
    click.echo(f"explanation: {out / 'report.md'}")


def print_stress(found: dict[str, Any], out: Path) -> None:
    """Print the summary, the AUROC of each corruption and strength, the speed, and where the rest is."""
    from facetell.reporting.stress import headline, speed_of

    click.echo(headline(found))
    click.echo(f"  {'AUROC at strength':<24}{'none':>8}" + "".join(f"{level:>8}" for level in range(1, 6)))
    clean = found["clean"]["auroc"]["value"]
    for entry in found["corruptions"]:
        areas = [clean, *(one["auroc"]["value"] for one in entry["strengths"])]
        click.echo(
            f"  {entry['title']:<24}" + "".join(f"{'–' if area is None else format(area, '.3f'):>8}" for area in areas)
        )
    click.echo(speed_of(found))
    print_warnings(found["warnings"])
    click.echo(f"stress report: {out / 'stress.md'}")


def print_audit(audit: dict[str, Any], out: Path | None) -> None:
    """Print the leaks, the AUROC of each shortcut with its 95% interval, the findings, and where the rest is."""
    leaks = audit["leaks"]
    near = leaks["near"]["by_split"][audit["split"]]
    click.echo(
        f"{audit['rows']:,} faces: {leaks['groups']['count']:,} groups in two splits, "
        f"{leaks['identical']['across_splits']['rows']:,} identical faces in two splits, "
        f"{near['rows']:,} of {near['of']:,} faces of {audit['split']} like one of another split"
    )
    for one in sorted(audit["shortcuts"]["families"], key=lambda one: -float(one["auroc"])):
        interval = f"{_number(one['low'])} to {_number(one['high'])}"
        click.echo(f"  AUROC {_number(one['auroc'])}   {interval}   {one['family']} alone")
    if not audit["shortcuts"]["families"]:
        click.echo("  shortcuts not measured: a label has fewer than 20 groups")
    print_warnings(audit["findings"])
    if not audit["findings"]:
        click.echo("nothing found")
    if out is not None:
        click.echo(f"audit: {out / 'audit.md'}")


def print_watch(watch: dict[str, Any], out: Path | None) -> None:
    """Print what is concluded, each batch with its shares and distances, the next step, and where the rest is."""
    for sentence in watch["sentences"]:
        click.echo(sentence)
    click.echo(f"  {'files':>8}{'fake':>8}{'unsure':>8}{'unjudged':>10}{'KS':>7}{'p':>8}  batch")
    for batch in watch["batches"]:
        shares = "".join(
            f"{'–' if share is None else format(share['value'], '.1%'):>{width}}"
            for share, width in zip((batch["shares"][name] for name in _SHARES), (8, 8, 10), strict=True)
        )
        tests = [f"{test['ks']:7.3f}{test['p_holm']:8.4f}" for test in batch["tests"]] or [f"{'–':>7}{'–':>8}"]
        click.echo(f"  {batch['files']:>8,}{shares}{tests[0]}  {batch['name']}")
        for other in tests[1:]:
            click.echo(f"{'':36}{other}")
    print_warnings(watch["warnings"])
    if watch["next"]:
        click.echo(f"hint: {watch['next']}", err=True)
    if out is not None:
        click.echo(f"watch: {out / 'watch.md'}")


_SHARES = ("fake", "unsure", "unjudged")


def _number(value: float | None) -> str:
    return "     –" if value is None else f"{value:.4f}"


def print_adaptation(record: dict[str, Any], out: Path | None) -> None:
    """Print what was tried, what was chosen and why, and the acceptance checks; ``out`` is None when it was refused."""
    print_warnings(record["sentences"])
    click.echo(f"  {'AUROC, new':>12}{'fall, old':>12}  tried ({record['before']:.3f} before)")
    for each in record["tried"]:
        fall = "–" if each["fall"] is None else f"{each['fall']:.4f}"
        notes = ["" if each["allowed"] else "falls too far", "" if each["finished"] else "given up after one fold"]
        mark = "  ← chosen" if each["candidate"] == record["chosen"] else "  " + ", ".join(filter(None, notes))
        click.echo(f"  {each['auroc']:12.3f}{fall:>12}  {each['candidate']}{mark}")
    for name, why in record["unfit"].items():
        click.echo(f"  {'–':>12}{'–':>12}  {name}: {why}")
    click.echo(f"{record['chosen']}: {record['why']}")
    for check in record["checks"].values():
        click.echo(f"{'passed ' if check['passed'] else 'REFUSED'}  {check['says']}")
    if out is not None:
        rates = record.get("at_threshold")
        click.echo(
            f"at its threshold it finds {rates['recall']:.0%} of new fakes and calls {rates['fpr']:.0%} of new reals fake, "
            "measured on faces that chose neither network nor threshold"
            if rates
            else f"it is uncalibrated: it gives logits and no decision; next: facetell calibrate {out} FACESET"
        )
        click.echo(f"{out}: a detector (facetell history {out})")


def print_history(history: dict[str, Any]) -> None:
    """Print how a detector was fitted, and each kind of fake it has learned since."""
    fitted = history["fitted"]
    data = fitted["data"]
    shots = f", {data['shots']} shots per class" if data.get("shots") else ""
    click.echo(
        f"1. fitted by {fitted['method']} from {fitted['start']}, on split {data['split']} of {data['name']} "
        f"({data['images']:,} images{shots}), seed {fitted['seed']}"
    )
    if data["sources"]:
        said = f"   sources: {', '.join(data['sources'])}"
        click.echo(textwrap.fill(said, 100, subsequent_indent=" " * 6, break_on_hyphens=False, break_long_words=False))
    for number, event in enumerate(history["adapted"], 2):
        new = event["checks"]["new"]
        click.echo(
            f"{number}. adapted {event['when']} from {event['parent']['name']} ({event['parent']['identity']}), "
            f"seed {event['seed']}: {new['n_fake']} fake and {new['n_real']} real new faces ({event['new']['fingerprint'][:16]})"
        )
        for each in event["tried"]:
            fall = "" if each["fall"] is None else f", old falls by {each['fall']:.4f}"
            click.echo(f"     tried {each['candidate']}: new AUROC {each['auroc']:.3f}{fall}")
        click.echo(f"   chose {event['chosen']}: {event['why']}")
        for name, check in event["checks"].items():
            if name in ("new", "old") or name.startswith("at "):
                click.echo(f"   checked: {check['says']}")
        for sentence in event["sentences"]:
            click.echo(f"   note: {sentence}")
