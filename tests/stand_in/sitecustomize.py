"""Python as it is where torch and its kin are not installed, in workers as well."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec

BLOCKED = {"torch", "torchvision", "timm", "lightning_fabric", "lightning", "captum"}


class Missing:
    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


sys.meta_path.insert(0, Missing)  # type: ignore[arg-type]
