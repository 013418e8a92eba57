"""facetell: detect fake face images, and learn a new kind of fake from a few examples.

The verbs of the command are functions here, with the same names and arguments: ``prepare``, ``inspect``, ``join``, ``blend``,
``fit``, ``threshold``, ``calibrate``, ``evaluate``, ``report``, ``audit``, ``bench``, ``compare``, ``detect``,
``explain``, ``stress``, ``watch``, ``remember``, ``adapt``, ``history``, ``verify``, ``serve``, ``keys``, ``detectors``,
``push``, ``pull``, ``sign``, ``promote``,
``sources``, ``cache``, ``demo``; ``methods`` is ``list_methods`` (the package ``facetell.methods`` holds them). ``Detector`` and
``FaceSet`` are the two things they work on. Everything is imported on first use.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facetell.api import (
        adapt,
        audit,
        bench,
        blend,
        cache,
        calibrate,
        compare,
        demo,
        detect,
        detectors,
        evaluate,
        explain,
        fit,
        history,
        inspect,
        join,
        keys,
        list_methods,
        prepare,
        promote,
        pull,
        push,
        remember,
        report,
        serve,
        sign,
        sources,
        stress,
        threshold,
        verify,
        watch,
    )
    from facetell.detector.detector import Detector
    from facetell.detector.verdict import Verdict
    from facetell.faceset.table import FaceSet

    __version__: str

__all__ = [
    "Detector",
    "FaceSet",
    "Verdict",
    "__version__",
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

# ONNX Runtime from 1.29 on sends events about what it runs to Microsoft, and keeps an identifier of the machine. It reads this
# as it is imported, so this is set here, before anything of ours does, and inherited by worker processes.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_ELSEWHERE = {
    "Detector": "facetell.detector.detector",
    "FaceSet": "facetell.faceset.table",
    "Verdict": "facetell.detector.verdict",
}


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib import metadata  # takes as long as all else that the command needs before it can say a word

        return metadata.version("facetell")
    if name not in __all__:
        raise AttributeError(f"module 'facetell' has no attribute '{name}'")
    return getattr(importlib.import_module(_ELSEWHERE.get(name, "facetell.api")), name)
