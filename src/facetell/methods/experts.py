"""``experts``: a mixture of an older detector and experts on a second backbone. Made by ``adapt``, not by ``fit``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from facetell.errors import SettingsError
from facetell.methods import get_method
from facetell.methods.method import Method
from facetell.networks.backbones import build_backbone
from facetell.networks.mixture import MixtureOfExperts
from facetell.settings import resolve, setting

__all__ = ["METHOD", "ExpertsSettings"]


@dataclass(frozen=True)
class ExpertsSettings:
    """The second backbone, and the method and settings of the older detector."""

    backbone: str = setting("squeezenet1_0", "the second backbone: squeezenet1_0, … or any timm name")
    pretrained: str = setting("library", "where the second backbone's weights are from")
    size: int = setting(
        64, "side of the input in pixels; the older detector gets it at its own size", low=16, high=1024
    )
    experts: int = setting(1, "kinds of fakes learned on the second backbone", low=1, high=1000)
    shared: bool = setting(False, "the older detector is of the method depth, and the experts read its own backbone")
    old_method: str = setting("finetune", "method of the older detector")
    old_settings: str = setting("{}", "its settings, as JSON")


def build(settings: ExpertsSettings) -> MixtureOfExperts:
    """The network without weights. Raises ``SettingsError`` for unusable old settings, or an old size above ``size``."""
    method = get_method(settings.old_method)
    try:
        given = json.loads(settings.old_settings)
        old: Any = resolve(method.settings, given)
    except (ValueError, AttributeError, RecursionError) as error:
        raise SettingsError(f"old_settings are not settings of {method.name}: {error}") from error
    if old.size > settings.size:
        raise SettingsError(
            f"the older detector takes crops of {old.size} pixels a side, more than {settings.size}",
            hint=f"give at least {old.size}",
        )
    if settings.shared and (settings.old_method, old.size) != ("depth", settings.size):
        raise SettingsError("only a detector of the method depth shares its backbone, at its own size")
    backbone = None if settings.shared else build_backbone(settings.backbone, settings.size)
    return MixtureOfExperts(method.build(old), old.size, backbone, settings.size, settings.experts)


METHOD = Method(
    name="experts",
    summary="an older detector, unchanged, and an expert for each new kind of fake (made by `facetell adapt`)",
    settings=ExpertsSettings,
    build=build,
    fit=None,
)
