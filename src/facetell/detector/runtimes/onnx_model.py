"""What an ONNX file holds, told before any engine opens it: only plain arithmetic gets that far.

A file of somebody else must cost an error at worst. So the file is read here by the few fields that `facetell fit` writes,
and whatever is not among them is refused: data in other files, loops, functions, operators of other people. What arithmetic
alone can cost is asked by `onnx_cost`.

The format: github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facetell.errors import BundleError

__all__ = ["CROPS", "DTYPES", "LOGITS", "MOST_BYTES", "VECTORS", "Node", "OnnxModel", "read_onnx"]

CROPS, LOGITS, VECTORS = "crops", "logits", "vectors"
"""Its input uint8 (N, S, S, 3), and its outputs (N,) and (N, D)."""

MOST_BYTES = 2**31 - 1
"""What a file of this format can hold."""
MOST_NODES = 50_000
MOST_LIGHT = 1 << 23
"""Bytes beside the numbers in tensors, all of which are looked at one by one: some seconds at worst. Graphs of large
transformers have a quarter of a megabyte."""
MOST_SIDES = 8
"""Dimensions of a tensor."""
DTYPES: dict[int, type[np.generic]] = {
    1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64,
}  # fmt: skip
OPSETS = range(13, 22)
OPERATORS = frozenset({
    "Abs", "Add", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Conv",
    "DequantizeLinear", "Div", "Elu", "Equal", "Erf", "Exp", "Flatten", "Floor", "Gather", "GatherElements",
    "GatherND", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater", "GreaterOrEqual",
    "GroupNormalization", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "LayerNormalization",
    "LeakyRelu", "Less", "LessOrEqual", "Log", "MatMul", "Max", "MaxPool", "Min", "Mish", "Mul", "Neg", "Not",
    "PRelu", "Pad", "Pow", "QuantizeLinear", "Reciprocal", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceSum", "Relu", "Reshape", "Selu", "Sigmoid", "Sign", "Slice", "Softmax", "Softplus",
    "Softsign", "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
"""Of ONNX's own: those without inner graphs, random numbers, and results whose size depends on what is in a picture."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MODEL, _GRAPH, _NODE, _TENSOR = "the file", "its graph", "a node", "a tensor"
_ALLOWED = {
    _MODEL: {1, 2, 3, 4, 5, 6, 7, 8, 14},
    _GRAPH: {1, 2, 5, 10, 11, 12, 13},
    _NODE: {1, 2, 3, 4, 5, 6, 7},
    "an attribute": {1, 2, 3, 4, 7, 8, 13, 20},
    _TENSOR: {1, 2, 8, 9},
    "an operator set": {1, 2},
}
"""Numbers of the fields that may be there. Not among them: functions, training, sparse and external data, inner graphs."""
_REPEATED = {_MODEL: {8, 14}, _GRAPH: {1, 5, 11, 12, 13}, _NODE: {1, 2, 5}, "an attribute": {7, 8}, _TENSOR: {1}}

Field = tuple[int, Any, memoryview]
"""Number, value (an int, or the bytes of a longer one), and the field as it stands in the file."""


@dataclass(frozen=True)
class Node:
    """One operator."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    kernel: int
    """Numbers that a pooling window holds, else 1."""


@dataclass(frozen=True)
class OnnxModel:
    """A file whose form is as it should be. ``tensors``: its weights by name, not copied."""

    data: bytes
    nodes: tuple[Node, ...]
    tensors: dict[str, npt.NDArray[Any]]
    fields: tuple[tuple[int, memoryview], ...]
    """Those of the graph, as they stand in the file."""
    outputs: tuple[str, ...]
    head: bytes
    """What stands in the file beside the graph."""


def read_onnx(data: bytes) -> OnnxModel:
    """Read ``model.onnx``. Raises ``BundleError`` with the reason for all that `facetell fit` does not write."""
    if len(data) > MOST_BYTES:
        raise BundleError(f"it has {len(data):,} bytes, more than such a file can hold")
    head, graph, opset, light = bytearray(), None, 0, 0
    for number, value, whole in _fields(memoryview(data), _MODEL):
        if number == 7:
            graph = value
            continue
        light = _lighter(light + len(whole))
        head += whole
        if number == 8:
            opset = max(opset, _opset(value))
    if graph is None or opset not in OPSETS:
        raise BundleError(f"it has {'no graph' if graph is None else f'operator set {opset}, which is not known here'}")
    nodes, tensors = list[Node](), dict[str, npt.NDArray[Any]]()
    names: dict[int, list[str]] = {11: [], 12: []}
    fields = list[tuple[int, memoryview]]()
    for number, value, whole in _fields(graph, _GRAPH):
        fields.append((number, whole))
        if number != 5:
            light = _lighter(light + len(whole))
        if number == 1:
            nodes.append(_node(value))
        elif number == 5:
            name, tensor = _tensor(value)
            light = _lighter(light + len(whole) - tensor.nbytes)
            if name in tensors:
                raise BundleError(f"two tensors are called '{name}'")
            tensors[name] = tensor
        elif number in names:
            names[number].append(_text(next((v for n, v, _ in _fields(value, "") if n == 1), b"")))
        if len(nodes) > MOST_NODES:
            raise BundleError(f"it has more than {MOST_NODES:,} nodes")
    if names[11] != [CROPS] or names[12] not in ([LOGITS], [LOGITS, VECTORS]):
        raise BundleError(f"it computes {names[12]} of {names[11]}, not '{LOGITS}' of '{CROPS}'")
    _check_order(nodes, {CROPS, *tensors}, names[12])
    return OnnxModel(data, tuple(nodes), tensors, tuple(fields), tuple(names[12]), bytes(head))


def _lighter(light: int) -> int:
    """The bytes that were looked at one by one, if they are not too many."""
    if light > MOST_LIGHT:
        raise BundleError(f"it has more than {MOST_LIGHT:,} bytes beside its weights")
    return light


def _check_order(nodes: list[Node], known: set[str], outputs: list[str]) -> None:
    """Every node reads what was computed before it, and nothing is computed twice: so there are no circles."""
    for node in nodes:
        for name in node.inputs:
            if name and name not in known:
                raise BundleError(f"{node.kind} reads '{name}', which nothing before it computes")
        for name in filter(None, node.outputs):
            if name in known:
                raise BundleError(f"'{name}' is computed twice")
            known.add(name)
    for name in outputs:
        if not any(name in node.outputs for node in nodes):
            raise BundleError(f"nothing computes '{name}'")


def _node(data: memoryview) -> Node:
    inputs, outputs, kind, domain, kernel = list[str](), list[str](), "", "", 1
    for number, value, _ in _fields(data, _NODE):
        if number in (1, 2):
            (inputs if number == 1 else outputs).append(_text(value))
        elif number == 4:
            kind = _text(value)
        elif number == 5:
            kernel *= _kernel(value)
        elif number == 7:
            domain = _text(value)
    if domain not in ("", "ai.onnx") or kind not in OPERATORS:
        raise BundleError(f"it needs the operator '{f'{domain}.' if domain else ''}{kind}', which is not allowed")
    return Node(kind, tuple(inputs), tuple(outputs), kernel)


def _kernel(attribute: memoryview) -> int:
    """The product of ``kernel_shape``, 1 for another attribute."""
    name, sizes = "", list[int]()
    for number, value, _ in _fields(attribute, "an attribute"):
        if number == 1:
            name = _text(value)
        elif number == 8:
            sizes += _integers(value)
    return math.prod(max(size, 1) for size in sizes) if name == "kernel_shape" else 1


def _tensor(data: memoryview) -> tuple[str, npt.NDArray[Any]]:
    shape, kind, name, raw = list[int](), 0, "", memoryview(b"")
    for number, value, _ in _fields(data, _TENSOR):
        if number == 1:
            shape += _integers(value)
            if len(shape) > MOST_SIDES:
                raise BundleError(f"a tensor has more than {MOST_SIDES} dimensions")
        elif number == 2:
            kind = value
        elif number == 8:
            name = _text(value)
        else:
            raw = value
    if kind not in DTYPES:
        raise BundleError(f"the tensor '{name}' is of type {kind}, which is not known here")
    dtype = np.dtype(DTYPES[kind]).newbyteorder("<")
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != len(raw):
        raise BundleError(f"the tensor '{name}' of shape {shape} does not have the {len(raw):,} bytes that it has")
    return name, np.frombuffer(raw, dtype).reshape(shape)


def _opset(data: memoryview) -> int:
    domain, version = "", 0
    for number, value, _ in _fields(data, "an operator set"):
        if number == 1:
            domain = _text(value)
        else:
            version = value
    if domain not in ("", "ai.onnx"):
        raise BundleError(f"it needs operators of '{domain}'")
    return version


def _text(value: Any) -> str:
    if isinstance(value, int):
        raise BundleError("it is damaged: a number stands where a name should")
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise BundleError("it is damaged: a name is no text") from None


def _integers(value: Any) -> list[int]:
    """One signed integer, or several that are packed."""
    if isinstance(value, int):
        return [_signed(value)]
    _lighter(len(value))
    found, at = list[int](), 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(_signed(number))
    return found


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _fields(data: memoryview, what: str) -> Iterator[Field]:
    """The fields of a message; only those that ``what`` may have, each once unless it may be there more often."""
    if isinstance(data, int):
        raise BundleError(f"it is damaged: a number stands where {what} should")
    allowed, repeated, seen = _ALLOWED.get(what), _REPEATED.get(what, set()), set[int]()
    at = 0
    while at < len(data):
        start = at
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        value: Any
        if wire == _VARINT:
            value, at = _varint(data, at)
        else:
            length = {_FIXED64: 8, _FIXED32: 4}.get(wire)
            if wire == _BYTES:
                length, at = _varint(data, at)
            if length is None or at + length > len(data):
                raise BundleError("it is damaged or cut off")
            value, at = data[at : at + length], at + length
        if allowed is not None:
            if number not in allowed:
                raise BundleError(f"{what} has the field {number}, which is not allowed")
            if number in seen and number not in repeated:
                raise BundleError(f"{what} has the field {number} twice")
            seen.add(number)
        yield number, value, data[start:at]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & ((1 << 64) - 1), at
    raise BundleError("it is damaged or cut off")
