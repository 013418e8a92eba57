"""``facetell detect``."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["command"]

UNJUDGED = 6


@click.command("detect")
@click.argument("detector", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.pass_context
def command(ctx: click.Context, detector: Path, paths: tuple[Path, ...], as_json: bool, device: str) -> None:
    """Judge pictures of face crops; folders are searched for pictures.

    A picture that cannot be judged costs one line with the reason, and the exit code is 6 then.

    \b
    Example:
      facetell detect detector a.jpg b.png more/
      facetell detect detector inbox/ --json | jq -c 'select(.decision == "fake")'
    """
    from facetell.api import detect

    unjudged = 0
    decisions = detect(detector, paths, device=device)
    if not as_json:
        click.echo(f"{'decision':<12}{'score':>7}  {'threshold':>9}  path")
    for decision in decisions:
        unjudged += not decision.judged
        if as_json:
            click.echo(json.dumps(decision.as_dict()))
        elif decision.judged:
            click.echo(f"{decision.decision:<12}{decision.score:7.3f}  {decision.threshold:9.3f}  {decision.path}")
        else:
            click.echo(f"{decision.decision:<12}{'–':>7}  {'–':>9}  {decision.path}: {decision.reason}")
    if unjudged:
        click.echo(f"{unjudged} could not be judged", err=True)
        ctx.exit(UNJUDGED)
