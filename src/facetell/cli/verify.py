"""``facetell verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options

__all__ = ["command"]


@click.command("verify")
@options.detector_argument
@options.json_option
def command(detector: Path, as_json: bool) -> None:
    """Check a detector whole: files and hashes, tensors, and that its self-test gives the stored logits again.

    \b
    Example:
      facetell verify detector
    """
    from facetell.api import verify

    options.print_result(verify(detector).as_dict(), as_json, _print, detector)


def _print(result: dict[str, Any], detector: Path) -> None:
    tested = ", ".join(f"{name} {apart:.1e}" for name, apart in result["selftest"].items())
    points = ", ".join(f"{name} {value:.4g}" for name, value in result["operating_points"].items())
    click.echo(
        f"{detector}: whole. {result['method']} at {result['size']}×{result['size']}, {result['parameters']:,} "
        f"parameters, {result['files']} files, self-test within {tested}; "
        f"operating points: {points}"
    )
