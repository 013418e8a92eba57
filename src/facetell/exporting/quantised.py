"""``model.onnx`` in whole numbers of 8 bits: a quarter of the size, and quicker on processors that multiply those.

Static quantisation (Jacob et al. 2018): ranges of maps come from faces, ranges of weights from each channel. What is not a
convolution or a product of matrices stays in single precision.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facetell.detector.runtimes.onnx_cost import first_line
from facetell.detector.runtimes.onnx_model import CROPS, LOGITS
from facetell.errors import FacetellError, learning

__all__ = ["quantised"]

OPERATORS = ("Conv", "MatMul", "Gemm")


def quantised(data: bytes, crops: npt.NDArray[np.uint8]) -> bytes:
    """The graph in ``data`` in int8, with the ranges that its maps have on ``crops`` (N, S, S, 3). It gives logits alone.

    Raises ``MissingExtraError`` where onnx is not installed, ``FacetellError`` where ONNX Runtime cannot do it.
    """
    with learning("writing a model in int8"):
        import onnx
        import onnxruntime.quantization as ort  # type: ignore[import-untyped]
    with tempfile.TemporaryDirectory(prefix="facetell-") as folder:
        plain, whole = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        try:
            folded = _folded(onnx.load_from_string(data), plain)
            ort.quantize_static(
                plain,
                whole,
                _Faces(crops),
                quant_format=ort.QuantFormat.QDQ,
                op_types_to_quantize=list(OPERATORS),
                nodes_to_exclude=_kept(folded),
                per_channel=True,
                activation_type=ort.QuantType.QUInt8,
                weight_type=ort.QuantType.QInt8,
            )
        except Exception as error:  # of many kinds, of several libraries
            raise FacetellError(
                f"it cannot be written in int8: {first_line(error)}", hint="leave out --int8"
            ) from error
        made = onnx.load(whole)
    for tensor in made.graph.initializer:  # their bytes in one way, which is the one that we read
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
    used = {node.domain for node in made.graph.node}
    sets = [each for each in made.opset_import if each.domain in used]
    del made.opset_import[:], made.metadata_props[:]
    made.opset_import.extend(sets)
    made.producer_name = "facetell"
    plainly: bytes = made.SerializeToString(deterministic=True)
    return plainly


class _Faces:
    """What ONNX Runtime takes its ranges from: one face at a time."""

    def __init__(self, crops: npt.NDArray[np.uint8]) -> None:
        self._faces: Iterator[npt.NDArray[np.uint8]] = iter(crops)

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        face = next(self._faces, None)
        return None if face is None else {CROPS: face[None]}


def _folded(model: Any, file: Path) -> Any:
    """The graph of the logits with batch norms and constants worked out, which is written to ``file``: what is quantised are
    weights, not casts."""
    import onnx
    import onnxruntime

    for output in [each for each in model.graph.output if each.name != LOGITS]:
        model.graph.output.remove(output)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(file)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    folded = onnx.shape_inference.infer_shapes(onnx.load(file))
    folded.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")  # else it warns of that
    onnx.save(folded, file)
    return folded


def _kept(model: Any) -> list[str]:
    """Names of the nodes that stay as they are: classifiers in double precision."""
    from onnx import TensorProto

    kinds = {each.name: each.type.tensor_type.elem_type for each in model.graph.value_info}
    kinds |= {each.name: each.data_type for each in model.graph.initializer}
    return [node.name for node in model.graph.node if any(kinds.get(name) == TensorProto.DOUBLE for name in node.input)]
