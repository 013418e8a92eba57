"""``facetell audit``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from facetell.progress import Bars

__all__ = ["command"]


@click.command("audit")
@click.argument("faceset", type=click.Path(path_type=Path))
@click.argument("detector", required=False, type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Where the audit goes; without, only what is printed."
)
@click.option("--split", default="test", show_default=True, help="Split to measure shortcuts and errors on.")
@click.option("--seed", default=0, show_default=True, help="Draws folds and permutations.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(
    faceset: Path, detector: Path | None, out: Path | None, split: str, seed: int, device: str, as_json: bool
) -> None:
    """Find leaks between splits and shortcuts to the label, and where a detector's errors cluster.

    Leaks: groups, identical and near-identical pictures in two splits. Shortcuts: how well file size, compression,
    resolution, mean colour, border or metadata alone tell real from fake. With DETECTOR: error rates by source, groups
    that carry the errors, and whether its logit follows a shortcut. Ends with 0 whatever it finds.

    \b
    Example:
      facetell audit faces -o audit
      facetell audit faces detector -o audit
    """
    from facetell.api import audit

    with Bars() as progress:
        found = audit(faceset, out, detector=detector, split=split, seed=seed, device=device, progress=progress)
    numbers = found.as_dict()
    if as_json:
        click.echo(json.dumps(numbers, indent=2))
        return
    from facetell.cli.tables import print_audit

    print_audit(numbers, out)
