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
TINY = 1e-12
"""Added to variances while the backbone learns: the root of 0 has no slope."""
SHALLOW = 0.75
"""Part of the blocks that `DepthStatistics` reads, from the stem on: the last ones tell what is in a picture. They brought
nothing on StyleGAN faces, and are more than half of EfficientNet-Lite2's weights."""


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

    Blocks as in `DepthVectors`, the first 75% of them without the stem. Those behind them are taken out of the backbone, where
    it still works without; a backbone that was cut so is read as it is. It learns between `learn` and `freeze` alone, and is in
    evaluation mode else. Raises ``SettingsError`` where
    there are no such blocks.
    """

    def __init__(self, backbone: Backbone, size: int) -> None:
        super().__init__()
        self.backbone = backbone.eval()
        self._learns = False
        if not backbone.kept_blocks:
            inner = _used_once(backbone, size)[1:]
            backbone.kept_blocks = inner[: max(round(SHALLOW * len(inner)), 1)]
            _cut(backbone, inner[len(backbone.kept_blocks) :], size)
        self.names = backbone.kept_blocks
        if not self.names:
            raise SettingsError(
                f"{backbone.name} has no blocks whose maps could be read",
                hint="choose another --backbone, or --strategy",
            )
        with torch.no_grad():
            self.length = int(self(torch.zeros(1, 3, size, size, device=backbone.mean.device)).shape[1])
        self.freeze()

    def learn(self) -> None:
        """Let the blocks that are read learn, and batch norms follow what they see; the stem stays."""
        self._learns = True
        for name in self.names:
            self.backbone.get_submodule(name).requires_grad_(True)

    def freeze(self) -> None:
        """Let nothing of it learn, as at first."""
        self._learns = False
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        # Differences of maps do not bear half the digits; steps of learning do.
        halved = torch.is_grad_enabled() and torch.is_autocast_enabled(images.device.type)
        with torch.autocast(images.device.type, enabled=halved):
            found: list[Tensor] = []

            def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
                found.append(statistics(_map(output).float()))

            # Anew in each pass: a copy of the module has hooks of its own.
            with hooked((self.backbone.get_submodule(name), keep) for name in self.names):
                self.backbone(images)
            return torch.cat(found, dim=1)

    @property
    def name(self) -> str:
        """That of the backbone, and what is read of it."""
        return f"{self.backbone.name}, statistics"

    def train(self, mode: bool = True) -> DepthStatistics:
        """Stay in evaluation mode, unless it learns."""
        return super().train(mode and self._learns)


def statistics(maps: Tensor) -> Tensor:
    """Mean and standard deviation (N, 2·C) of each channel of maps (N, C, h, w).

    The third moment, the maximum and differences of neighbours were tried beside them, and brought nothing.
    """
    grid = maps.permute(0, 2, 3, 1)  # as the numbers lie in memory, which makes it several times as quick
    mean = grid.mean(dim=(1, 2), keepdim=True)
    variance = (grid - mean).square().mean(dim=(1, 2))
    if variance.requires_grad:
        variance = variance + TINY
    return torch.cat([mean.flatten(1), variance.sqrt()], dim=1)


def _cut(backbone: Backbone, blocks: list[str], size: int) -> None:
    """Take ``blocks`` out of the backbone, unless it does not work without them."""
    taken = {name: backbone.get_submodule(name) for name in blocks}
    for name in blocks:
        backbone.set_submodule(name, nn.Identity())
    try:
        backbone.map_shape(size)
        backbone.vector_length(size)
    except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError):  # what follows needs their map
        for name, block in taken.items():
            backbone.set_submodule(name, block)


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
    """Names of the blocks in the backbone, in the order in which they are registered; sequences are looked into."""
    prefix = "body.model" if hasattr(backbone.body, "model") else "body"
    return _blocks_in(backbone.get_submodule(prefix), prefix)


def _blocks_in(module: nn.Module, prefix: str) -> list[str]:
    names = []
    for name, child in module.named_children():
        if any(True for _ in child.parameters()):
            full = f"{prefix}.{name}"
            inside = isinstance(child, nn.Sequential | nn.ModuleList) and len(child) > 1
            names += _blocks_in(child, full) if inside else [full]
    return names


def _map(output: Tensor) -> Tensor:
    """A block's output as maps (N, C, h, w); tokens (N, T, C) are one row."""
    if output.ndim == 3:
        return output.transpose(1, 2).unsqueeze(2)
    return output.permute(0, 3, 1, 2) if output.shape[1] == output.shape[2] != output.shape[3] else output
