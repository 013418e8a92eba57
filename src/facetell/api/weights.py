"""Weights as arguments: what a backbone begins with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from facetell.detector.bundle import is_bundle, read_bundle
from facetell.errors import DataError, FacetellError, UsageError
from facetell.methods.contract import Start
from facetell.methods.start import start_backbone
from facetell.training.replay import Origin

__all__ = ["general_backbone", "read_start"]


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


def general_backbone(description: dict[str, Any], weights: str | None) -> Origin | None:
    """A backbone like the detector's with ``weights``, or by default with those that its own began with, if they are here.

    Raises what reading ``weights`` raises; what is only tried gives None.
    """
    settings = description["settings"]
    tried = weights or str(settings.get("weights", "none"))
    if weights is None and (tried == "none" or is_bundle(Path(tried))):
        return None  # a detector's own backbone is no general one
    try:
        start, name, inherited = read_start(tried)
        backbone = str(inherited.get("backbone", settings["backbone"]))
        return Origin(backbone, name, start_backbone(backbone, settings["size"], tried, start))
    except FacetellError:
        if weights is not None:
            raise
        return None
