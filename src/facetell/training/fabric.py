"""How training is launched: device, precision, and the processes of ``torchrun``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from facetell.networks.acceleration import preferred_precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["make_fabric"]


def make_fabric(precision: str = "auto", accelerator: str | None = None) -> Fabric:
    """One process on the best device; under ``torchrun`` one of its processes, with gradients averaged over all.

    ``accelerator``: ``cpu`` or ``cuda`` instead of the best.
    """
    from lightning_fabric import Fabric  # takes as long as torch itself; only training needs it

    accelerator = accelerator or ("cuda" if torch.cuda.is_available() else "cpu")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    nodes = int(os.environ.get("WORLD_SIZE", "1")) // local
    if precision == "auto":
        precision = preferred_precision(torch.device(accelerator))
    fabric = Fabric(
        accelerator=accelerator,
        devices=local,
        num_nodes=nodes,
        strategy="ddp" if local * nodes > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric
