"""``facetell verify``."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["command"]


@click.command("verify")
@click.argument("detector", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(detector: Path, as_json: bool) -> None:
    """Check a detector whole: files and hashes, tensors, and that its self-test gives the stored logits again.

    \b
    Example:
      facetell verify detector
    """
    from facetell.api import verify

    result = verify(detector)
    if as_json:
        click.echo(json.dumps(result.as_dict()))
        return
    points = ", ".join(f"{name} {value:.4g}" for name, value in result.operating_points.items())
    click.echo(
        f"{detector}: whole. {result.method} at {result.size}×{result.size}, {result.parameters:,} parameters, "
        f"{result.files} files, self-test within {result.selftest_difference:.1e}; "
        f"operating points: {points}"
    )
