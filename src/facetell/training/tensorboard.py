"""Epochs to TensorBoard, for who has the optional part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from facetell.errors import MissingExtraError
from facetell.training.loop import EpochResult

__all__ = ["log_to"]


def log_to(folder: str | Path, then: Callable[[EpochResult], None] | None = None) -> Callable[[EpochResult], None]:
    """A callback that logs every number of an epoch to ``folder``, and then calls ``then``."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("--tensorboard", "tensorboard") from None
    writer = SummaryWriter(str(folder))

    def on_epoch(result: EpochResult) -> None:
        for name, value in asdict(result).items():
            writer.add_scalar(name, value, result.epoch)
        writer.flush()
        if then:
            then(result)

    return on_epoch
