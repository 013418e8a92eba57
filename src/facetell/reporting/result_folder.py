"""A result as a folder: where it may go, how it appears whole or not at all, and what JSON can hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.errors import MissingExtraError, UsageError
from facetell.evaluation.bootstrap import group_members

__all__ = ["check_folder", "counts_of", "draw_plots", "number", "plain", "save_json"]


def check_folder(out: Path, noun: str, main: str, made_by: str, files: Collection[str]) -> None:
    """Raise :class:`~facetell.errors.UsageError` unless a result, a ``noun`` for people, may be written to ``out``.

    It may when nothing is there, the folder is empty, or it is an earlier one with nothing added: its JSON file ``main``
    has the ``format`` ``made_by``, and it holds no other than ``files`` (paths in the folder, folders too).
    """
    if not out.exists():
        return
    hint = "choose another folder, or move this one away"
    if not out.is_dir():
        raise UsageError(f"{out} is a file, a {noun} is a folder", hint=hint)
    inside = {entry.relative_to(out).as_posix() for entry in out.rglob("*")}
    if not inside:
        return
    try:
        made_here = json.loads((out / main).read_text("utf-8"))["format"] == made_by
    except (OSError, ValueError, KeyError, TypeError):
        made_here = False
    if not made_here:
        raise UsageError(f"{out} exists and is not a {noun} of facetell", hint=hint)
    foreign = sorted(inside - set(files))
    if foreign:
        raise UsageError(f"{out} holds a {noun} and other files, such as {foreign[0]}", hint=hint)


def draw_plots(folder: Path, drawings: Mapping[str, Callable[[Path], None]]) -> dict[str, str]:
    """Draw ``folder/plots/NAME.png`` by each drawing, and return their paths in ``folder``; none without matplotlib."""
    plots = folder / "plots"
    plots.mkdir()
    try:
        for name, draw in drawings.items():
            draw(plots / f"{name}.png")
    except MissingExtraError:
        plots.rmdir()
        return {}
    return {name: f"plots/{name}.png" for name in drawings}


def counts_of(labels: NDArray[Any], groups: NDArray[Any]) -> dict[str, int]:
    """Faces in all, of each label, and groups, of ``labels`` and ``groups`` (N,)."""
    n, fakes = len(labels), int(labels.sum())
    return {"n": n, "n_real": n - fakes, "n_fake": fakes, "groups": group_members(groups, n)[0]}


def number(value: float) -> float | None:
    """Return ``value`` as JSON can hold it: None unless finite."""
    return float(value) if np.isfinite(value) else None


def plain(value: object) -> Any:
    """Return ``value`` as JSON can hold it: numbers that are not finite become null, unknown objects text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return number(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def save_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content``, which has no number that is not finite."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
