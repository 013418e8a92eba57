"""``facetell verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options

__all__ = ["command"]


@click.command("verify")
@options.detector_argument
@options.path_option("--key", "Public key, as PEM: whether its owner signed just this (facetell sign).")
@options.json_option
def command(detector: Path, key: Path | None, as_json: bool) -> None:
    """Check a detector whole: files and hashes, tensors, and that its self-test gives the stored logits again.

    \b
    Example:
      facetell verify detector
      facetell verify detector --key public.pem
    """
    from facetell.api import verify

    options.print_result(verify(detector, key=key).as_dict(), as_json, _print, detector)


def _print(result: dict[str, Any], detector: Path) -> None:
    tested = ", ".join(f"{name} {apart:.1e}" for name, apart in result["selftest"].items())
    points = ", ".join(f"{name} {value:.4g}" for name, value in result["operating_points"].items())
    click.echo(
        f"{detector}: whole. {result['method']} at {result['size']}×{result['size']}, {result['parameters']:,} "
        f"parameters, {result['files']} files, self-test within {tested}; "
        f"operating points: {points}" + (f"; signed with {result['signed'][:16]}" if result["signed"] else "")
    )
