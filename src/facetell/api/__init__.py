"""The public functions, one for each verb of the command, with the same names and the same arguments."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from facetell.errors import learning

if TYPE_CHECKING:
    from facetell.api._adapt import adapt
    from facetell.api._audit import audit
    from facetell.api._cache import cache
    from facetell.api._calibrate import calibrate
    from facetell.api._compare import compare
    from facetell.api._demo import demo
    from facetell.api._detect import detect
    from facetell.api._detectors import detectors
    from facetell.api._evaluate import evaluate
    from facetell.api._explain import explain
    from facetell.api._export import export
    from facetell.api._fit import fit
    from facetell.api._information import history, inspect, verify
    from facetell.api._keys import keys
    from facetell.api._methods import list_methods
    from facetell.api._promote import promote
    from facetell.api._pull import pull
    from facetell.api._push import push
    from facetell.api._remember import remember
    from facetell.api._report import report
    from facetell.api._serve import serve
    from facetell.api._sign import sign
    from facetell.api._sources import sources
    from facetell.api._stress import stress
    from facetell.api._threshold import threshold
    from facetell.api._watch import watch
    from facetell.benching import bench
    from facetell.blending.face_set import blend
    from facetell.ingest.prepare import prepare
    from facetell.ingest.several import join

__all__ = [
    "adapt",
    "audit",
    "bench",
    "blend",
    "cache",
    "calibrate",
    "compare",
    "demo",
    "detect",
    "detectors",
    "evaluate",
    "explain",
    "export",
    "fit",
    "history",
    "inspect",
    "join",
    "keys",
    "list_methods",
    "prepare",
    "promote",
    "pull",
    "push",
    "remember",
    "report",
    "serve",
    "sign",
    "sources",
    "stress",
    "threshold",
    "verify",
    "watch",
]

_HOMES = {
    "adapt": "facetell.api._adapt",
    "audit": "facetell.api._audit",
    "cache": "facetell.api._cache",
    "calibrate": "facetell.api._calibrate",
    "bench": "facetell.benching",
    "blend": "facetell.blending.face_set",
    "compare": "facetell.api._compare",
    "demo": "facetell.api._demo",
    "detect": "facetell.api._detect",
    "detectors": "facetell.api._detectors",
    "evaluate": "facetell.api._evaluate",
    "explain": "facetell.api._explain",
    "export": "facetell.api._export",
    "fit": "facetell.api._fit",
    "history": "facetell.api._information",
    "inspect": "facetell.api._information",
    "join": "facetell.ingest.several",
    "keys": "facetell.api._keys",
    "list_methods": "facetell.api._methods",
    "prepare": "facetell.ingest.prepare",
    "pull": "facetell.api._pull",
    "push": "facetell.api._push",
    "promote": "facetell.api._promote",
    "remember": "facetell.api._remember",
    "report": "facetell.api._report",
    "threshold": "facetell.api._threshold",
    "serve": "facetell.api._serve",
    "sign": "facetell.api._sign",
    "sources": "facetell.api._sources",
    "stress": "facetell.api._stress",
    "verify": "facetell.api._information",
    "watch": "facetell.api._watch",
}


def __getattr__(name: str) -> Any:
    """Import a verb on first use: judging needs no training code. Raises ``MissingExtraError`` where that is not installed."""
    if name not in _HOMES:
        raise AttributeError(f"module 'facetell.api' has no attribute '{name}'")
    with learning(f"facetell.{name}"):
        return getattr(importlib.import_module(_HOMES[name]), name)
