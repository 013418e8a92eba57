"""How far a piece of work is: one callback for every verb, and bars on a terminal or in a notebook.

Every verb takes ``progress``: None is silent, True shows bars, and a function is called with each `Step`.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

__all__ = ["Bars", "LogHandler", "Progress", "ShowProgress", "Step", "callback", "silent"]

QUIET_SECONDS = 10.0
"""Seconds between two lines where a line cannot be drawn again, such as in a log file."""
ESTIMATE_STEPS, ESTIMATE_SECONDS = 3, 2.0
"""Steps and seconds after the first step from which on a rate, and the time left, can be told."""
LINE = "{desc}: {n_fmt}/{total_fmt}{unit}, {rate_fmt}, {remaining} left{postfix}"


@dataclass(frozen=True)
class Step:
    """``done`` of ``total`` ``unit``s of the work called ``what`` are done.

    ``note`` says more in words, ``numbers`` in numbers, such as the loss. What ``stays`` (an epoch of a training) is worth
    a line of its own that remains.
    """

    what: str
    done: int
    total: int
    unit: str = ""
    note: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    stays: bool = False

    @property
    def remark(self) -> str:
        """The note and the numbers there are, such as ``epoch 2/8, loss 0.412``."""
        found = [(name.replace("_", " "), value) for name, value in self.numbers.items() if value == value]
        numbers = [f"{name} {value:,.0f}" if abs(value) >= 1000 else f"{name} {value:.4g}" for name, value in found]
        return ", ".join([*([self.note] if self.note else []), *numbers])


Progress = Callable[[Step], None]
ShowProgress = Progress | bool | None
"""What a verb takes as ``progress``."""


def silent(_step: Step) -> None:
    """The callback that shows nothing."""


def callback(progress: ShowProgress) -> Progress:
    """What to call with every step: the function itself, bars for True, `silent` for None and False."""
    if callable(progress):
        return progress
    return Bars() if progress else silent


class LogHandler(logging.StreamHandler[TextIO]):
    """Writes log lines to stderr; a bar that is drawn there makes way for a line, and is drawn again below it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        self.stream = sys.stderr  # as it is now: a notebook or a test may have another one than when this was made
        tqdm = sys.modules.get("tqdm.std")  # there has been no bar yet without it
        if tqdm is None:
            super().emit(record)
            return
        with tqdm.tqdm.external_write_mode(file=self.stream):
            super().emit(record)


class _Lines:
    """Takes what is meant to be drawn in place, and writes it to stderr line below line."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(" ".join(text.split()) + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


class Bars:
    """Shows steps, one bar at a time: drawn in place on a terminal and in a notebook, a line now and then elsewhere.

    The bar goes away when its work is done, when other work begins, and at the end of a ``with`` block.
    """

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, step: Step) -> None:
        """Show a step."""
        if step.stays:
            self.close()
            sys.stderr.write(f"{step.what} {step.done}/{step.total}  {step.remark}\n")
            return
        if self._bar is None or self._bar.desc != step.what:
            self.close()
            if step.done >= step.total:  # it would go away at once, and takes as long to import as a tenth of a verdict
                return
            self._bar = _new_bar(step)
        if not self._bar.first and step.done > self._bar.initial:
            self._bar.first.append((step.done, self._bar.format_dict["elapsed"]))
        self._bar.total = step.total
        self._bar.set_postfix_str(step.remark, refresh=False)
        self._bar.update(step.done - self._bar.n)
        if step.done >= step.total:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _new_bar(step: Step) -> Any:
    """A bar whose rate and time left count from this step on: what came before it, and how long, says nothing."""
    from tqdm.auto import tqdm  # first: it keeps the module after it from warning
    from tqdm.autonotebook import tqdm as chosen
    from tqdm.std import tqdm as plain

    def meter(**numbers: Any) -> str:
        """As tqdm's, which puts the space before the unit into ``5.00s/ fits`` too, and calls anything a rate."""
        done, seconds = first[0] if first else (numbers["n"], 0.0)
        done, seconds = numbers["n"] - done, numbers["elapsed"] - seconds
        enough = done >= ESTIMATE_STEPS and seconds >= ESTIMATE_SECONDS
        numbers["rate"] = done / seconds if enough else 0  # which shows as a question mark
        numbers["ncols"] = numbers["ncols"] or (shutil.get_terminal_size().columns if in_place else None)
        return str(plain.format_meter(**numbers)).replace(f"s/ {step.unit}", f"s/{step.unit}", 1)

    first: list[tuple[int, float]] = []  # how far it was after the first step, and when: before, it was getting ready
    in_place = sys.stderr.isatty() or chosen is not plain
    # No thread that redraws: worker processes may be forked while a bar is shown.
    bar: Any = type("Bar", (tqdm,), {"monitor_interval": 0, "format_meter": staticmethod(meter)})
    lines: TextIO | Any = _Lines()
    rarely = {"file": lines, "mininterval": QUIET_SECONDS, "delay": QUIET_SECONDS, "miniters": 1, "bar_format": LINE}
    shown = bar(
        desc=step.what, total=step.total, initial=step.done, unit=f" {step.unit}" if step.unit else "it",
        leave=False, dynamic_ncols=True, smoothing=0, **({} if in_place else rarely),
    )  # fmt: skip
    shown.first = first
    return shown
