"""The backbone a trainable method begins with."""

from __future__ import annotations

from facetell.errors import DataError
from facetell.methods.method import Start
from facetell.networks.backbones import Backbone, build_backbone, load_library_tensors
from facetell.networks.tensors import misfit

__all__ = ["start_backbone"]


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
