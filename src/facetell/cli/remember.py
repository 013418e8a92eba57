"""``facetell remember``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options

__all__ = ["command"]


@click.command("remember")
@options.detector_argument
@click.argument("faceset", required=False, type=options.PATH)
@options.value_option("--faces", 1000, "Most faces to keep for learning, and as many for measuring.")
@click.option("--vectors", is_flag=True, help="Keep what experts read of the faces, and no picture.")
@click.option("--forget", is_flag=True, help="Delete the replay buffer instead.")
@options.seed_option("the faces")
def command(detector: Path, faceset: Path | None, vectors: bool, forget: bool, **given: Any) -> None:
    """Copy a few faces of FACESET, which DETECTOR was fitted on, into its folder.

    This is its replay buffer: facetell adapt learns from these faces again and measures on them, so that a new kind of fake
    does not cost the old ones. They are whole pictures of persons: whoever gets the detector gets them too. With --vectors a
    detector with experts keeps only numbers. Without this command a detector keeps nothing.

    \b
    Example:
      facetell remember detector faces
      facetell adapt detector --fake new-fakes --real our-photos -o adapted
    """
    from facetell.api import remember

    kept = remember(detector, faceset, vectors=vectors, forget=forget, **given)
    options.print_warnings(kept.warnings)
    if forget:
        click.echo(f"{detector}: keeps no faces any more")
        return
    what = "numbers, and no picture" if vectors else "pictures that show persons and travel with it"
    click.echo(f"{detector}: keeps {kept.faces:,} faces, {kept.bytes / 1e6:,.1f} MB of {what}")
