"""``facetell remember``."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("remember")
@click.argument("detector", type=click.Path(path_type=Path))
@click.argument("faceset", required=False, type=click.Path(path_type=Path))
@click.option(
    "--faces", default=1000, show_default=True, help="Most faces to keep for learning, and as many for measuring."
)
@click.option("--forget", is_flag=True, help="Delete the replay buffer instead.")
@click.option("--seed", default=0, show_default=True, help="Draws the faces.")
def command(detector: Path, faceset: Path | None, faces: int, forget: bool, seed: int) -> None:
    """Copy a few faces of FACESET, which DETECTOR was fitted on, into its folder.

    This is its replay buffer: facetell adapt learns from these faces again and measures on them, so that a new kind of fake
    does not cost the old ones. They are whole pictures of persons: whoever gets the detector gets them too. Without this a
    detector keeps none.

    \b
    Example:
      facetell remember detector faces
      facetell adapt detector --fake new-fakes --real our-photos -o adapted
    """
    from facetell.api import remember

    kept = remember(detector, faceset, faces=faces, forget=forget, seed=seed)
    for warning in kept.warnings:
        click.echo(f"warning: {warning}", err=True)
    if forget:
        click.echo(f"{detector}: keeps no faces any more")
        return
    click.echo(
        f"{detector}: keeps {kept.faces:,} faces, {kept.bytes / 1e6:,.1f} MB of pictures that show persons and travel "
        "with it"
    )
