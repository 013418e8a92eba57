"""``facetell bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options
from facetell.progress import Bars

__all__ = ["command"]


@click.command("bench")
@click.argument("spec")
@options.out_option("Where detectors and the table go.")
@options.value_option("--data", ".", "The folder that the bench's face sets and weights lie in.", type=options.PATH)
@click.option("--jobs", type=click.IntRange(1), help="Cells at a time.  [default: one per core; one with a GPU]")
@options.json_option
def command(spec: str, out: Path, as_json: bool, **given: Any) -> None:
    """Fit and measure a grid of detectors and set them in one table.

    SPEC is a TOML file, or the name of one that comes along: fdftnet, resnet50, features and cffn are the papers' own
    tables on a copy of their data sets, small is all four methods on small real face sets. Finished cells are never
    computed again: an interrupted run goes on when it is started again. A cell that fails is a row with its reason.

    \b
    Example:
      facetell bench fdftnet --data datasets -o runs/fdftnet
      facetell bench my-bench.toml --data datasets -o runs/mine --jobs 4
    """
    from facetell.api import bench

    with Bars() as progress:
        table = bench(spec, out, **given, progress=progress)
    options.print_result(table.as_dict(), as_json, _print_table, out)


def _print_table(_: dict[str, Any], out: Path) -> None:
    click.echo((out / "bench.md").read_text(encoding="utf-8"))
    click.echo(f"table: {out / 'bench.md'}, {out / 'bench.csv'}, {out / 'bench.json'}", err=True)
