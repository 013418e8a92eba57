"""What a backbone sees at several depths, as one vector for each image.

A backbone that was fitted for long keeps in its last map what tells the fakes it knows, and little else; its earlier
blocks keep more of what a picture looks like, and of how it was made.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from facetell.errors import SettingsError
from facetell.networks.backbones import Backbone
from facetell.networks.hooks import hooked

__all__ = ["DepthStatistics", "DepthVectors"]

MOST = 7
"""Blocks beside the end, at most: spread over the depth."""
SHALLOW = 0.85
"""Part of the blocks that `DepthStatistics` reads, from the stem on: the last ones tell what is in a picture."""


class DepthVectors(nn.Module):
    """Images (N, 3, S, S) in [0, 1] to (N, 1 + D) in single precision: a network's logits, and from the same pass vectors.

    ``network`` has a `Backbone`. A vector is the means of blocks' maps, and the backbone's own vector. A block is a child
    of the body with parameters, or where that is a sequence one of its children; the stem is left out, and so is the last
    block, whose map `Backbone.vector` is made of. Only blocks count that the backbone uses once and that give a map
    (N, C, h, h) or (N, h, h, C), or tokens (N, T, C). Where the network uses its backbone again, as on the mirror image,
    the first time counts.
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network = network
        inner = _used_once(self._backbone, size)[1:-1]
        chosen = torch.linspace(0, len(inner) - 1, min(MOST, len(inner))).round().long().tolist()
        self.names = [inner[place] for place in chosen]

    @property
    def _backbone(self) -> Backbone:
        backbone = self.network.backbone
        assert isinstance(backbone, Backbone)
        return backbone

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        backbone = self._backbone
        found: dict[str, Tensor] = {}

        def keep(name: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
            if name not in found:
                found[name] = (_map(output).mean(dim=(2, 3)) if name else backbone.pooled(output)).float()

        # Anew in each pass: a copy of the module has hooks of its own.
        parts = [(name, backbone.get_submodule(name)) for name in self.names]
        with hooked((part, partial(keep, name)) for name, part in [*parts, ("", backbone.end)]):
            logits = self.network(images)
        return torch.cat([logits.float().unsqueeze(1), *found.values()], dim=1)


class DepthStatistics(nn.Module):
    """Images (N, 3, S, S) in [0, 1] to vectors (N, D) in single precision: `statistics` of every block's map.

    Means over the image and its mirror image, which is as real or as fake. Blocks as in `DepthVectors`, the first 85% of
    them without the stem. The backbone does not learn. Raises ``SettingsError`` where there are no such blocks.
    """

    def __init__(self, backbone: Backbone, size: int) -> None:
        super().__init__()
        self.backbone = backbone.eval().requires_grad_(False)
        inner = _used_once(backbone, size)[1:]
        self.names = inner[: max(round(SHALLOW * len(inner)), 1)]
        if not self.names:
            raise SettingsError(
                f"{backbone.name} has no blocks whose maps could be read",
                hint="choose another --backbone, or --strategy",
            )
        with torch.no_grad():
            self.length = int(self(torch.zeros(1, 3, size, size, device=backbone.mean.device)).shape[1])

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        with torch.autocast(images.device.type, enabled=False):  # differences of maps do not bear half the digits
            # One after the other: `fast_inference` folds no norm into what is used twice, so every map stays what it is.
            return (self._of(images) + self._of(images.flip(3))) / 2

    def _of(self, images: Tensor) -> Tensor:
        found: list[Tensor] = []

        def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            found.append(statistics(_map(output)))

        # Anew in each pass: a copy of the module has hooks of its own.
        with hooked((self.backbone.get_submodule(name), keep) for name in self.names):
            self.backbone(images)
        return torch.cat(found, dim=1)

    @property
    def name(self) -> str:
        """That of the backbone, and what is read of it."""
        return f"{self.backbone.name}, statistics"

    def train(self, mode: bool = True) -> DepthStatistics:
        """Stay in evaluation mode."""
        return super().train(False)


def statistics(maps: Tensor) -> Tensor:
    """Five numbers (N, 5·C) of each channel of maps (N, C, h, w).

    Mean, standard deviation, the cube root of the third central moment, maximum, and the standard deviation of the
    differences between neighbours in a row.
    """
    grid = maps.permute(0, 2, 3, 1)  # as the numbers lie in memory, which makes it several times as quick
    mean = grid.mean(dim=(1, 2), keepdim=True)
    centred = grid - mean
    squares = centred.square()
    third = (squares * centred).mean(dim=(1, 2))
    steps = centred.diff(dim=2) if grid.shape[2] > 1 else torch.zeros_like(centred)
    ripple = (steps.square().mean(dim=(1, 2)) - steps.mean(dim=(1, 2)).square()).clamp(min=0).sqrt()
    return torch.cat(
        [
            mean.flatten(1),
            squares.mean(dim=(1, 2)).sqrt(),
            third.sign() * third.abs().pow(1 / 3),
            grid.amax(dim=(1, 2)),
            ripple,
        ],
        dim=1,
    )


def _used_once(backbone: Backbone, size: int) -> list[str]:
    """Names of the blocks, in the order in which they are registered, that are used once and give one map or tokens."""
    names = _blocks(backbone)
    uses = dict.fromkeys(names, 0)

    def count(name: str, _module: nn.Module, _inputs: object, output: object) -> None:
        uses[name] += 1 if isinstance(output, Tensor) and output.ndim in (3, 4) else 2

    with torch.no_grad(), hooked((backbone.get_submodule(name), partial(count, name)) for name in names):
        was_training = backbone.training
        backbone.eval()
        backbone.vector(torch.zeros(1, 3, size, size, device=backbone.mean.device))
        backbone.train(was_training)
    return [name for name in names if uses[name] == 1]


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


def _map(output: Tensor) -> Tensor:
    """A block's output as maps (N, C, h, w); tokens (N, T, C) are one row."""
    if output.ndim == 3:
        return output.transpose(1, 2).unsqueeze(2)
    return output.permute(0, 3, 1, 2) if output.shape[1] == output.shape[2] != output.shape[3] else output
