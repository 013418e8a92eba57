"""How modules may import each other, where import-linter does not look: never in a circle, not even late in a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import facetell

ROOT = Path(facetell.__file__).parent


def _name_of(file: Path) -> str:
    parts = ("facetell", *file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports of a module and of its functions; those for the type checker alone are not run, and left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from _statements(ast.Module(node.orelse, []))
        else:
            yield from _statements(node)


def _imported(source: str, modules: set[str]) -> set[str]:
    names: set[str] = set()
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            assert node.level == 0, "imports are absolute"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in modules else str(node.module) for name in inner}
    return names & modules


def test_an_import_counts_wherever_it_is_run() -> None:
    source = (
        "from typing import TYPE_CHECKING\nimport a\nif TYPE_CHECKING:\n    import b\nelse:\n    import c\n"
        "def f():\n    from d import e\nclass C:\n    from d import x\n"
    )
    assert _imported(source, {"a", "b", "c", "d", "d.e"}) == {"a", "c", "d.e", "d"}


def test_no_module_imports_itself_through_others() -> None:
    files = {_name_of(file): file.read_text(encoding="utf-8") for file in sorted(ROOT.rglob("*.py"))}
    graph = {name: _imported(text, set(files)) for name, text in files.items()}
    assert len(graph["facetell.api._fit"]) > 3
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" <- ".join(error.args[1])) from None
