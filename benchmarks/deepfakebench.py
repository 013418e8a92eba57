"""The path of DeepfakeBench from files to scores, rebuilt from its code (Yan et al. 2023, github.com/SCLBD/DeepfakeBench).

    uv run --with dlib python benchmarks/deepfakebench.py photos | crops | clips FOLDER

dlib's frontal face detector looks at each photo, and at each of 32 frames of a clip, after doubling it; the largest face is
cut; Xception judges crops of 256 pixels on torch in batches of 32. Left out are landmarks (the file of dlib's model is in
no package), turning faces by them, the second detection in the cut face, and PNG files in between: with them it would take
longer. Pillow and PyAV decode in place of OpenCV. The network's weights are random, which costs the same. See `throughput.py`.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from bare import Pixels, cut, frames, opened
from PIL import Image

from facetell.threads import usable_cores

SIZE = 256


def judged(kind: str, files: list[Path]) -> dict[str, Any]:
    """Preprocessing in a process for each core, then Xception in batches on all of them."""
    with multiprocessing.get_context("fork").Pool(usable_cores()) as pool:
        parts = pool.map(_cropped if kind == "crops" else _largest, files, chunksize=1)
    crops = np.concatenate([np.zeros((0, SIZE, SIZE, 3), np.uint8), *parts])
    import timm
    import torch

    network = timm.create_model("legacy_xception", pretrained=False, num_classes=2).eval()
    with torch.inference_mode():
        for at in range(0, len(crops), 32):
            images = torch.from_numpy(crops[at : at + 32]).permute(0, 3, 1, 2).float().div(127.5).sub(1)
            network(images).softmax(1)
    return {"faces": len(crops), "within": 0.0}


def _cropped(path: Path) -> Pixels:
    return np.asarray(opened(path).resize((SIZE, SIZE), Image.Resampling.BILINEAR))[None]


def _largest(path: Path) -> Pixels:
    found = []
    for pixels in frames(path):
        boxes = _dlib()(pixels, 1)
        if len(boxes):
            box = max(boxes, key=lambda each: each.width() * each.height())
            crop = cut(Image.fromarray(pixels), (box.left(), box.top(), box.width(), box.height()), SIZE)
            found.append(np.asarray(crop))
    return np.stack(found) if found else np.zeros((0, SIZE, SIZE, 3), np.uint8)


@cache
def _dlib() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


if __name__ == "__main__":
    print(json.dumps(judged(sys.argv[1], sorted(Path(sys.argv[2]).iterdir()))))
