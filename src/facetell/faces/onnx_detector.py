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
from facetell.faces.face import Face

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

    def __init__(self, model: bytes, network: bytes, threshold: float, threads: int) -> None:
        self.threshold = threshold
        settings = {"name": self.name, "threshold": threshold, "fine": scales.FINE, "coarse": scales.COARSE}
        self.fingerprint = hashlib.sha256(model + json.dumps(settings, sort_keys=True).encode()).hexdigest()
        runtime = import_media("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # its warnings speak about the graph, which the user did not write
        options.enable_mem_pattern = False  # keeps a plan per input shape, and photos come in any
        self._session = runtime.InferenceSession(network, options, providers=["CPUExecutionProvider"])

    def detect(self, pixels: NDArray[np.uint8]) -> list[Face]:
        """Faces of uint8 (H, W, 3) RGB, the highest score first."""
        return scales.find(self._look, pixels)

    def _look(self, view: NDArray[np.uint8]) -> scales.Found:
        raise NotImplementedError
