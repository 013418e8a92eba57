"""``facetell watch``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from facetell.progress import Bars

__all__ = ["command"]


@click.command("watch")
@click.argument("detector", type=click.Path(path_type=Path))
@click.argument("predictions", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Where the watch goes; without, only what is printed."
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    help="Compare with this instead: predictions.parquet with labels, or JSON Lines of a good week.",
)
@click.option("--look", is_flag=True, help="Open judged files again: faces that lie together, far from all known ones.")
@click.option("--faceset", type=click.Path(path_type=Path), help="For --look: the face set of predictions.parquet.")
@click.option(
    "--workers", type=click.IntRange(1), help="For --look: processes that read files.  [default: one per core]"
)
@click.option("--device", default="auto", show_default=True, help="For --look: auto, cpu or cuda.")
@click.option("--seed", default=0, show_default=True, help="Draws the bootstrap, and the files to look at.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(
    detector: Path,
    predictions: tuple[Path, ...],
    out: Path | None,
    reference: Path | None,
    look: bool,
    faceset: Path | None,
    workers: int | None,
    device: str,
    seed: int,
    as_json: bool,
) -> None:
    """Say whether what a detector judges still looks like what it was fitted on. Needs no labels.

    PREDICTIONS are JSON Lines that facetell detect wrote (or predictions.parquet of facetell evaluate), one file a batch,
    in the order of time. Scores are compared with known reals and fakes in whatever mix fits best. Ends with 0 whatever it
    finds. --look opens at most 1,000 of the judged files again and shows examples of what lies together far from all
    validation faces.

    \b
    Example:
      facetell detect detector monday/ -o monday.jsonl
      facetell watch detector saturday.jsonl sunday.jsonl monday.jsonl -o watch
      facetell watch detector saturday.jsonl sunday.jsonl monday.jsonl --look -o watch
    """
    from facetell.api import watch

    with Bars() as progress:
        found = watch(
            detector, predictions, out, reference=reference, look=look, faceset=faceset, seed=seed, workers=workers,
            device=device, progress=progress,
        )  # fmt: skip
    numbers = found.as_dict()
    if as_json:
        click.echo(json.dumps(numbers, indent=2))
        return
    from facetell.cli.tables import print_watch

    print_watch(numbers, out)
