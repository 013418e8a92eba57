"""``methods``: the ways there are to learn a detector."""

from __future__ import annotations

from facetell.methods import METHODS, get_method
from facetell.methods.method import Method

__all__ = ["list_methods"]


def list_methods() -> list[Method]:
    """All detection methods with their settings (``facetell.settings.describe(method.settings)``) and presets."""
    return [get_method(name) for name in METHODS]
