"""Progress on stderr: a bar with rate and time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from facetell.training.loop import EpochResult, Step

__all__ = ["BenchProgress", "FitProgress", "counting", "trying"]

QUIET_SECONDS = 10.0
"""Where stderr is no terminal, seconds between two lines."""


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class _Line:
    """One line that is rewritten in place on a terminal and printed rarely elsewhere."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.last = time.monotonic()
        self.open = False

    def show(self, text: str) -> None:
        if self.terminal:
            click.echo(f"\r\x1b[2K{text}", nl=False, err=True)
            self.open = True
        elif time.monotonic() - self.last >= QUIET_SECONDS:
            click.echo(text, err=True)
            self.last = time.monotonic()

    def clear(self) -> None:
        if self.open:
            click.echo("\r\x1b[2K", nl=False, err=True)
            self.open = False


def _bar(part: float, width: int = 24) -> str:
    full = round(part * width)
    return "━" * full + "╌" * (width - full)


class Counting:
    """Callback ``(done, total)`` for work that counts things."""

    def __init__(self, label: str, unit: str) -> None:
        self.label, self.unit = label, unit
        self.began: float | None = None
        self.before = 0
        self.line = _Line()

    def __call__(self, done: int, total: int) -> None:
        """Show ``done`` of ``total``; what was done at the first call, and how long that took, makes no rate."""
        now = time.monotonic()
        if self.began is None:
            self.began, self.before = now, done
        rate = (done - self.before) / max(1e-9, now - self.began)
        left = _duration((total - done) / rate) if rate else "?"
        digits = 0 if rate >= 10 else 1
        self.line.show(
            f"{self.label} {_bar(done / max(1, total))} {done:,}/{total:,} {self.unit}  {rate:,.{digits}f}/s  {left} left"
        )


@contextmanager
def counting(label: str, unit: str) -> Iterator[Counting]:
    """Give a counting callback, and take its line away at the end."""
    bar = Counting(label, unit)
    try:
        yield bar
    finally:
        bar.line.clear()


@contextmanager
def trying() -> Iterator[Callable[[int, int, str], None]]:
    """Give a callback ``(fits done, fits in all, what is tried)``, and take its line away at the end."""
    line = _Line()
    began: float | None = None

    def show(done: int, total: int, name: str) -> None:
        nonlocal began
        now = time.monotonic()
        began = now if began is None else began
        left = _duration((now - began) / done * (total - done)) if done else "?"
        line.show(f"trying {_bar(done / max(1, total))} {done}/{total}  {name}  {left} left")

    try:
        yield show
    finally:
        line.clear()


class FitProgress:
    """Callbacks of ``fit``: a bar with images/s, loss, validation AUROC and time left, and a line per epoch."""

    def __init__(self) -> None:
        self.line = _Line()

    def on_step(self, step: Step) -> None:
        """Redraw the bar."""
        known = [
            text.format(value)
            for text, value in (
                ("{:,.0f} images/s", step.images_per_s),
                ("loss {:.3f}", step.loss),
                ("AUROC {:.3f}", step.auroc),
            )
            if not math.isnan(value)
        ]
        bar = f"{step.stage} {step.epoch}/{step.epochs} {_bar(step.step / step.steps)}"
        self.line.show("  ".join([bar, *known, f"{_duration(step.seconds_left)} left"]))

    def on_epoch(self, result: EpochResult) -> None:
        """Leave a line."""
        self.line.clear()
        click.echo(
            f"epoch {result.epoch:3d}  loss {result.loss:.4f}  validation loss {result.validation_loss:.4f}"
            f"  AUROC {result.validation_auroc:.4f}  {result.images_per_s:,.0f} images/s",
            err=True,
        )


class BenchProgress:
    """Callback of ``bench``: cells done, and what the running ones are at."""

    def __init__(self) -> None:
        self.line = _Line()

    def __call__(self, done: int, total: int, running: Mapping[str, str]) -> None:
        """Redraw the line."""
        at = "; ".join(f"{name}: {where}" for name, where in running.items())
        self.line.show(f"bench {_bar(done / max(1, total))} {done:,}/{total:,} cells  {at}")
