"""What a graph costs for one face, told before it is computed: arithmetic alone can ask for terabytes, or for years.

ONNX Runtime works out the shape of everything that is computed, without any weights: large ones are declared as inputs that
nobody will give.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from facetell.detector.runtimes.onnx_model import CROPS, DTYPES, LOGITS, VECTORS, Node, OnnxModel
from facetell.errors import BundleError

__all__ = ["Cost", "cost_of", "first_line"]

MOST_LIVE = 1 << 28
"""Numbers for one face that are in memory at once: 1 GiB in single precision."""
MOST_WORK = 1 << 42
"""Multiplications for one face: a minute of a good core. The largest vision transformers of timm need 2^41."""
SMALL = 4096
"""Numbers of a tensor that may say how large something is."""


@dataclass(frozen=True)
class Cost:
    """What a graph costs for one face: numbers in memory at once, multiplications; and the shapes of what it gives."""

    live: int
    work: int
    outputs: dict[str, tuple[int, ...]]


def cost_of(model: OnnxModel, size: int, onnxruntime: Any) -> Cost:
    """What ``model`` costs for one face of ``size`` × ``size`` pixels.

    Raises ``BundleError`` where that is more than a detector may cost, cannot be told, or gives anything but one logit.
    """
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(_measured(model, size), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of its own kinds, which are RuntimeError, ValueError and more
        raise BundleError(f"ONNX Runtime refuses it: {first_line(error)}") from None
    shapes: dict[str, tuple[int, ...]] = {name: each.shape for name, each in model.tensors.items()}
    shapes[CROPS] = (1, size, size, 3)
    for each in session.get_outputs():
        if not all(isinstance(side, int) and side >= 0 for side in each.shape):
            raise BundleError(f"how large '{each.name}' gets cannot be told beforehand: {each.shape}")
        shapes[each.name] = tuple(each.shape)
    outputs = {name: shapes[name] for name in model.outputs}
    if outputs[LOGITS] != (1,) or len(outputs.get(VECTORS, (1, 1))) != 2:
        raise BundleError(f"it gives {outputs} for one face, not one logit")
    cost = Cost(_live(model, shapes), sum(_work(node, shapes) for node in model.nodes), outputs)
    if cost.live > MOST_LIVE or cost.work > MOST_WORK:
        raise BundleError(
            f"one face would take {cost.live:,} numbers in memory and {cost.work:,} multiplications, more than is allowed"
        )
    return cost


def _measured(model: OnnxModel, size: int) -> bytes:
    """The graph for one face, with all that it computes as output, and large weights as inputs that nobody will give."""
    graph = bytearray()
    large = {name: each for name, each in model.tensors.items() if each.size > SMALL}
    kinds = {np.dtype(dtype): kind for kind, dtype in DTYPES.items()}
    tensors = iter(model.tensors)
    for number, whole in model.fields:
        if number == 1 or (number == 5 and next(tensors) not in large):
            graph += whole
    graph += _long(2, b"measured") + _long(11, _value_info(CROPS, 2, (1, size, size, 3)))
    for name, each in large.items():
        graph += _long(11, _value_info(name, kinds[each.dtype.newbyteorder("=")], each.shape))
    for node in model.nodes:
        for name in filter(None, node.outputs):
            graph += _long(12, _long(1, name.encode()))
    return model.head + _long(7, bytes(graph))


def _value_info(name: str, kind: int, shape: tuple[int, ...]) -> bytes:
    sides = b"".join(_long(1, b"\x08" + _as_varint(side)) for side in shape)
    return _long(1, name.encode()) + _long(2, _long(1, b"\x08" + _as_varint(kind) + _long(2, sides)))


def _long(number: int, content: bytes) -> bytes:
    return _as_varint(number << 3 | 2) + _as_varint(len(content)) + content


def _as_varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _live(model: OnnxModel, shapes: dict[str, tuple[int, ...]]) -> int:
    """Numbers in memory at once, if everything is let go after its last use. Weights are there once more, as they are."""
    last = {name: at for at, node in enumerate(model.nodes) for name in node.inputs}
    gone: dict[int, list[str]] = {}
    for name, at in last.items():
        if name not in model.tensors:
            gone.setdefault(at, []).append(name)
    live = most = math.prod(shapes[CROPS])
    for at, node in enumerate(model.nodes):
        live += sum(math.prod(shapes[name]) for name in filter(None, node.outputs))
        most = max(most, live)
        live -= sum(math.prod(shapes[name]) for name in gone.get(at, ()) if name)
    return most


def _work(node: Node, shapes: dict[str, tuple[int, ...]]) -> int:
    """Multiplications, roughly: each number that is read or made counts as one, too."""
    made = sum(math.prod(shapes[name]) for name in filter(None, node.outputs))
    read = sum(math.prod(shapes[name]) for name in filter(None, node.inputs))
    inner = node.kernel
    if node.kind == "Conv":
        inner = math.prod(shapes[node.inputs[1]][1:])
    elif node.kind in ("MatMul", "Gemm"):
        inner = max(shapes[node.inputs[0]], default=1)
    return made * inner + read


def first_line(error: BaseException) -> str:
    """What an engine says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
