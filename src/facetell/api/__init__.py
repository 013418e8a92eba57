"""The public functions, one for each verb of the command, with the same names and the same arguments."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facetell.api.adapting import adapt
    from facetell.api.auditing import audit
    from facetell.api.benching import bench
    from facetell.api.blending import blend
    from facetell.api.comparing import compare
    from facetell.api.datasets import sources
    from facetell.api.demonstration import demo
    from facetell.api.detection import detect
    from facetell.api.evaluating import evaluate
    from facetell.api.explaining import explain
    from facetell.api.fitting import fit
    from facetell.api.information import history, inspect, list_methods, verify
    from facetell.api.operating import calibrate, threshold
    from facetell.api.remembering import remember
    from facetell.api.showing import report
    from facetell.api.stressing import stress
    from facetell.api.watching import watch
    from facetell.data.prepare import prepare

__all__ = [
    "adapt",
    "audit",
    "bench",
    "blend",
    "calibrate",
    "compare",
    "demo",
    "detect",
    "evaluate",
    "explain",
    "fit",
    "history",
    "inspect",
    "list_methods",
    "prepare",
    "remember",
    "report",
    "sources",
    "stress",
    "threshold",
    "verify",
    "watch",
]

_HOMES = {
    "adapt": "facetell.api.adapting",
    "audit": "facetell.api.auditing",
    "calibrate": "facetell.api.operating",
    "bench": "facetell.api.benching",
    "blend": "facetell.api.blending",
    "compare": "facetell.api.comparing",
    "demo": "facetell.api.demonstration",
    "detect": "facetell.api.detection",
    "evaluate": "facetell.api.evaluating",
    "explain": "facetell.api.explaining",
    "fit": "facetell.api.fitting",
    "history": "facetell.api.information",
    "inspect": "facetell.api.information",
    "list_methods": "facetell.api.information",
    "prepare": "facetell.data.prepare",
    "remember": "facetell.api.remembering",
    "report": "facetell.api.showing",
    "threshold": "facetell.api.operating",
    "sources": "facetell.api.datasets",
    "stress": "facetell.api.stressing",
    "verify": "facetell.api.information",
    "watch": "facetell.api.watching",
}


def __getattr__(name: str) -> Any:
    """Import a verb on first use: preparing needs no training code."""
    if name not in _HOMES:
        raise AttributeError(f"module 'facetell.api' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
