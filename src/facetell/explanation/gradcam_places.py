"""Where in a network Grad-CAM looks: the last place that all information passes and that still tells places apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from facetell.networks.cffn import CFFN
from facetell.networks.classical import FeatureClassifier
from facetell.networks.hooks import hooked
from facetell.networks.mixture import MixtureOfExperts
from facetell.networks.perceptron import DepthClassifier

__all__ = ["LEAST", "Place", "places_of", "tapped"]

LEAST = 4
"""Cells a side below which an earlier map is taken: 3×3 cannot tell an eye from a mouth."""


@dataclass(frozen=True)
class Place:
    """One place in a network: its modules by name (several that lie side by side), and cells a side of their maps."""

    modules: tuple[str, ...]
    side: int


def places_of(network: nn.Module, size: int) -> dict[str, Place]:
    """The places to explain of a network for ``size`` × ``size`` images, by the name of the part they lie in.

    ``backbone``, and ``ftt`` where a Fine-Tune Transformer works beside it. None of a mixture of experts and
    of the method ``depth``: these read maps at every depth, so no one place is passed by all information.
    """
    if isinstance(network, MixtureOfExperts | DepthClassifier):
        return {}
    backbone = network.get_submodule("backbone")
    # A classifier on features reads what the library's own classifier would read: for many transformers one token.
    end = backbone.vector if isinstance(network, FeatureClassifier) else backbone
    assert callable(end)
    found = {"backbone": _last_place(backbone, "backbone", end, size)}
    ftt = getattr(network, "ftt", None)
    if isinstance(ftt, nn.Module):
        found["ftt"] = _last_place(ftt, "ftt", ftt, size)
    return found


def _last_place(part: nn.Module, name: str, end: Callable[[Tensor], Tensor], size: int) -> Place:
    """The last cut of ``part`` with at least ``LEAST`` cells a side; without any, the last of those with most cells.

    A module is a *cut* if all that reaches the part's end comes through it: inside a residual branch or one of two
    streams, Grad-CAM would explain half the network. Its map must matter to the end too: behind the last block of a
    transformer whose classifier reads one token, the other tokens do not.
    """
    probe = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    probe = probe.to(next(part.parameters()).device)
    sides = _sides(part, end, probe)
    candidates: list[tuple[str, ...]] = [(module,) for module in sides]
    for cffn in (module for module in part.modules() if isinstance(module, CFFN)):
        candidates += _twins(part, cffn)
        candidates.sort(key=lambda names: list(sides).index(names[-1]))
    best: Place | None = None
    for names in reversed(candidates):
        side = sides[names[0]]
        if best is not None and side <= best.side:
            continue
        modules = [part.get_submodule(module) for module in names]
        if _is_cut(part, modules, end, probe) and _matters(modules, end, probe):
            best = Place(tuple(f"{name}.{module}" if module else name for module in names), side)
            if side >= LEAST:
                break
    assert best is not None, "the part itself is a cut"
    return best


def _twins(part: nn.Module, cffn: CFFN) -> list[tuple[str, ...]]:
    """The units of both streams that lie side by side."""
    names = {id(module): name for name, module in part.named_modules()}
    streams = [list(stream.children()) for stream in cffn.streams]
    return [tuple(names[id(unit)] for unit in units) for units in zip(*streams, strict=True)]


@torch.no_grad()
def _sides(part: nn.Module, end: Callable[[Tensor], Tensor], probe: Tensor) -> dict[str, int]:
    """Cells a side of the map of every module that is used once and gives a square map, in the order they end."""
    sides: dict[str, int] = {}
    uses: dict[str, int] = {}

    def note(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            uses[name] = uses.get(name, 0) + 1
            if isinstance(output, Tensor) and (shape := _layout(output)) is not None:
                sides[name] = shape[1]

        return hook

    with hooked([(module, note(name)) for name, module in part.named_modules()]):
        end(probe)
    return {name: side for name, side in sides.items() if uses[name] == 1}


def _is_cut(part: nn.Module, modules: list[nn.Module], end: Callable[[Tensor], Tensor], probe: Tensor) -> bool:
    """Whether the image reaches the end through ``modules`` alone: without their gradient there is none."""
    learning = [parameter for parameter in part.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        with torch.enable_grad(), hooked([(module, lambda _m, _i, output: output.detach()) for module in modules]):
            return not end(probe.clone().requires_grad_()).requires_grad
    finally:
        for parameter in learning:
            parameter.requires_grad_()


def _matters(modules: list[nn.Module], end: Callable[[Tensor], Tensor], probe: Tensor) -> bool:
    """Whether the maps of ``modules`` change what is at the end, whatever reads it there."""
    maps: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        maps.append(output)

    with torch.enable_grad(), ExitStack() as stack:
        for module in modules:
            stack.enter_context(hooked([(stack.enter_context(tapped(module)), keep)]))
        out = end(probe.clone().requires_grad_())
        reader = torch.randn(out.shape, generator=torch.Generator().manual_seed(0)).to(out.device)
        gradients = torch.autograd.grad((out * reader).sum(), maps)
    return all(bool(gradient.any()) for gradient in gradients)


@contextmanager
def tapped(module: nn.Module) -> Iterator[nn.Module]:
    """A module that sees the map of ``module`` as (N, C, h, w), whatever layout it has inside."""
    tap = nn.Identity()

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        layout = _layout(output)
        assert layout is not None
        kind, side = layout
        if kind == "map":
            return tap(output)
        if kind == "channels last":
            return tap(output.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        prefix = output.shape[1] - side * side
        grid = output[:, prefix:].transpose(1, 2).reshape(len(output), -1, side, side)
        return torch.cat((output[:, :prefix], tap(grid).flatten(2).transpose(1, 2)), dim=1)

    with hooked([(module, hook)]):
        yield tap


def _layout(output: Tensor) -> tuple[str, int] | None:
    """How a square map lies in a module's output, and its cells a side; None for what is no map.

    (N, C, h, h), (N, h, h, C), or tokens (N, prefix + h·h, C) of which a transformer has at most a few before the grid.
    """
    if output.ndim == 4 and output.shape[2] == output.shape[3]:
        return "map", output.shape[2]
    if output.ndim == 4 and output.shape[1] == output.shape[2]:
        return "channels last", output.shape[1]
    if output.ndim == 3:
        side = int(output.shape[1] ** 0.5)
        if side and output.shape[1] - side * side <= MOST_PREFIX:
            return "tokens", side
    return None


MOST_PREFIX = 5
"""Class, distillation and register tokens that stand before the grid, at most."""
