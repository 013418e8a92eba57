"""Whether a set of tensors fits a module exactly."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

__all__ = ["misfit"]

SHOWN = 3


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
