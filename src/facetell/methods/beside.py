"""``beside``: an older detector and experts on a second backbone beside it. Made by ``adapt``, not by ``fit``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from facetell.errors import SettingsError
from facetell.methods import get_method
from facetell.methods.method import Method
from facetell.networks.backbones import build_backbone
from facetell.networks.beside import Beside
from facetell.settings import resolve, setting

__all__ = ["METHOD", "BesideSettings"]


@dataclass(frozen=True)
class BesideSettings:
    """The second backbone, and the method and settings of the older detector."""

    backbone: str = setting("squeezenet1_0", "the second backbone: squeezenet1_0, … or any timm name")
    pretrained: str = setting("library", "what the second backbone's weights are")
    size: int = setting(64, "side of the input in pixels; the older detector sees it at its own", low=16, high=1024)
    experts: int = setting(1, "kinds learned on the second backbone", low=1, high=1000)
    old_method: str = setting("finetune", "method of the older detector")
    old_settings: str = setting("{}", "its settings, as JSON")


def build(settings: BesideSettings) -> Beside:
    """The network, no weights loaded. Raises ``SettingsError`` for old settings that are none, or of larger images."""
    method = get_method(settings.old_method)
    try:
        given = json.loads(settings.old_settings)
        old: Any = resolve(method.settings, given)
    except (ValueError, AttributeError, RecursionError) as error:
        raise SettingsError(f"old_settings are no settings of {method.name}: {error}") from error
    if old.size > settings.size:
        raise SettingsError(
            f"the older detector sees {old.size} pixels a side, more than {settings.size}",
            hint=f"give at least {old.size}",
        )
    backbone = build_backbone(settings.backbone, settings.size)
    return Beside(method.build(old), old.size, backbone, settings.size, settings.experts)


METHOD = Method(
    name="beside",
    summary="an older detector, untouched, and experts for new kinds of fakes beside it (made by `facetell adapt`)",
    settings=BesideSettings,
    build=build,
    fit=None,
)
