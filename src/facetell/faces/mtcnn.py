"""MTCNN by the package ``facenet-pytorch``, which the user installs: FDFtNet's authors cropped their faces with it.

Zhang et al., "Joint Face Detection and Alignment Using Multi-task Cascaded Convolutional Networks", 2016
(arXiv:1604.02878). No extra of ours, as the package pins versions of torch and Pillow older than those we need.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetell.errors import UsageError
from facetell.faces.face import LEAST, Face, as_landmarks, in_order

__all__ = ["MTCNN"]

_SETTINGS = {"min_face_size": 20, "thresholds": [0.6, 0.7, 0.7], "factor": 0.709}  # the package's own defaults


class MTCNN:
    """Implements `FaceDetector`.

    Raises:
        UsageError: ``facenet-pytorch`` is not installed.
    """

    name = "mtcnn"

    def __init__(self) -> None:
        try:
            package = importlib.import_module("facenet_pytorch")
        except ImportError:
            raise UsageError(
                "the face detector 'mtcnn' needs the package facenet-pytorch",
                hint="pip install --no-deps facenet-pytorch  (with its dependencies it would replace torch by an old one)",
            ) from None
        self.fingerprint = _fingerprint(package)
        self._network = package.MTCNN(keep_all=True, device="cpu", **_SETTINGS)

    def detect(self, pixels: NDArray[np.uint8], least: float = LEAST) -> list[Face]:
        """Faces of uint8 (H, W, 3) RGB, the highest score first; from 20 pixels on, whatever ``least`` is."""
        boxes, scores, points = self._network.detect(pixels, landmarks=True)
        if boxes is None:
            return []
        return in_order(
            Face(
                (float(left), float(top), float(right - left), float(bottom - top)),
                as_landmarks(np.ravel(five).astype(float).tolist()),
                float(score),
            )
            for (left, top, right, bottom), score, five in zip(boxes, scores, points, strict=True)
        )


def _fingerprint(package: Any) -> str:
    """SHA-256 over the weights that ship in the package and the settings."""
    digest = hashlib.sha256(json.dumps({"name": MTCNN.name, **_SETTINGS}, sort_keys=True).encode())
    for weights in sorted((Path(package.__file__).parent / "data").glob("?net.pt")):
        digest.update(weights.read_bytes())
    return digest.hexdigest()
