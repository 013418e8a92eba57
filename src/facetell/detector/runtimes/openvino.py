"""``model.onnx`` by OpenVINO, where the extra ``openvino`` is installed: on some processors quicker than ONNX Runtime."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from facetell.detector.description import MODEL
from facetell.detector.runtimes.onnx import open_model
from facetell.detector.runtimes.onnx_cost import first_line
from facetell.detector.runtimes.onnx_model import CROPS
from facetell.detector.runtimes.per_face import Crops, EmbedsPerFace, Floats, PerFace, check_device
from facetell.detector.weights import model_bytes
from facetell.errors import BundleError, MissingExtraError
from facetell.threads import usable_cores

__all__ = ["load", "runtime_of"]


def load(path: Path, description: dict[str, Any], device: str, threads: int | None) -> PerFace:
    """See `facetell.detector.runtimes.load_runtime`."""
    check_device(device)
    return runtime_of(model_bytes(path, description), path, description["input"]["size"], threads)


def runtime_of(data: bytes, path: Path, size: int, threads: int | None = None) -> PerFace:
    """As `facetell.detector.runtimes.onnx.runtime_of`, which also says what a file may hold."""
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("the runtime openvino", "openvino") from error
    _, length = open_model(data, path, size)
    streams = threads or usable_cores()
    try:
        network = openvino.Core().read_model(model=data, weights=b"")
        network.reshape({CROPS: [1, size, size, 3]})
        compiled = openvino.compile_model(
            network,
            "CPU",
            # Single precision, or it takes bfloat16 where the processor has that: logits would differ by some percent.
            {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams},
        )
    except Exception as error:  # of its own kinds
        raise BundleError(f"OpenVINO cannot open {path / MODEL}: {first_line(error)}") from None
    own = threading.local()

    def compute(crops: Crops) -> list[Floats]:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        own.request.infer({CROPS: crops})
        return [np.array(own.request.get_output_tensor(place).data) for place in range(len(compiled.outputs))]

    return EmbedsPerFace(compute, size, length, threads) if length else PerFace(compute, size, threads)
