"""What is said of a detector whose training data could be told apart without looking at a face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["EXPLAINS", "shortcut_warnings", "suspicious"]

EXPLAINS = ("inner ring", "sharpness")
"""Families that may explain another's AUROC but can be evidence themselves: the texture of a forgery differs."""


def suspicious(families: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the measured families that are shortcuts, the strongest first."""
    found = [one for one in families if one["verdict"] != "none" and one["family"] not in EXPLAINS]
    return sorted(found, key=lambda one: -one["low"])


def shortcut_warnings(families: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence for each shortcut in ``families``, a detector's ``data.shortcuts``; empty without one."""
    ends = {"strong": "what this detector measures may be that", "some": "chance, for this detector, is not 0.5"}
    return [
        f"{one['family']} alone tells real from fake in the training data: AUROC {one['auroc']:.2f} "
        f"({one['low']:.2f}–{one['high']:.2f}, n = {one['n']:,}): {ends[one['verdict']]}"
        for one in suspicious(families)
    ]
