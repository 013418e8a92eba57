"""``facetell threshold``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options
from facetell.progress import Bars

__all__ = ["command"]


@click.command("threshold")
@options.detector_argument
@options.faceset_argument
@click.option("--at", metavar="RULE", help="Rule that chooses the operating point, see below.")
@click.option("--name", help="Name to store it by; 'default' decides unless another is asked for.  [default: the rule]")
@click.option("--unsure", "coverage", type=float, help="Store an unsure band of this coverage, such as 0.9; 0: none.")
@options.split_option("Split to choose on, never test.", default="validation")
@options.device_option
@options.runtime_option
@options.json_option
def command(detector: Path, faceset: Path, as_json: bool, **given: Any) -> None:
    """Choose when DETECTOR says fake, and when it is unsure, on a split of a labelled face set.

    RULE is balanced_accuracy (or youden, the same), f1, accuracy, eer, fpr=0.01 (most fakes found with at most that share
    of false alarms), worst-fpr=0.01 (at most that share in each source of reals), recall=0.95, precision=0.9, or cost=10
    (a missed fake costs 10 false alarms). The operating point is stored in the detector with its rates and their 95%
    intervals; detect and evaluate take it with --at NAME.

    \b
    Example:
      facetell threshold detector faces --at fpr=0.01
      facetell threshold detector ours --at recall=0.95 --name default
      facetell threshold detector faces --unsure 0.9
    """
    from facetell.api import threshold

    with Bars() as progress:
        found = threshold(detector, faceset, **given, progress=progress)
    options.print_result(found.as_dict(), as_json, _print)


def _print(found: dict[str, Any]) -> None:
    for unit in ("face", "video"):
        if found[unit]:
            _print_chosen(found[unit], found["name"], unit)
    options.print_warnings(found["warnings"])


def _print_chosen(chosen: dict[str, Any], name: str | None, unit: str) -> None:
    point, band = chosen["point"], chosen["unsure"]
    if point:
        on = point["on"]
        click.echo(
            f"{name} for a {unit}: {point['value']:.4f}, on {on['n_real']:,} real and {on['n_fake']:,} fake of "
            f"{on['groups']:,} groups"
        )
        for rate in ("fpr", "recall", "precision"):
            found = point["rates"][rate]
            if found["value"] is not None:
                click.echo(f"  {rate:<10}{found['value']:.4f}   {found['low']:.4f} to {found['high']:.4f}")
    if band:
        low, high = band["fake_from"], band["real_to"]
        between = (
            f"{low:.4f} to {high:.4f}" if low <= high else "none but what the threshold leaves: the classes are apart"
        )
        click.echo(f"unsure for a {unit} at coverage {band['coverage']:g}: {between}")
