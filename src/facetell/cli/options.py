"""Options that several verbs share, and how a verb's result is printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

__all__ = [
    "PATH",
    "choice_option",
    "detector_argument",
    "device_option",
    "engine_option",
    "face_model_option",
    "faceset_argument",
    "frames_option",
    "json_option",
    "out_option",
    "path_option",
    "print_result",
    "print_warnings",
    "runtime_option",
    "seed_option",
    "split_option",
    "value_option",
    "workers_option",
]

PATH = click.Path(path_type=Path)

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

detector_argument = click.argument("detector", type=PATH)
faceset_argument = click.argument("faceset", type=PATH)
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
runtime_option = click.option(
    "--runtime", metavar="NAME", help="What computes: onnx, torch, openvino.  [default: the detector's own]"
)
json_option = click.option("--json", "as_json", is_flag=True, help="For machines.")


def value_option(name: str, default: object, help: str, **more: Any) -> Decorator:  # noqa: A002
    """An option with a default that ``--help`` shows."""
    return click.option(name, default=default, show_default=True, help=help, **more)


def path_option(name: str, help: str) -> Decorator:  # noqa: A002
    """An option that takes a file or folder."""
    return click.option(name, type=PATH, help=help)


def choice_option(name: str, choices: Sequence[str], help: str) -> Decorator:  # noqa: A002
    """An option that takes one of ``choices``, by default the first."""
    return value_option(name, choices[0], help, type=click.Choice(choices))


def out_option(help: str, *, required: bool = True) -> Decorator:  # noqa: A002
    """``-o``: where the result goes."""
    return click.option("-o", "--out", required=required, type=PATH, help=help)


def split_option(help: str, default: str = "test") -> Decorator:  # noqa: A002
    """``--split``: a split of the face set."""
    return value_option("--split", default, help)


def seed_option(draws: str) -> Decorator:
    """``--seed``, which draws what ``draws`` says."""
    return value_option("--seed", 0, f"Draws {draws}.", type=click.IntRange(0, 2**32 - 1))


def workers_option(what: str = "Processes.") -> Decorator:
    """``--workers``: how many of ``what``."""
    return click.option("--workers", type=click.IntRange(1), help=f"{what}  [default: one per core]")


def engine_option() -> Decorator:
    """``--engine``: where files are read."""
    return choice_option("--engine", ("local", "ray"), "On this machine, or on a Ray cluster (RAY_ADDRESS).")


def frames_option(default: int) -> Decorator:
    """``--frames``: which frames of a video."""
    return value_option("--frames", str(default), f"Of a video: {default} (spread over time), 2s (every), all.")


def face_model_option(which: str = ": centerface, mtcnn, YuNet's file") -> Decorator:
    """``--face-model``: a face detector by name or file."""
    return click.option("--face-model", metavar="NAME|FILE.onnx", help=f"Another face detector{which}.")


def print_result(values: dict[str, Any], as_json: bool, print_it: Callable[..., None], *more: Any) -> None:
    """Print the plain ``values`` of a result as JSON, or by ``print_it(values, *more)`` for people."""
    if as_json:
        click.echo(json.dumps(values, indent=2))
    else:
        print_it(values, *more)


def print_warnings(warnings: Sequence[str]) -> None:
    """Print warnings to standard error, one a line."""
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
