"""``facetell join``."""

from __future__ import annotations

from pathlib import Path

import click

from facetell.cli import options
from facetell.progress import Bars

__all__ = ["command"]


@click.command("join")
@click.argument("facesets", nargs=-1, required=True, type=options.PATH, metavar="FACESET FACESET...")
@options.out_option("Where the face set goes.")
@click.option("--overwrite", is_flag=True, help="Replace a face set that is there.")
def command(facesets: tuple[Path, ...], out: Path, overwrite: bool) -> None:
    """Write several face sets (or picture folders, or indexes) as one, every row in the split that it has.

    `fit` and `evaluate` take the result as any other; `fit` takes several face sets as they are, too.

    \b
    Example:
      facetell join swaps gans diffusion -o all
      facetell evaluate detector all --split test -o report      a row for each source, the worst first
    """
    from facetell.api import join

    with Bars() as progress:
        made = join(facesets, out, overwrite=overwrite, progress=progress)
    what = "written" if made.created else "there already"
    click.echo(f"{out}: {len(made):,} faces of {len(facesets)} face sets, splits {', '.join(made.splits)} ({what})")
