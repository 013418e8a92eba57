"""``facetell calibrate``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from facetell.progress import Bars

__all__ = ["command"]


@click.command("calibrate")
@click.argument("detector", type=click.Path(path_type=Path))
@click.argument("faceset", type=click.Path(path_type=Path))
@click.option(
    "--method",
    type=click.Choice(["temperature", "isotonic"]),
    default="temperature",
    show_default=True,
    help="One number, or from 1,000 faces on any rising curve.",
)
@click.option("--split", default="validation", show_default=True, help="Split to calibrate on, never test.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(detector: Path, faceset: Path, method: str, split: str, device: str, as_json: bool) -> None:
    """Measure how the logits of DETECTOR become probabilities of fake, on a split of a labelled face set.

    The ranking of faces and every decision stay: thresholds and the unsure band move with the scores. A detector that is
    uncalibrated also gets its operating point 'default', by balanced accuracy.

    \b
    Example:
      facetell calibrate detector ours --method isotonic
    """
    from facetell.api import calibrate

    with Bars() as progress:
        found = calibrate(detector, faceset, method=method, split=split, device=device, progress=progress)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
        return
    ece, loss = (f"{found.before.ece:.4f} → ", f"{found.before.log_loss:.4f} → ") if found.before else ("", "")
    click.echo(
        f"{detector}: calibrated on {found.n_real:,} real and {found.n_fake:,} fake faces, {method}; on these ECE "
        f"{ece}{found.after.ece:.4f}, log loss {loss}{found.after.log_loss:.4f}"
    )
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
