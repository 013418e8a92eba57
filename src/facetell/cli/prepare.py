"""``facetell prepare``."""

from __future__ import annotations

from pathlib import Path

import click

from facetell.cli.progress import counting

__all__ = ["command"]


@click.command("prepare")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Where the face set goes.")
@click.option("--seed", default=0, show_default=True, help="Draws the splits that the source leaves open.")
@click.option(
    "--subfolders",
    type=click.Choice(["group", "source"]),
    default="group",
    show_default=True,
    help="What folders below real/ and fake/ mean: a video or person whose pictures stay together, or a generator.",
)
@click.option("--overwrite", is_flag=True, help="Replace a face set that is there.")
def command(source: Path, out: Path, seed: int, subfolders: str, overwrite: bool) -> None:
    """Turn face pictures into a face set.

    SOURCE is a folder with real/ and fake/ (other usual spellings work; train/, validation/, test/ above them too), or
    a CSV or Parquet index with the columns path,label and optionally group,source,split.

    \b
    Example:
      facetell prepare photos -o faces
      facetell prepare index.csv -o faces --seed 1
    """
    from facetell.api import prepare

    with counting("preparing", "files") as progress:
        faceset = prepare(source, out, seed=seed, subfolders=subfolders, overwrite=overwrite, progress=progress)
    skipped: dict[str, int] = faceset.info["skipped"]
    click.echo(f"{out}: {len(faceset):,} faces, splits {', '.join(faceset.splits)}")
    if skipped:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in skipped.items())
        click.echo(f"left out {sum(skipped.values()):,} files ({reasons}): see {out / 'skipped.csv'}", err=True)
