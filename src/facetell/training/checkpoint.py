"""Checkpoints: one safetensors file per run, replaced whole after every epoch. Reading one never runs code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from facetell.errors import DataError
from facetell.files import whole_file, write_error

__all__ = ["flatten_optimizer", "load_checkpoint", "restore_optimizer", "save_checkpoint"]


def save_checkpoint(path: Path, tensors: dict[str, Tensor], state: dict[str, object]) -> None:
    """Write tensors and a JSON state to ``path``, whole or not at all."""
    kept = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        with whole_file(path) as partial:
            save_file(kept, partial, metadata={"state": json.dumps(state)})
    except SafetensorError as error:
        raise write_error(path, error) from error


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save_checkpoint`` wrote."""
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})["state"])
            return {name: file.get_tensor(name) for name in file.keys()}, state  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"{path} is not a checkpoint of facetell: {error}") from error


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's per-parameter tensors as ``index/name``; counters become 0-d tensors."""
    flat: dict[str, Tensor] = {}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if value is not None:
                flat[f"{index}/{name}"] = torch.as_tensor(value)
    return flat


def restore_optimizer(optimizer: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    """Put back what ``flatten_optimizer`` took; the groups' settings stay the optimiser's own."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        index, name = key.split("/", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
