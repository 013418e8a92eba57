"""Detection methods. A method is one file and one line in ``METHODS``; the contract is in ``method.py``."""

from __future__ import annotations

import importlib

from facetell.errors import UsageError, near_miss
from facetell.methods.method import Method

__all__ = ["METHODS", "get_method"]

METHODS = {
    "depth": "facetell.methods.depth",
    "fdftnet": "facetell.methods.fdftnet",
    "features": "facetell.methods.features",
    "finetune": "facetell.methods.finetune",
    "siamese": "facetell.methods.siamese",
}
"""Names of methods and the module that holds each."""

MADE = {"experts": "facetell.methods.experts"}
"""Those that only ``adapt`` makes: they have no ``fit``."""


def get_method(name: str) -> Method:
    """Import a method by name. Raises ``UsageError`` with the nearest name for an unknown one."""
    known = {**METHODS, **MADE}
    if name not in known:
        raise UsageError(
            f"unknown method '{name}'{near_miss(name, METHODS)}", hint=f"methods: {', '.join(sorted(METHODS))}"
        )
    module = importlib.import_module(known[name])
    return module.METHOD
