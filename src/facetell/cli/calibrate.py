"""``facetell calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options
from facetell.progress import Bars

__all__ = ["command"]


@click.command("calibrate")
@options.detector_argument
@options.faceset_argument
@options.choice_option("--method", ("temperature", "isotonic"), "One number, or from 1,000 faces on any rising curve.")
@options.split_option("Split to calibrate on, never test.", default="validation")
@options.device_option
@options.runtime_option
@options.json_option
def command(detector: Path, faceset: Path, as_json: bool, **given: Any) -> None:
    """Measure how the logits of DETECTOR become probabilities of fake, on a split of a labelled face set.

    The ranking of faces and every decision stay: thresholds and the unsure band move with the scores. A detector that is
    uncalibrated also gets its operating point 'default', by balanced accuracy.

    \b
    Example:
      facetell calibrate detector ours --method isotonic
    """
    from facetell.api import calibrate

    with Bars() as progress:
        found = calibrate(detector, faceset, **given, progress=progress)
    options.print_result(found.as_dict(), as_json, _print, detector)


def _print(found: dict[str, Any], detector: Path) -> None:
    before, after = found["before"], found["after"]
    ece, loss = (f"{before['ece']:.4f} → ", f"{before['log_loss']:.4f} → ") if before else ("", "")
    click.echo(
        f"{detector}: calibrated on {found['n_real']:,} real and {found['n_fake']:,} fake faces, {found['method']}; on "
        f"these ECE {ece}{after['ece']:.4f}, log loss {loss}{after['log_loss']:.4f}"
    )
    options.print_warnings(found["warnings"])
