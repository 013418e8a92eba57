"""How training is launched: device, precision, and the processes of ``torchrun``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from facetell.errors import SettingsError
from facetell.networks.acceleration import preferred_precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["device_of", "make_fabric"]


def device_of(name: str) -> torch.device:
    """The device of that name; ``auto`` is a GPU where there is one. Raises ``SettingsError`` for one that is not there."""
    there = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if there else "cpu")
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise SettingsError(f"unknown device '{name}'", hint="auto, cpu or cuda")
    if name != "cpu" and not there:
        raise SettingsError("there is no GPU that torch can use here", hint="--device cpu, or auto")
    return torch.device(name)


def make_fabric(precision: str = "auto", device: str = "auto") -> Fabric:
    """One process on ``device``; under ``torchrun`` one of its processes, with gradients averaged over all.

    ``device``: ``auto``, ``cpu`` or ``cuda``. Raises ``SettingsError`` for another device, or one that is not there.
    """
    from lightning_fabric import Fabric  # takes as long as torch itself; only training needs it

    accelerator = device_of(device).type
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
