"""The runtime that judges unless another is asked for: ``model.onnx`` by ONNX Runtime, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime  # type: ignore[import-untyped]

from facetell.detector.description import MODEL
from facetell.detector.runtimes.onnx_cost import cost_of, first_line
from facetell.detector.runtimes.onnx_model import CROPS, VECTORS, OnnxModel, read_onnx
from facetell.detector.runtimes.per_face import Crops, EmbedsPerFace, Floats, PerFace, check_device
from facetell.detector.weights import model_bytes
from facetell.errors import BundleError

__all__ = ["load", "open_model", "runtime_of"]


def load(path: Path, description: dict[str, Any], device: str, threads: int | None) -> PerFace:
    """See `facetell.detector.runtimes.load_runtime`."""
    check_device(device)
    return runtime_of(model_bytes(path, description), path, description["input"]["size"], threads)


def open_model(data: bytes, path: Path, size: int) -> tuple[OnnxModel, int]:
    """A file that may be given to an engine, and the length of its vectors, 0 without.

    Raises ``BundleError`` with the reason for one that is not what `facetell fit` writes, see `onnx_model`.
    """
    try:
        model = read_onnx(data)
        return model, cost_of(model, size, onnxruntime).outputs.get(VECTORS, (1, 0))[1]
    except BundleError as error:
        raise BundleError(
            f"{path / MODEL} is refused: {error.message}", hint="it is damaged, or was made by others"
        ) from None


def runtime_of(data: bytes, path: Path, size: int, threads: int | None = None) -> PerFace:
    """What computes the graph in ``data``. ``path``: where it was read, for messages. Raises ``BundleError``."""
    _, length = open_model(data, path, size)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of its own kinds, which have no base but this
        raise BundleError(f"ONNX Runtime cannot open {path / MODEL}: {first_line(error)}") from None

    def compute(crops: Crops) -> list[Floats]:
        try:
            found: list[Floats] = session.run(None, {CROPS: crops})
        except Exception as error:
            raise BundleError(f"ONNX Runtime cannot compute {path / MODEL}: {first_line(error)}") from None
        return found

    return EmbedsPerFace(compute, size, length, threads) if length else PerFace(compute, size, threads)
