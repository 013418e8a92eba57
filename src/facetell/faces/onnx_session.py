"""What the ONNX face detectors share: the libraries, the session, the fingerprint."""

from __future__ import annotations

import hashlib
import importlib
import json
from typing import Any

from facetell.errors import MissingExtraError

__all__ = ["fingerprint", "import_media", "open_session"]


def import_media(module: str) -> Any:
    """Import a library of the extra ``media``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError("finding faces", "media") from None


def open_session(model: bytes, threads: int, providers: tuple[str, ...]) -> Any:
    """Open an ``onnxruntime.InferenceSession`` with ``threads`` threads on the first of ``providers`` there is."""
    runtime = import_media("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # its warnings speak about the graph, which the user did not write
    options.enable_mem_pattern = False  # keeps a plan per input shape, and photos come in any
    return runtime.InferenceSession(model, options, providers=list(providers))


def fingerprint(model: bytes, settings: dict[str, Any]) -> str:
    """SHA-256 (hexadecimal) of a model file and the settings it runs with."""
    digest = hashlib.sha256(model)
    digest.update(json.dumps(settings, sort_keys=True).encode())
    return digest.hexdigest()
