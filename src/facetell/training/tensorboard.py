"""Epochs to TensorBoard, for who has the optional part."""

from __future__ import annotations

from pathlib import Path

from facetell.errors import MissingExtraError
from facetell.progress import Progress, Step

__all__ = ["log_to"]


def log_to(folder: str | Path, then: Progress) -> Progress:
    """A callback that logs every number of an epoch to ``folder``, and passes every step on to ``then``."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("--tensorboard", "tensorboard") from None
    writer = SummaryWriter(str(folder))

    def log(step: Step) -> None:
        if step.what == "epoch":
            for name, value in step.numbers.items():
                writer.add_scalar(name, value, step.done)
            writer.flush()
        then(step)

    return log
