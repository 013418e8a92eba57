"""Weights as arguments: what a backbone begins with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from facetell.detector.bundle import is_bundle, read_bundle
from facetell.detector.detector import Detector
from facetell.errors import DataError, FacetellError, UsageError
from facetell.methods.contract import Start
from facetell.methods.start import start_backbone
from facetell.networks.beside import Beside
from facetell.networks.depth import DepthStatistics

__all__ = ["General", "read_start", "second_backbone"]


def read_start(weights: str) -> tuple[Start | None, str, dict[str, object]]:
    """What the backbone begins with: its tensors, a name for the card, and the settings a detector imposes."""
    if weights == "library":
        return None, "the library's pretrained weights", {}
    if weights == "none":
        return None, "random weights", {}
    path = Path(weights)
    if is_bundle(path):
        description, tensors, _ = read_bundle(path)
        backbone = {k.removeprefix("backbone."): v for k, v in tensors.items() if k.startswith("backbone.")}
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
        f"weights '{weights}' are neither a detector nor a file", hint="library, none, FILE.safetensors or a detector"
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

    Raises what reading ``weights`` raises and ``UsageError`` for a size below the detector's; what is only tried gives
    None.
    """
    settings = loaded.description["settings"]
    if size is not None and size < loaded.size:
        raise UsageError(
            f"the detector sees {loaded.size} pixels a side, a second backbone cannot see {size}",
            hint=f"give at least {loaded.size}",
        )
    if isinstance(loaded.network, Beside) and not (name or weights or size):
        return General(settings["backbone"], settings["weights"], loaded.size, loaded.network.statistics)
    asked = bool(name or weights)
    tried = weights or ("library" if name else str(settings.get("weights", "none")))
    if not asked and (tried == "none" or is_bundle(Path(tried))):
        return None  # a detector's own backbone is no general one
    try:
        start, said, inherited = read_start(tried)
        chosen = name or str(inherited.get("backbone", settings["backbone"]))
        side = size or loaded.size
        body = start_backbone(chosen, side, tried, start)
        return General(chosen, said, side, DepthStatistics(body, side))
    except FacetellError:
        if asked:
            raise
        return None
