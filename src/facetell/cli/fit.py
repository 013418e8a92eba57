"""``facetell fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facetell.cli import options
from facetell.progress import Bars
from facetell.settings import parse_assignments

__all__ = ["command"]


@click.command("fit")
@click.argument("method")
@click.argument("facesets", nargs=-1, required=True, type=options.PATH, metavar="FACESET...")
@options.out_option("Where the detector goes.")
@options.split_option("Split to learn from.", default="train")
@click.option("--shots", type=click.IntRange(min=1), help="Learn from this many images per class only.")
@click.option("--pretrained", help="What the backbone starts from: library, none, FILE.safetensors or a detector.")
@click.option("--preset", help="Named settings, such as 'paper'.")
@options.path_option("--config", "TOML file with settings.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="One setting; may be repeated.")
@options.value_option("--threshold", "balanced_accuracy", "Rule for the threshold, such as fpr=0.01.")
@options.seed_option("shots, weights, order and augmentation")
@click.option("--resume", is_flag=True, help="Go on after an interruption, from the last whole epoch.")
@options.device_option
@options.path_option("--tensorboard", "Also log to this TensorBoard folder.")
def command(
    method: str,
    facesets: tuple[Path, ...],
    out: Path,
    assignments: tuple[str, ...],
    pretrained: str | None,
    **given: Any,
) -> None:
    """Fit a detector with METHOD on a face set (or a picture folder, or an index), or on several.

    \b
    Example:
      facetell fit finetune faces -o baseline
      facetell fit fdftnet faces --split finetune --pretrained baseline -o detector
      facetell fit fdftnet new-attack --shots 50 --pretrained baseline -o detector --set epochs=30
      facetell fit finetune swaps gans diffusion -o detector       every source as often as the others
    """
    from facetell.api import fit

    settings = parse_assignments(assignments)
    if pretrained is not None:
        settings["pretrained"] = pretrained
    with Bars() as progress:
        fit(method, facesets, out, settings=settings, **given, progress=progress)
    click.echo(f"{out}: a detector (facetell evaluate {out} {facesets[0]} --split test -o report)")
