"""The blocks of a backbone's body in order, and which parts are frozen when only the last of them learn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from facetell.networks.cffn import CFFN

__all__ = ["blocks_of", "frozen_parts"]


def blocks_of(body: Any) -> list[list[nn.Parameter]]:
    """The parameters of ``body`` by block, stem first; every parameter is in one block.

    A timm model is divided as timm divides it, coarsely: into the stages of a ResNet, the blocks of a transformer. What
    timm counts to the head, such as a norm after the last stage, belongs to the last block. ``CFFN`` has a stem and
    stages; any other body has a block per child, and what it holds itself, such as a token, before them.
    """
    if hasattr(body, "group_matcher"):
        from timm.models import group_parameters

        try:
            matcher = body.group_matcher(coarse=True)
        except AssertionError:  # RDNet has only one division
            matcher = body.group_matcher(coarse=False)
        if isinstance(matcher, dict):  # 99999 is timm's "with the group before"
            matcher = {**matcher, "rest": [("", (99999,))]}
        named = dict(body.named_parameters())
        return [[named[name] for name in names] for _, names in sorted(group_parameters(body, matcher).items())]
    parts = body.stages() if isinstance(body, CFFN) else [[child] for child in body.children()]
    blocks = [list(body.parameters(recurse=False))]
    blocks += [[parameter for module in part for parameter in module.parameters()] for part in parts]
    return [block for block in blocks if block]


def frozen_parts(module: nn.Module, learning: Iterable[nn.Parameter]) -> list[nn.Module]:
    """The largest parts of ``module`` in which nothing of ``learning`` is.

    A part without parameters, such as a dropout, is frozen when nothing before it learns.
    """
    learns = {id(parameter) for parameter in learning}
    found: list[nn.Module] = []
    begun = False
    for child in module.children():
        mine = [id(parameter) in learns for parameter in child.parameters()]
        if not any(mine):
            if mine or not begun:
                found.append(child)
            continue
        begun = True
        if not all(mine):
            found += frozen_parts(child, learning)
    return found
