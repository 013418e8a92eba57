"""What a backbone sees at several depths, as one vector: the means of its blocks' maps and its own vector.

A backbone that was fitted for long keeps in its last map what tells the fakes it knows, and little else; its earlier
blocks keep more of what a picture looks like.
"""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from facetell.networks.backbones import Backbone

__all__ = ["DepthVectors"]

MOST = 7
"""Blocks beside the end, at most: spread over the depth."""


class DepthVectors(nn.Module):
    """Images (N, 3, S, S) in [0, 1] to vectors (N, D) in single precision.

    A block is a child of the body with parameters, or where that is a sequence one of its children; the stem is left out,
    and so is the last block, whose map `Backbone.vector` is made of. Only blocks count that are used once and give a
    map (N, C, h, h) or (N, h, h, C), or tokens (N, T, C).
    """

    def __init__(self, backbone: Backbone, size: int) -> None:
        super().__init__()
        self.backbone = backbone
        names = _blocks(backbone)
        uses = dict.fromkeys(names, 0)
        with torch.no_grad(), ExitStack() as stack:
            for name in names:

                def count(_module: nn.Module, _inputs: object, output: object, name: str = name) -> None:
                    uses[name] += 1 if isinstance(output, Tensor) and output.ndim in (3, 4) else 2

                handle = backbone.get_submodule(name).register_forward_hook(count)
                stack.callback(handle.remove)
            was_training = backbone.training
            backbone.eval()
            backbone.vector(torch.zeros(1, 3, size, size, device=backbone.mean.device))
            backbone.train(was_training)
        inner = [name for name in names if uses[name] == 1][1:-1]
        chosen = torch.linspace(0, len(inner) - 1, min(MOST, len(inner))).round().long().tolist()
        self.names = [inner[place] for place in chosen]

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        means: list[Tensor] = []

        def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            means.append(_mean(output))

        with ExitStack() as stack:  # anew in each pass: a copy of this module has hooks of its own
            for name in self.names:
                stack.callback(self.backbone.get_submodule(name).register_forward_hook(keep).remove)
            end = self.backbone.vector(images)
        return torch.cat([mean.float() for mean in (*means, end)], dim=1)


def _blocks(backbone: Backbone) -> list[str]:
    """Names of the blocks in the backbone, in the order in which they are registered."""
    prefix = "body.model" if hasattr(backbone.body, "model") else "body"
    names = []
    for name, child in backbone.get_submodule(prefix).named_children():
        if any(True for _ in child.parameters()):
            inside = isinstance(child, nn.Sequential | nn.ModuleList) and len(child) > 1
            names += (
                [f"{prefix}.{name}.{part}" for part, _ in child.named_children()] if inside else [f"{prefix}.{name}"]
            )
    return names


def _mean(output: Tensor) -> Tensor:
    """The mean (N, C) over all places."""
    if output.ndim == 3:
        return output.mean(dim=1)
    return output.mean(dim=(1, 2) if output.shape[1] == output.shape[2] != output.shape[3] else (2, 3))
