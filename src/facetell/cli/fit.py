"""``facetell fit``."""

from __future__ import annotations

from pathlib import Path

import click

from facetell.progress import Bars
from facetell.settings import parse_assignments

__all__ = ["command"]


@click.command("fit")
@click.argument("method")
@click.argument("faceset", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Where the detector goes.")
@click.option("--split", default="train", show_default=True, help="Split to learn from.")
@click.option("--shots", type=click.IntRange(min=1), help="Learn from this many images per class only.")
@click.option("--pretrained", help="What the backbone starts from: library, none, FILE.safetensors or a detector.")
@click.option("--preset", help="Named settings, such as 'paper'.")
@click.option("--config", type=click.Path(path_type=Path), help="TOML file with settings.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="One setting; may be repeated.")
@click.option(
    "--threshold",
    default="balanced_accuracy",
    show_default=True,
    help="Rule for the threshold, such as fpr=0.01.",
)
@click.option("--seed", default=0, show_default=True, help="Draws shots, weights, order and augmentation.")
@click.option("--resume", is_flag=True, help="Go on after an interruption, from the last whole epoch.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--tensorboard", type=click.Path(path_type=Path), help="Also log to this TensorBoard folder.")
def command(
    method: str,
    faceset: Path,
    out: Path,
    split: str,
    shots: int | None,
    pretrained: str | None,
    preset: str | None,
    config: Path | None,
    assignments: tuple[str, ...],
    threshold: str,
    seed: int,
    resume: bool,
    device: str,
    tensorboard: Path | None,
) -> None:
    """Fit a detector with METHOD on a face set (or a picture folder, or an index).

    \b
    Example:
      facetell fit finetune faces -o baseline
      facetell fit fdftnet faces --split finetune --pretrained baseline -o detector
      facetell fit fdftnet new-attack --shots 50 --pretrained baseline -o detector --set epochs=30
    """
    from facetell.api import fit

    settings = parse_assignments(assignments)
    if pretrained is not None:
        settings["pretrained"] = pretrained
    with Bars() as progress:
        fit(
            method,
            faceset,
            out,
            preset=preset,
            config=config,
            settings=settings,
            split=split,
            shots=shots,
            threshold=threshold,
            seed=seed,
            resume=resume,
            device=device,
            tensorboard=tensorboard,
            progress=progress,
        )
    click.echo(f"{out}: a detector (facetell evaluate {out} {faceset} --split test -o report)")
