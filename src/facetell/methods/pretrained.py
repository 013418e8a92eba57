"""Weights as arguments: what a backbone begins with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from facetell.detector.bundle import is_bundle, read_bundle
from facetell.detector.detector import Detector
from facetell.detector.runtimes.torch import torch_runtime
from facetell.errors import DataError, FacetellError, UsageError
from facetell.methods.method import Start
from facetell.methods.start import start_backbone
from facetell.networks.beside import Beside
from facetell.networks.depth import DepthStatistics

__all__ = ["General", "read_start", "second_backbone"]


def read_start(pretrained: str) -> tuple[Start | None, str, dict[str, object]]:
    """What the backbone begins with: its tensors, a name for the card, and the settings a detector imposes."""
    if pretrained == "library":
        return None, "the library's pretrained weights", {}
    if pretrained == "none":
        return None, "random weights", {}
    path = Path(pretrained)
    if is_bundle(path):
        description, tensors, _ = read_bundle(path)
        mine = {name: array for name, array in tensors.items() if name.startswith("backbone.")}
        backbone = {name.removeprefix("backbone."): torch.from_numpy(array) for name, array in mine.items()}
        settings = description["settings"]
        if not backbone or "backbone" not in settings:
            raise UsageError(
                f"{path} has no backbone to start from", hint="use a detector of finetune, fdftnet or siamese"
            )
        inherited = {"backbone": settings["backbone"], "size": settings["size"]}
        return Start("detector", backbone), f"the backbone of detector {path.name}", inherited
    if path.is_file():
        try:
            return Start("library", load_file(path)), f"the weights {path.name}", {}
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path} is not a safetensors file: {error}") from error
    raise UsageError(
        f"pretrained '{pretrained}' is neither a detector nor a file",
        hint="library, none, FILE.safetensors or a detector",
    )


@dataclass(frozen=True)
class General:
    """A second backbone to put beside a detector: its name, where its weights are from, and its images' size."""

    name: str
    weights: str
    size: int
    statistics: DepthStatistics


def second_backbone(loaded: Detector, name: str | None, weights: str | None, size: int | None) -> General | None:
    """The second backbone that was asked for, or by default the detector's own: the one it has beside it already, or
    one like its first with the weights that began with, if they are here.

    The one that it has beside it already is used again where the same is asked for. Raises what reading ``weights``
    raises and ``UsageError`` for a size below the detector's; what is only tried gives None.
    """
    if size is not None and size < loaded.size:
        raise UsageError(
            f"the detector sees {loaded.size} pixels a side, a second backbone cannot see {size}",
            hint=f"give at least {loaded.size}",
        )
    if weights == "none":
        raise UsageError("a second backbone with random weights knows nothing", hint="--weights FILE.safetensors")
    try:
        return _own(loaded, name, size) if weights is None else _given(loaded, name, weights, size)
    except FacetellError:
        if name or weights or size:
            raise
        return None


def _own(loaded: Detector, name: str | None, size: int | None) -> General | None:
    """With the weights that are at hand: those of a backbone beside it, the library's, or what its own began with."""
    settings, network = loaded.description["settings"], torch_runtime(loaded).network
    if isinstance(network, Beside) and name in (None, settings["backbone"]):
        statistics = network.statistics
        if size in (None, loaded.size):
            return General(settings["backbone"], settings["pretrained"], loaded.size, statistics)
        start = Start("detector", statistics.backbone.state_dict())
        body = start_backbone(settings["backbone"], size, "none", start)
        return General(settings["backbone"], settings["pretrained"], size, DepthStatistics(body, size))
    tried = "library" if name else str(settings.get("pretrained", "none"))
    if tried == "none" or is_bundle(Path(tried)):  # a detector's own backbone is no general one
        if size:
            raise UsageError(
                "the detector's backbone did not begin with general weights",
                hint="--weights FILE.safetensors or library",
            )
        return None
    return _given(loaded, name, tried, size)


def _given(loaded: Detector, name: str | None, weights: str, size: int | None) -> General:
    start, said, inherited = read_start(weights)
    chosen = name or str(inherited.get("backbone", loaded.description["settings"]["backbone"]))
    side = size or loaded.size
    statistics = DepthStatistics(start_backbone(chosen, side, weights, start), side)
    network = torch_runtime(loaded).network
    if isinstance(network, Beside) and side == loaded.size and _same(network.statistics, statistics):
        statistics = network.statistics
    return General(chosen, said, side, statistics)


def _same(one: DepthStatistics, other: DepthStatistics) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(
        torch.equal(tensor.cpu(), theirs[name]) for name, tensor in mine.items()
    )
