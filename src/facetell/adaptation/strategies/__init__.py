"""Strategies of ``adapt``. A strategy is one file and one line in ``STRATEGIES``; ``task.py`` says what it provides."""

from __future__ import annotations

import importlib

from facetell.adaptation.task import Strategy
from facetell.errors import UsageError, near_miss

__all__ = ["STRATEGIES", "get_strategy"]

STRATEGIES = {
    "linear-probe": "facetell.adaptation.strategies.linear_probe",
    "norms": "facetell.adaptation.strategies.norms",
    "lora": "facetell.adaptation.strategies.lora",
    "full": "facetell.adaptation.strategies.full",
    "fdftnet": "facetell.adaptation.strategies.fdftnet",
    "classical": "facetell.adaptation.strategies.classical",
    "expert": "facetell.adaptation.strategies.expert",
}
"""Names of strategies and the module that holds each, from the least that changes to the most that is new."""


def get_strategy(name: str) -> Strategy:
    """Import a strategy by name. Raises ``UsageError`` with the nearest name for an unknown one."""
    if name not in STRATEGIES:
        raise UsageError(
            f"unknown strategy '{name}'{near_miss(name, STRATEGIES)}", hint=f"strategies: {', '.join(STRATEGIES)}"
        )
    strategy: Strategy = importlib.import_module(STRATEGIES[name]).STRATEGY
    return strategy
