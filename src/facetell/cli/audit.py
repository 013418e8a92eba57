"""``facetell audit``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options
from facetell.cli.tables import print_audit
from facetell.progress import Bars

__all__ = ["command"]


@click.command("audit")
@options.faceset_argument
@click.argument("detector", required=False, type=options.PATH)
@options.out_option("Where the audit goes; without, only what is printed.", required=False)
@options.split_option("Split to measure shortcuts and errors on.")
@options.seed_option("folds and permutations")
@options.device_option
@options.runtime_option
@options.json_option
def command(faceset: Path, out: Path | None, as_json: bool, **given: Any) -> None:
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
        found = audit(faceset, out, **given, progress=progress)
    options.print_result(found.as_dict(), as_json, print_audit, out)
