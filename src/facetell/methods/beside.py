"""``beside``: an older detector and a second backbone beside it, mixed by a gate. Made by ``adapt``, not by ``fit``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from facetell.errors import SettingsError
from facetell.methods import get_method
from facetell.methods.contract import Method
from facetell.networks.backbones import build_backbone
from facetell.networks.beside import Beside
from facetell.settings import resolve, setting

__all__ = ["METHOD", "BesideSettings"]


@dataclass(frozen=True)
class BesideSettings:
    """The new backbone, and the method and settings of the older detector."""

    backbone: str = setting("squeezenet1_0", "the new backbone: squeezenet1_0, … or any timm name")
    weights: str = setting("library", "what the new backbone started from")
    size: int = setting(64, "side of the input in pixels", low=16, high=1024)
    old_method: str = setting("finetune", "method of the older detector")
    old_settings: str = setting("{}", "its settings, as JSON")
    precision: str = setting("auto", "arithmetic of the training step", choices=("auto", "32-true", "bf16-mixed"))


def build(settings: BesideSettings) -> Beside:
    """The network, no weights loaded. Raises ``SettingsError`` for old settings that are none."""
    method = get_method(settings.old_method)
    try:
        given = json.loads(settings.old_settings)
        old: Any = resolve(method.settings, given)
    except (ValueError, AttributeError, RecursionError) as error:
        raise SettingsError(f"old_settings are no settings of {method.name}: {error}") from error
    return Beside(method.build(old), build_backbone(settings.backbone, settings.size), settings.size)


METHOD = Method(
    name="beside",
    summary="an older detector, frozen, and a second backbone for a new kind of fake (made by `facetell adapt`)",
    settings=BesideSettings,
    build=build,
    fit=None,
)
