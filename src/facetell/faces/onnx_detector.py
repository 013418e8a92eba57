"""What the ONNX face detectors share: the library, the session, the fingerprint."""

from __future__ import annotations

import hashlib
import importlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.errors import MissingExtraError
from facetell.faces import scales
from facetell.faces.candidates import Found
from facetell.faces.face import LEAST, Face

__all__ = ["OnnxDetector", "import_media"]


def import_media(module: str) -> Any:
    """Import a library of the extra ``media``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError("finding faces", "media") from None


class OnnxDetector:
    """Implements `FaceDetector` for a network of ONNX Runtime, on the CPU; `_look` gives its candidates in one view.

    Args:
        model: bytes of the ONNX file.
        network: the same, changed so that it runs.
        threshold: smallest score of a face, 0..1.
        threads: threads of one call.

    Raises:
        MissingExtraError: a library is not installed.
    """

    name = ""
    surely = 0.0
    """See `scales.Sight`, as ``trace`` and ``tile``."""
    trace: float | None = None
    tile = 1280

    def __init__(self, model: bytes, network: bytes, threshold: float, threads: int) -> None:
        self.threshold = threshold
        settings = {"name": self.name, "threshold": threshold, "scales": scales.SETTINGS, "trace": self.trace}
        self.fingerprint = hashlib.sha256(model + json.dumps(settings, sort_keys=True).encode()).hexdigest()
        runtime = import_media("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # its warnings speak about the graph, which the user did not write
        options.enable_mem_pattern = False  # keeps a plan per input shape, and photos come in any
        self._session = runtime.InferenceSession(network, options, providers=["CPUExecutionProvider"])

    def detect(self, pixels: NDArray[np.uint8], least: float = LEAST) -> list[Face]:
        """Faces of uint8 (H, W, 3) RGB, the highest score first; all from ``least`` pixels on, and some smaller ones."""
        return scales.find(scales.Sight(self._look, self.threshold, self.surely, self.trace, self.tile), pixels, least)

    def _look(self, view: NDArray[np.uint8]) -> Found:
        raise NotImplementedError
