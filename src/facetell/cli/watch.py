"""``facetell watch``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options
from facetell.cli.tables import print_watch
from facetell.progress import Bars

__all__ = ["command"]


@click.command("watch")
@options.detector_argument
@click.argument("predictions", nargs=-1, type=options.PATH)
@options.out_option("Where the watch goes; without, only what is printed.", required=False)
@click.option("--store", metavar="PATH", help="Watch what a server judged and kept (facetell serve --store).")
@options.value_option("--days", 7.0, "For --store: how far back.", type=click.FloatRange(0, min_open=True))
@options.path_option(
    "--reference", "Compare with this instead: predictions.parquet with labels, or JSON Lines of a good week."
)
@click.option("--look", is_flag=True, help="Open judged files again: faces that lie together, far from all known ones.")
@options.path_option("--faceset", "For --look: the face set of predictions.parquet.")
@options.workers_option("For --look: processes that read files.")
@options.value_option("--device", "auto", "For --look: auto, cpu or cuda.")
@options.runtime_option
@options.seed_option("the bootstrap, and the files to look at")
@options.json_option
def command(detector: Path, predictions: tuple[Path, ...], out: Path | None, as_json: bool, **given: Any) -> None:
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
      facetell watch detector --store verdicts.db
    """
    from facetell.api import watch

    with Bars() as progress:
        found = watch(detector, predictions, out, **given, progress=progress)
    options.print_result(found.as_dict(), as_json, print_watch, out)
