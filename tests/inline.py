"""Instead of worker processes, for tests of what is done and not of who does it: it saves seconds of starting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from facetell.detector import many

worked: list[Any] = []
"""Everything that was worked on, in order."""


def here(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    workers: int,
    seconds: Callable[[Any], float],
    initializer: Callable[..., None],
    initargs: tuple[Any, ...],
    preload: tuple[str, ...] = (),
    ahead: int = 2,
    small: Callable[[Any], bool] = bool,
) -> Iterator[tuple[Any, Any]]:
    """As `guarded_map`, in this process and without a guard."""
    initializer(*initargs)
    for item in items:
        worked.append(item)
        yield item, function(item)


def judge_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files judged in this process, by a judge that every call makes anew."""

    def anew(*arguments: Any, **options: Any) -> Iterator[tuple[Any, Any]]:
        many._Worker.judge = None
        return here(*arguments, **options)

    monkeypatch.setattr(many, "guarded_map", anew)
