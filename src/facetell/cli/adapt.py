"""``facetell adapt``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from facetell.progress import Bars

__all__ = ["command"]


@click.command("adapt")
@click.argument("detector", type=click.Path(path_type=Path))
@click.option(
    "--fake", type=click.Path(path_type=Path), help="Folder of new fakes (pictures, photos, videos), or a face set."
)
@click.option("--real", type=click.Path(path_type=Path), help="Folder of reals from where the fakes were found.")
@click.option("--shots", type=click.IntRange(min=1), help="Learn from this many fakes only.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Where the new detector goes.")
@click.option("--strategy", default="auto", show_default=True, help="How to learn; auto tries all by cross-validation.")
@click.option("--backbone", help="Second backbone of the strategy expert. Default: like the detector's own.")
@click.option("--pretrained", help="Its weights: library, FILE.safetensors or a detector.")
@click.option("--size", type=click.IntRange(16, 1024), help="Side of its crops in pixels. Default: the detector's.")
@click.option("--margin", default=0.01, show_default=True, help="How far the AUROC on old faces may fall.")
@click.option("--trust-labels", is_flag=True, help="Also learn labels that the old detector ranks the wrong way round.")
@click.option("--seed", default=0, show_default=True, help="Draws shots, folds, order and augmentation.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(
    detector: Path,
    fake: Path | None,
    real: Path | None,
    shots: int | None,
    out: Path,
    strategy: str,
    backbone: str | None,
    pretrained: str | None,
    size: int | None,
    margin: float,
    trust_labels: bool,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Teach DETECTOR a new kind of fake from a few examples and write a new detector, if it passes the acceptance checks.

    The AUROC must rise on new faces that were held out, fall on old ones by no more than the margin (only a detector with a
    replay buffer can tell: facetell remember), and what was learned must be no border, colour or compression.

    Without --real, reals of the replay buffer stand in; without --fake, fakes are blended from the reals.

    \b
    Example:
      facetell remember detector faces
      facetell adapt detector --fake monday/fakes --real monday/reals -o adapted
      facetell history adapted
    """
    from facetell.api import adapt
    from facetell.cli.tables import print_adaptation
    from facetell.errors import AcceptanceError

    try:
        with Bars() as progress:
            result = adapt(
                detector,
                out,
                fake=fake,
                real=real,
                shots=shots,
                strategy=strategy,
                backbone=backbone,
                pretrained=pretrained,
                size=size,
                margin=margin,
                trust_labels=trust_labels,
                seed=seed,
                device=device,
                progress=progress,
            )
    except AcceptanceError as refused:
        if as_json:
            click.echo(json.dumps(refused.record, indent=2))
        else:
            print_adaptation(refused.record, None)
        raise
    if as_json:
        click.echo(json.dumps(result.as_dict(), indent=2))
        return
    print_adaptation(result.as_dict(), out)
