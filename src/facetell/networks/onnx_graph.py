"""A network as one ONNX file that any engine runs: crops in, logits out, the normalisation inside.

Torch's exporter writes down how shapes were computed, hundreds of little nodes. Only the number of faces is free here, so
all of that is worked out once (`_worked_out`), and what is left is plain arithmetic. Tensors keep the names that they have
in the network, and batch norms stay: every engine folds them itself, and so a number is the same here as in the weights.
"""

from __future__ import annotations

import copy
import io
import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from facetell.detector.runtimes.onnx_model import CROPS, LOGITS, VECTORS
from facetell.errors import FacetellError, UsageError
from facetell.networks.backbones import Backbone
from facetell.networks.depth import DepthVectors
from facetell.networks.tensors import compact

__all__ = ["detector_graph", "graph_of"]

OPSET = 18
"""The newest that all engines have run for years."""
SMALL = 1024
"""Numbers of a constant up to which it is worked out; a larger one would stand there twice, as weights and made of them."""


class _Judging(nn.Module):
    """Crops uint8 (N, S, S, 3) to logits (N,), and vectors (N, D) where ``embedder`` gives both."""

    def __init__(self, network: nn.Module, embedder: nn.Module | None) -> None:
        super().__init__()
        self.network, self.embedder = network, embedder

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        images = crops.permute(0, 3, 1, 2).float() / 255
        if self.embedder is None:
            return (self.network(images).float(),)
        found = self.embedder(images)
        return found[:, 0], found[:, 1:]


def detector_graph(network: nn.Module, size: int, *, vectors: bool = False) -> bytes:
    """``model.onnx`` of a network: `CROPS` to `LOGITS`, and to `VECTORS` of known faces where ``vectors`` are wanted.

    Raises ``UsageError`` for vectors of a network without a backbone, ``FacetellError`` where there is no such graph.
    """
    embedder = None
    if vectors:
        if not isinstance(getattr(network, "backbone", None), Backbone):
            raise UsageError("the detector's network has no backbone of its own to look into")
        embedder = DepthVectors(network, size)
    crops = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    outputs = [LOGITS, VECTORS] if vectors else [LOGITS]
    return graph_of(_Judging(network, embedder), crops, CROPS, outputs)


@torch.no_grad()
def graph_of(module: nn.Module, example: Tensor, name: str, outputs: list[str]) -> bytes:
    """``module`` as an ONNX file: input ``name`` like ``example`` (at least 2 rows, any number in use), to ``outputs``.

    Raises ``FacetellError`` for what ONNX has no words for.
    """
    buffer = io.BytesIO()
    module = copy.deepcopy(module).eval().cpu()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: shapes are fixed, and the exporter is the older one
        try:
            torch.onnx.export(
                module,
                (example,),
                buffer,  # type: ignore[arg-type]
                dynamo=False,  # the newer one wants a further package
                opset_version=OPSET,
                training=torch.onnx.TrainingMode.PRESERVE,  # else it folds batch norms, and tensors lose their names
                do_constant_folding=False,
                input_names=[name],
                output_names=outputs,
                dynamic_axes={each: {0: "n"} for each in (name, *outputs)},
            )
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise FacetellError(
                f"the network cannot be written as ONNX: {reason}", hint="choose another --backbone"
            ) from error
    model = onnx.load_from_string(buffer.getvalue())
    _work_out(model, example.numpy(), name)
    _own_names(model.graph)
    _halve(model.graph)
    model.producer_name, model.producer_version = "facetell", ""
    for node in model.graph.node:
        node.doc_string = ""
    try:
        return model.SerializeToString(deterministic=True)
    except ValueError as error:
        raise FacetellError("the network is too large for one ONNX file", hint="choose another --backbone") from error


def _work_out(model: ModelProto, example: NDArray[Any], name: str) -> None:
    """Replace what follows from shapes and constants alone by its value, and the shape of a map by one with the number of
    faces as -1.

    What is the same for two and for three faces does not depend on how many there are.
    """
    graph = model.graph
    fixed = _fixed(graph)
    shaped = [node for node in graph.node if node.op_type == "Reshape" and node.input[1] in fixed]
    wanted = [*fixed, *(f"{node.output[0]}/shape" for node in shaped)]
    measured = ModelProto()
    measured.CopyFrom(model)
    measured.graph.node.extend(
        helper.make_node("Shape", [node.output[0]], [f"{node.output[0]}/shape"]) for node in shaped
    )
    del measured.graph.output[:]
    measured.graph.output.extend(helper.make_empty_tensor_value_info(each) for each in wanted)
    seen = _values(measured, name, [np.resize(example, (n, *example.shape[1:])) for n in (2, 3)])
    pairs = dict(zip(wanted, zip(*seen, strict=True), strict=True))
    stays = {each for node in graph.node if node.op_type in ("Constant", "Identity") for each in node.output}
    known = {
        tensor: pairs[tensor][0]
        for tensor in fixed
        if (tensor in stays or pairs[tensor][0].dtype == np.int64 or pairs[tensor][0].size <= SMALL)
        and np.array_equal(*pairs[tensor])
    }
    for node in shaped:
        first, second = pairs[f"{node.output[0]}/shape"]
        if int((first != second).sum()) == 1:
            node.input[1] = f"{node.output[0]}/shape"
            known[node.input[1]] = np.where(first == second, first, -1)
    tensors = {each.name: numpy_helper.to_array(each) for each in graph.initializer} | known
    nodes: list[NodeProto] = _zeros(name, example.ndim, known)
    for node in graph.node:
        first, second = pairs.get(node.input[1], (0, 0)) if node.op_type == "Expand" else (0, 0)
        if np.any(first != second) and node.input[0] in tensors:
            nodes += _repeated(node, tensors[node.input[0]], known)
        elif not set(node.output) <= set(known):
            nodes.append(node)
    graph.initializer.extend(numpy_helper.from_array(value, tensor) for tensor, value in known.items())
    _keep_nodes(graph, nodes)


def _zeros(name: str, rank: int, known: dict[str, NDArray[Any]]) -> list[NodeProto]:
    """A zero for each face: what is added to it is there for each face, and engines can tell its shape beforehand."""
    known |= {"zero/from": np.zeros(rank - 1, np.int64), "zero/to": np.ones(rank - 1, np.int64)}
    known |= {"zero/axes": np.arange(1, rank), "zero/times": np.zeros((), np.float32)}
    return [
        helper.make_node("Slice", [name, "zero/from", "zero/to", "zero/axes"], ["zero/corner"]),
        helper.make_node("Cast", ["zero/corner"], ["zero/single"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["zero/single", "zero/times"], ["zero"]),
    ]


def _repeated(node: NodeProto, tensor: NDArray[Any], known: dict[str, NDArray[Any]]) -> list[NodeProto]:
    """What repeats ``tensor`` for each face, in place of ``node``, which expands it: its first axis is theirs."""
    name = node.output[0]
    known[f"{name}/shape"] = np.array([-1, *[1] * max(tensor.ndim - 1, 1)], np.int64)
    kind = helper.np_dtype_to_tensor_dtype(tensor.dtype)
    return [
        helper.make_node("Reshape", ["zero", f"{name}/shape"], [f"{name}/zero"]),
        helper.make_node("Cast", [f"{name}/zero"], [f"{name}/typed"], to=kind),
        helper.make_node("Add", [f"{name}/typed", node.input[0]], [name]),
    ]


def _fixed(graph: GraphProto) -> list[str]:
    """Names of what nodes compute from shapes and constants alone."""
    constant = {each.name for each in graph.initializer} | {""}
    found = []
    for node in graph.node:
        if node.op_type == "Shape" or all(each in constant for each in node.input):
            constant.update(node.output)
            found += [each for each in node.output if each]
    return found


def _values(model: ModelProto, given: str, examples: list[NDArray[Any]]) -> list[list[NDArray[Any]]]:
    """All outputs of a graph, for each example."""
    if not model.graph.output:
        return [[] for _ in examples]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # it runs twice and no more
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [list(session.run(None, {given: example})) for example in examples]


def _keep_nodes(graph: GraphProto, nodes: list[NodeProto]) -> None:
    """Keep those of ``nodes`` that lead to an output, and the tensors that they read."""
    needed = {each.name for each in graph.output}
    kept = []
    for node in reversed(nodes):
        if needed & set(node.output):
            kept.append(node)
            needed.update(node.input)
    kept = [NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
    tensors = [each for each in graph.initializer if each.name in needed]
    tensors = [TensorProto.FromString(each.SerializeToString()) for each in tensors]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.initializer.extend(tensors)


def _own_names(graph: GraphProto) -> None:
    """Give tensors the names that they have in the detector's network, not in what wraps it here."""
    names = {each.name for each in graph.initializer}
    new = {name: name.removeprefix("embedder.").removeprefix("network.") for name in names}
    for tensor in graph.initializer:
        tensor.name = new[tensor.name]
    for node in graph.node:
        node.input[:] = [new.get(each, each) for each in node.input]


def _halve(graph: GraphProto) -> None:
    """Keep tensors in half precision where that loses nothing, as a bundle does; the graph computes in single precision."""
    casts = dict[str, str]()
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        half = compact(values)
        if half.dtype != values.dtype:
            casts[tensor.name] = f"{tensor.name}/single"
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    for node in graph.node:
        node.input[:] = [casts.get(each, each) for each in node.input]
    nodes = [helper.make_node("Cast", [name], [single], to=TensorProto.FLOAT) for name, single in casts.items()]
    nodes += [NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
