"""Whether a set of tensors fits a module exactly, modules whose size is learned, and what tells tensors from others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["LearnedSize", "add_tensors", "compact", "misfit", "take_sizes"]

SHOWN = 3
LARGE = 1024
"""Numbers of a tensor from which on its size matters."""


class LearnedSize(nn.Module):
    """A part whose size is learned with its values, such as a number of support vectors or of tree nodes.

    It is built empty; `take_size` makes room for the tensors that are about to be loaded.
    """

    def take_size(self, tensors: Mapping[str, Tensor]) -> None:
        """Resize the buffers to ``tensors`` (this part's own names). What cannot be is left to `misfit`.

        Raises ``DataError`` for values that the part could not compute with.
        """
        raise NotImplementedError


def add_tensors(digest: _Hash, tensors: Mapping[str, Tensor]) -> None:
    """Add named tensors of any type, on any device, to a hash, in the order of their names."""
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        # As bytes: numpy has no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def take_sizes(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give every part of ``module`` with a learned size that of ``tensors``; then `misfit` can judge the whole.

    Raises ``DataError`` when a part could not compute with its tensors.
    """
    for name, part in module.named_modules():
        if isinstance(part, LearnedSize):
            prefix = f"{name}." if name else ""
            part.take_size({key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)})


def misfit(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str = "") -> str | None:
    """Say what keeps ``tensors`` from being exactly the state of ``module``, or None when nothing does.

    ``prefix`` stands before the module's own names in ``tensors``. Missing, unknown and misshapen tensors are named.
    """
    expected = {prefix + name: tensor.shape for name, tensor in module.state_dict().items()}
    wrong = [f"{name} is missing" for name in expected if name not in tensors]
    wrong += [f"{name} is unknown" for name in tensors if name not in expected]
    wrong += [
        f"{name} is {list(tensors[name].shape)}, not {list(shape)}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    if not wrong:
        return None
    return "; ".join(wrong[:SHOWN]) + (f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else "")


def compact(values: NDArray[Any]) -> NDArray[Any]:
    """A large tensor of single precision in half precision, where that loses nothing; any other as it is."""
    if values.dtype != np.float32 or values.size < LARGE:
        return values
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half if np.array_equal(half, values) else values
