"""The properties of an XMP packet; ISO 16684-1.

Parsed with expat alone, in one pass over at most a megabyte: a document type, which XMP has no use for and entities need, is
refused where it begins.
"""

from __future__ import annotations

from xml.parsers import expat

__all__ = ["Property", "properties"]

Property = tuple[str, str, str]
"""Namespace, name, value."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PROPERTIES = 10_000
_DEPTH = 100
_LONGEST = 2**16


class _Reader:
    def __init__(self) -> None:
        self.found: list[Property] = []
        self._open: list[tuple[str, str]] = []
        self._text: list[str] = []

    def start(self, name: str, attributes: list[str]) -> None:
        space, _, local = name.rpartition(" ")
        self._open.append((space, local))
        self._text = []
        if len(self._open) > _DEPTH:
            raise ValueError("nested too deep")
        for key, value in zip(attributes[::2], attributes[1::2], strict=True):
            of, _, what = key.rpartition(" ")
            if of != _RDF:
                self._add(of, what, value)
            elif what == "resource":
                self._value(value)

    def end(self, _: str) -> None:
        self._value("".join(self._text))
        self._text = []
        self._open.pop()

    def text(self, data: str) -> None:
        self._text.append(data)

    def _value(self, value: str) -> None:
        """Of the property that is open: the next one outwards that is no list or item of a list."""
        if value.strip():
            for space, local in reversed(self._open):
                if space != _RDF:
                    self._add(space, local, value.strip())
                    return

    def _add(self, space: str, local: str, value: str) -> None:
        if len(self.found) >= _PROPERTIES:
            raise ValueError("too many properties")
        self.found.append((space, local, value[:_LONGEST]))

    def refuse(self, *_: object) -> None:
        raise ValueError("it declares a document type")


def properties(packet: bytes) -> tuple[list[Property], str | None]:
    """The properties of a packet, in its order, and why not all of it was read, None where it was."""
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.refuse
    try:
        parser.Parse(packet.strip(b"\0 \t\r\n"), True)
    except (expat.ExpatError, ValueError) as error:  # what came before is said all the same
        return reader.found, str(error)
    return reader.found, None
