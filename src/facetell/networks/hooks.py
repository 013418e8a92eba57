"""Functions that are called after the forward pass of parts of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

__all__ = ["hooked"]


@contextmanager
def hooked(pairs: Iterable[tuple[nn.Module, Callable[..., object]]]) -> Iterator[None]:
    """Within this, each ``hook(module, inputs, output)`` is called after its module; what it returns replaces the output."""
    with ExitStack() as stack:
        for module, hook in pairs:
            stack.callback(module.register_forward_hook(hook).remove)
        yield
