"""What the ONNX face detectors share: the session, the fingerprint."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.faces import scales
from facetell.faces.candidates import Found
from facetell.faces.face import LEAST, Face

__all__ = ["OnnxDetector"]


class OnnxDetector:
    """Implements `FaceDetector` for a network of ONNX Runtime, on the CPU; `_look` gives its candidates in one view.

    Args:
        model: bytes of the ONNX file.
        network: the same, changed so that it runs.
        threshold: smallest score of a face, 0..1.
        threads: threads of one call.
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
        # A tenth of a second, and not everybody looks for faces.
        import onnxruntime as runtime  # type: ignore[import-untyped]

        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # its warnings speak about the graph, which the user did not write
        options.enable_mem_pattern = False  # keeps a plan per input shape, and photos come in any
        self._session: Any = runtime.InferenceSession(network, options, providers=["CPUExecutionProvider"])

    def detect(self, pixels: NDArray[np.uint8], least: float = LEAST) -> list[Face]:
        """Faces of uint8 (H, W, 3) RGB, the highest score first; all from ``least`` pixels on, and some smaller ones."""
        return scales.find(scales.Sight(self._look, self.threshold, self.surely, self.trace, self.tile), pixels, least)

    def _look(self, view: NDArray[np.uint8]) -> Found:
        raise NotImplementedError
