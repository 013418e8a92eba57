"""Frees the input size that a network's ONNX file fixes, and reads the names of its outputs.

An ONNX file is a Protocol Buffers message: fields, each a number and a value, that lie one after the other. Here the few
fields that say sizes are written anew and all others are copied as they lie. The package ``onnx`` does the same, and
takes a quarter of a second to import. Numbers of fields and of their kinds: ``onnx.proto`` and
the encoding of Protocol Buffers.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["freed", "outputs_of"]

_GRAPH = 7  # of a model
_WEIGHT, _INPUT, _OUTPUT = 5, 11, 12  # of a graph
_NAME, _TYPE = 1, 2  # of an input or output
_TENSOR, _ELEMENT, _SHAPE = 1, 1, 2  # its type: of a tensor, whose elements and shape
_DIMENSION, _SIZE, _FREE = 1, 1, 2  # of a shape; of a dimension, its size, or its name where it is free
_WEIGHT_NAME = 8
_VARINT, _BYTES = 0, 2
_WIDTHS = {1: 8, 5: 4}  # kinds of a fixed number of bytes

Field = tuple[int, memoryview, memoryview]
"""Number, value of a field, and the whole of it."""


def outputs_of(model: bytes) -> list[str]:
    """Names of the outputs of an ONNX file. Raises ``ValueError`` for bytes that are none."""
    return [_text(value, _NAME) for number, value, _ in _fields(_graph(model)) if number == _OUTPUT]


def freed(model: bytes) -> bytes:
    """The same network for one picture of any height and width; raises ``ValueError`` for bytes that are no ONNX file.

    Older files list weights as inputs too: as such they could change, and a runtime would not fuse them. They are taken
    off the list.
    """
    graph = list(_fields(_graph(model)))
    weights = {_text(value, _WEIGHT_NAME) for number, value, _ in graph if number == _WEIGHT}
    parts: list[bytes | memoryview] = []
    for number, value, whole in graph:
        if number == _OUTPUT or (number == _INPUT and _text(value, _NAME) not in weights):
            parts.append(_field(number, _of_any_size(value)))
        elif number != _INPUT:
            parts.append(whole)
    rest = [whole for number, _, whole in _fields(memoryview(model)) if number != _GRAPH]
    return b"".join([*rest, _head(_GRAPH, sum(map(len, parts))), *parts])


def _of_any_size(entry: memoryview) -> bytes:
    """An input or output (1, C, height, width) in place of one whose sizes are all fixed."""
    name = _text(entry, _NAME)
    tensor = _only(_only(entry, _TYPE), _TENSOR)
    sizes = [whole for number, _, whole in _fields(_only(tensor, _SHAPE)) if number == _DIMENSION]
    elements = [whole for number, _, whole in _fields(tensor) if number == _ELEMENT]
    if len(sizes) != 4 or not elements:
        raise ValueError("an input or output is no batch of pictures or maps")
    channels, element = sizes[1], elements[0]
    one = _field(_DIMENSION, bytes([_SIZE << 3 | _VARINT, 1]))
    sides = [_field(_DIMENSION, _field(_FREE, f"{name}.{side}".encode())) for side in ("height", "width")]
    shape = _field(_SHAPE, b"".join([one, channels, *sides]))
    return _field(_NAME, name.encode()) + _field(_TYPE, _field(_TENSOR, bytes(element) + shape))


def _graph(model: bytes) -> memoryview:
    return _only(memoryview(model), _GRAPH)


def _only(message: memoryview, wanted: int) -> memoryview:
    """The value of a field that must be there."""
    for number, value, _ in _fields(message):
        if number == wanted:
            return value
    raise ValueError(f"a message has no field {wanted}")


def _text(message: memoryview, wanted: int) -> str:
    return bytes(_only(message, wanted)).decode()


def _fields(message: memoryview) -> Iterator[Field]:
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            _, end = _varint(message, at)
        elif kind == _BYTES:
            length, at = _varint(message, at)
            end = at + length
        elif kind in _WIDTHS:
            end = at + _WIDTHS[kind]
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if end > len(message):
            raise ValueError("a field runs over the end")
        yield key >> 3, message[at:end], message[start:end]
        at = end


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number, seven bits a byte with the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte, at = message[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number without an end")


def _field(number: int, value: bytes) -> bytes:
    return _head(number, len(value)) + value


def _head(number: int, length: int) -> bytes:
    """What stands before the value of a field: its number and kind, and how many bytes follow."""
    head = [number << 3 | _BYTES]
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes([*head, length])
