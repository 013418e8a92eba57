"""Pretrained weights: read from a library, a file or a detector, and given to the backbone that begins with them."""

from __future__ import annotations

import shlex
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from facetell.detector.bundle import identity_of, is_bundle, located, read_bundle
from facetell.detector.weights import read_weights
from facetell.errors import DataError, UsageError
from facetell.files import sha256_of
from facetell.hub import is_fetched
from facetell.methods.method import Start
from facetell.networks.backbones import Backbone, build_backbone, load_library_tensors
from facetell.networks.tensors import misfit

__all__ = ["read_start", "start_backbone", "without_path"]


def read_start(pretrained: str) -> tuple[Start | None, str, dict[str, object]]:
    """What the backbone begins with: its tensors, a name for the card, and the settings a detector imposes."""
    if pretrained == "library":
        return None, "the library's pretrained weights", {}
    if pretrained == "none":
        return None, "random weights", {}
    path = located(pretrained)
    if is_bundle(path):
        description = read_bundle(path)
        tensors = read_weights(path, description)
        mine = {name: array for name, array in tensors.items() if name.startswith("backbone.")}
        backbone = {name.removeprefix("backbone."): torch.from_numpy(array) for name, array in mine.items()}
        settings = description["settings"]
        if not backbone or "backbone" not in settings:
            name = shlex.quote(pretrained)
            raise UsageError(
                f"{pretrained}, of the method {description['method']}, has no whole backbone to start from",
                hint=f"to teach it new fakes: facetell adapt {name} --fake FOLDER --real FOLDER -o NEW; to start anew: library, "
                "none, FILE.safetensors or a detector of finetune, fdftnet, siamese or features",
            )
        inherited = {"backbone": settings["backbone"], "size": settings["size"]}
        return Start("detector", backbone), f"the backbone of detector {path.resolve().name}", inherited
    if path.is_file():
        try:
            return Start("library", load_file(path)), f"the weights {path.name}", {}
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path} is not a safetensors file: {error}", hint=_how_to_convert(path)) from error
    raise UsageError(
        f"pretrained '{pretrained}' is neither a detector nor a file",
        hint="library, none, FILE.safetensors or a detector",
    )


def _how_to_convert(path: Path) -> str | None:
    """A line that makes a safetensors file of what torch has saved, without running what is in it; None for another file."""
    with path.open("rb") as file:
        begin = file.read(4)
    if begin[:2] != b"\x80\x02" and begin != b"PK\x03\x04":  # pickle, or a zip with one
        return None
    return (
        "torch's own files can run code, so convert it once: python -c \"import torch, safetensors.torch as s; "
        f"d = torch.load('{path.name}', map_location='cpu', weights_only=True); d = d.get('state_dict', d.get('model', d)); "
        f"s.save_file({{k: v.clone().contiguous() for k, v in d.items()}}, '{path.stem}.safetensors')\""
    )


def without_path(pretrained: str) -> str:
    """What a detector keeps of where it began: the name and the begin of the SHA-256 of a file or of a detector's
    description; never a path, which may tell who made it."""
    if pretrained in ("library", "none"):
        return pretrained
    path = located(pretrained)
    path = path if is_fetched(path) else path.resolve()
    return f"detector {path.name} ({identity_of(path)})" if is_bundle(path) else f"{path.name} ({sha256_of(path)[:16]})"


def start_backbone(name: str, size: int, pretrained: str, start: Start | None) -> Backbone:
    """Build a backbone and give it its first weights.

    ``start`` wins when given (a file or a detector, read by the caller); else ``pretrained`` is ``library`` or ``none``.
    """
    backbone = build_backbone(name, size, library_weights=start is None and pretrained == "library")
    if start is None:
        return backbone
    if start.kind == "library":
        load_library_tensors(backbone, start.tensors)
        return backbone
    wrong = misfit(backbone, start.tensors)
    if wrong:
        raise DataError(
            f"the detector's backbone does not fit {name} at {size}×{size}: {wrong}",
            hint="fit at the detector's own size",
        )
    backbone.load_state_dict(dict(start.tensors))
    return backbone
