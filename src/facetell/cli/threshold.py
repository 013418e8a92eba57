"""``facetell threshold``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facetell.progress import Bars

if TYPE_CHECKING:
    from facetell.api._threshold import Chosen

__all__ = ["command"]


@click.command("threshold")
@click.argument("detector", type=click.Path(path_type=Path))
@click.argument("faceset", type=click.Path(path_type=Path))
@click.option("--at", metavar="RULE", help="Rule that chooses the operating point, see below.")
@click.option("--name", help="Name to store it by; 'default' decides unless another is asked for.  [default: the rule]")
@click.option("--unsure", "coverage", type=float, help="Store an unsure band of this coverage, such as 0.9; 0: none.")
@click.option("--split", default="validation", show_default=True, help="Split to choose on, never test.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(
    detector: Path,
    faceset: Path,
    at: str | None,
    name: str | None,
    coverage: float | None,
    split: str,
    device: str,
    as_json: bool,
) -> None:
    """Choose when DETECTOR says fake, and when it is unsure, on a split of a labelled face set.

    RULE is balanced_accuracy (or youden, the same), f1, accuracy, eer, fpr=0.01 (most fakes found with at most that share
    of false alarms), recall=0.95, precision=0.9, or cost=10 (a missed fake costs 10 false alarms). The operating point is
    stored in the detector with its rates and their 95% intervals; detect and evaluate take it with --at NAME.

    \b
    Example:
      facetell threshold detector faces --at fpr=0.01
      facetell threshold detector ours --at recall=0.95 --name default
      facetell threshold detector faces --unsure 0.9
    """
    from facetell.api import threshold

    with Bars() as progress:
        found = threshold(
            detector, faceset, split=split, at=at, name=name, coverage=coverage, device=device,
            progress=progress,
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
        return
    _show(found.face, found.name, "face")
    if found.video:
        _show(found.video, found.name, "video")
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)


def _show(chosen: Chosen, name: str | None, unit: str) -> None:
    point, band = chosen.point, chosen.unsure
    if point:
        click.echo(
            f"{name} for a {unit}: {point.value:.4f}, on {point.on.n_real:,} real and {point.on.n_fake:,} fake of "
            f"{point.on.groups:,} groups"
        )
        for rate in ("fpr", "recall", "precision"):
            found = point.rates[rate]
            if found["value"] is not None:
                click.echo(f"  {rate:<10}{found['value']:.4f}   {found['low']:.4f} to {found['high']:.4f}")
    if band:
        low, high = band.fake_from, band.real_to
        between = (
            f"{low:.4f} to {high:.4f}" if low <= high else "none but what the threshold leaves: the classes are apart"
        )
        click.echo(f"unsure for a {unit} at coverage {band.coverage:g}: {between}")
