"""Model files that somebody made to cost time or memory, to read other files, or that were damaged on their way.

``python hostile_onnx.py FILE`` opens a good one and 300 made of it, as a detector's runtime does, and prints what became of each.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

SIZE = 16
MEMORY = 4 << 30
"""Bytes of address space that all of them may take, Python and ONNX Runtime with them."""


SECONDS = 60
"""Of processor time, for all of them; they take a tenth."""


def truncated(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for place in rng.integers(0, len(data), int(rng.integers(1, 20))):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def swapped(data: bytes, rng: np.random.Generator) -> bytes:
    a, b = np.sort(rng.integers(0, len(data), 2)).tolist()
    length = int(rng.integers(1, 200))
    return data[:a] + data[b : b + length] + data[a + length : b] + data[a : a + length] + data[b + length :]


def in_structure(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes that are no weights: names, lengths, types."""
    model = onnx.load_from_string(data)
    heavy = [
        (data.find(each.raw_data), len(each.raw_data)) for each in model.graph.initializer if len(each.raw_data) > 64
    ]
    places = [p for p in range(len(data)) if not any(start <= p < start + size for start, size in heavy)]
    changed = bytearray(data)
    for place in rng.choice(places, int(rng.integers(1, 6))):
        changed[place] = int(rng.integers(256))
    return bytes(changed)


def edited(change: Callable[[ModelProto, np.random.Generator], None]) -> Callable[[bytes, np.random.Generator], bytes]:
    def made(data: bytes, rng: np.random.Generator) -> bytes:
        model = onnx.load_from_string(data)
        change(model, rng)
        return model.SerializeToString()

    made.__name__ = change.__name__
    return made


def cyclic(model: ModelProto, rng: np.random.Generator) -> None:
    a, b = sorted(rng.choice(len(model.graph.node), 2, replace=False).tolist())
    model.graph.node[a].input[0] = model.graph.node[b].output[0]


def twice(model: ModelProto, rng: np.random.Generator) -> None:
    node = model.graph.node[int(rng.integers(len(model.graph.node)))]
    model.graph.node.append(node)


def foreign(model: ModelProto, rng: np.random.Generator) -> None:
    node = model.graph.node[int(rng.integers(len(model.graph.node)))]
    node.op_type, node.domain = [
        ("MemcpyToHost", ""), ("FusedConv", "com.microsoft"), ("RandomNormal", ""), ("Loop", ""), ("ConstantOfShape", ""),
        ("Expand", ""), ("Tile", ""), ("Resize", ""), ("Scan", ""), ("SequenceEmpty", ""), ("PyOp", "pyopmulti"),
        ("NonZero", ""), ("Range", ""), ("StringNormalizer", ""), ("TfIdfVectorizer", ""), ("Conv", "evil"),
    ][int(rng.integers(16))]  # fmt: skip


def bodies(model: ModelProto, rng: np.random.Generator) -> None:
    body = helper.make_graph([helper.make_node("Identity", ["crops"], ["inner"])], "body", [], [])
    node = model.graph.node[int(rng.integers(len(model.graph.node)))]
    if rng.random() < 0.5:
        node.op_type = ["If", "Loop", "Scan"][int(rng.integers(3))]
    node.attribute.append(helper.make_attribute(["body", "then_branch", "odd"][int(rng.integers(3))], body))


def outside(model: ModelProto, rng: np.random.Generator) -> None:
    tensor = model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    where = ["/etc/passwd", "../../secret", "/dev/zero", "weights.safetensors", "/proc/self/mem"][int(rng.integers(5))]
    tensor.external_data.add(key="location", value=where)


def huge_tensor(model: ModelProto, rng: np.random.Generator) -> None:
    tensor = model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
    tensor.dims[:] = [int(each) for each in rng.integers(1, 2**40, int(rng.integers(1, 5)))]


def huge_input(model: ModelProto, rng: np.random.Generator) -> None:
    for dim in model.graph.input[0].type.tensor_type.shape.dim:
        dim.Clear()
        dim.dim_value = int(rng.integers(1, 2**40))


def huge_padding(model: ModelProto, rng: np.random.Generator) -> None:
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    kept = [each for each in conv.attribute if each.name != "pads"]
    del conv.attribute[:]
    conv.attribute.extend([*kept, helper.make_attribute("pads", rng.integers(1, 2**31, 4).tolist())])


def outer_product(model: ModelProto, rng: np.random.Generator) -> None:
    """A column plus a row: two small tensors whose sum fills the memory, known before any picture is."""
    side = int(rng.integers(100_000, 1_000_000))
    column, row = np.zeros((side, 1), np.float32), np.zeros((1, side), np.float32)
    model.graph.initializer.extend([numpy_helper.from_array(column, "column"), numpy_helper.from_array(row, "row")])
    kind = ["Add", "MatMul", "Mul", "Max"][int(rng.integers(4))]
    model.graph.node.insert(0, helper.make_node(kind, ["column", "row"], ["whole"]))
    model.graph.node.insert(1, helper.make_node("ReduceMean", ["whole"], ["mean"], keepdims=0))


def slow(model: ModelProto, rng: np.random.Generator) -> None:
    """Products of products, each of which fits: years of work."""
    side = 8192
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((side, 1), np.float32), "side"))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, side), np.float32), "other"))
    nodes = [helper.make_node("MatMul", ["side", "other"], ["p0"])]
    nodes += [helper.make_node("MatMul", [f"p{n}", f"p{n}"], [f"p{n + 1}"]) for n in range(int(rng.integers(9, 40)))]
    for node in reversed(nodes):
        model.graph.node.insert(0, node)


def wide(model: ModelProto, rng: np.random.Generator) -> None:
    for number in range(60_000):
        model.graph.node.append(helper.make_node("Neg", ["crops"], [f"n{number}"]))


def functions(model: ModelProto, rng: np.random.Generator) -> None:
    made = helper.make_function("mine", "F", ["x"], ["y"], [helper.make_node("Neg", ["x"], ["y"])], model.opset_import)
    model.functions.append(made)
    model.graph.node[0].op_type, model.graph.node[0].domain = "F", "mine"
    model.opset_import.add(domain="mine", version=1)


def other_ends(model: ModelProto, rng: np.random.Generator) -> None:
    ends = [model.graph.input, model.graph.output][int(rng.integers(2))]
    if rng.random() < 0.5:
        ends[0].name = "other"
    else:
        ends.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [10**9]))


KINDS: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    truncated, flipped, swapped, in_structure,
    *map(edited, (cyclic, twice, foreign, bodies, outside, huge_tensor, huge_input, huge_padding, outer_product, slow,
                  functions, other_ends)),
)  # fmt: skip
COUNT = 300


def varint(value: int) -> bytes:
    return bytes([value >> 7 * place & 127 | 128 * (place < 4) for place in range(5)])


def hostile(data: bytes) -> Iterator[tuple[str, bytes]]:
    for seed in range(COUNT):
        make = KINDS[seed % len(KINDS)]
        yield f"{make.__name__} {seed}", make(data, np.random.default_rng(seed))
    yield "wide", edited(wide)(data, np.random.default_rng(0))
    yield "crumbs", data + b"\x72\x00" * (100 << 20)  # as many empty notes
    sides = b"\x0a" + b"\xff\xff\xff\x7f" + b"\x01" * 0xFFFFFFF  # a tensor with 2^28 dimensions
    head = onnx.load_from_string(data)
    head.ClearField("graph")
    yield "sides", head.SerializeToString() + b"\x3a" + varint(len(sides) + 6) + b"\x2a" + varint(len(sides)) + sides


def main(file: Path) -> None:
    import resource

    from facetell.detector.runtimes.onnx import runtime_of
    from facetell.errors import BundleError

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    crops = np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    for name, data in [("good", file.read_bytes()), *hostile(file.read_bytes())]:
        try:
            found = runtime_of(data, Path("detector"), SIZE, 1).logits(crops)
            said = f"computes {found.shape}"
        except BundleError as error:
            said = f"refused: {error.message}"
        sys.stdout.write(json.dumps([name, said]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
