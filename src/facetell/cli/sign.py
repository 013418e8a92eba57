"""``facetell sign``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from facetell.cli import options

__all__ = ["command"]


@click.command("sign")
@options.detector_argument
@click.option("--key", required=True, type=options.PATH, help="Private key, as PEM. FACETELL_KEY_PASSWORD opens it.")
def command(detector: Path, key: Path) -> None:
    """Sign DETECTOR with a key of your own: who has the public one can tell that it is what you made.

    \b
    Example:
      openssl ecparam -name prime256v1 -genkey -noout -out private.pem
      openssl ec -in private.pem -pubout -out public.pem
      facetell sign detector --key private.pem
      facetell verify detector --key public.pem
    """
    from facetell.api import sign

    found = sign(detector, key, password=os.environ.get("FACETELL_KEY_PASSWORD"))
    click.echo(f"{detector}: signed, public key {found[:16]}")
