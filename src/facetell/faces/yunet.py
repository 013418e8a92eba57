"""YuNet, a face detector that the user brings along as an ONNX file (``face_detection_yunet_2023mar.onnx``).

Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20, 2023; the file is in
the OpenCV model zoo. Decoding follows OpenCV's ``FaceDetectorYN``: for each cell of 8, 16 and 32 pixels there is the
certainty of a face and of an object, a box (offset of its centre, logarithm of its size, in cells) and five
landmarks (offsets in cells). Its input is BGR, 0..255.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from facetell.faces.candidates import Found
from facetell.faces.onnx_detector import OnnxDetector

__all__ = ["OUTPUTS", "YuNet"]

_CELLS = (8, 16, 32)  # pixels of network input per cell of output
_LARGEST = 6.0  # log of cells; keeps boxes finite whatever the picture

OUTPUTS = tuple(f"{part}_{cell}" for part in ("cls", "obj", "bbox", "kps") for cell in _CELLS)
"""Names of the network's outputs; a file that has them is a YuNet."""


class YuNet(OnnxDetector):
    """A model whose input may be of fixed or of free size; larger views are looked at in tiles.

    OpenCV's threshold is 0.9; a lower one leaves the choice to `FaceRule`.
    """

    name = "yunet"
    surely = 16  # its authors: from about 10 pixels on

    def __init__(self, model: bytes, *, threshold: float = 0.6, threads: int = 1) -> None:
        super().__init__(model, model, threshold, threads)
        entry = self._session.get_inputs()[0]
        self._input = entry.name
        # Dimensions that the file leaves free are words or None.
        self._fixed = tuple(side if isinstance(side, int) else None for side in entry.shape[2:])
        self.tile = min((side for side in self._fixed if side), default=self.tile)

    def _look(self, view: NDArray[np.uint8]) -> Found:
        high, wide = (
            fixed or math.ceil(side / max(_CELLS)) * max(_CELLS)
            for fixed, side in zip(self._fixed, view.shape[:2], strict=True)
        )
        blob = np.zeros((1, 3, high, wide), np.float32)
        blob[0, :, : view.shape[0], : view.shape[1]] = view[..., ::-1].transpose(2, 0, 1)
        outputs = self._session.run(OUTPUTS, {self._input: blob})  # three maps of each part
        maps = [
            _decode(face[0], thing[0], box[0], points[0], cell, wide)
            for face, thing, box, points, cell in zip(*(outputs[k : k + 3] for k in (0, 3, 6, 9)), _CELLS, strict=True)
        ]
        return Found(*(np.concatenate(parts, dtype=np.float32) for parts in zip(*maps, strict=True)))


def _decode(
    face: NDArray[np.float32],
    thing: NDArray[np.float32],
    box: NDArray[np.float32],
    points: NDArray[np.float32],
    cell: int,
    wide: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Boxes (N, 4), landmarks (N, 5, 2), scores (N,) of one map of N cells, row by row over ``wide`` pixels.

    Shapes: face and thing (N, 1), box (N, 4) as x, y, log width, log height, points (N, 10) as x, y, ...
    """
    rows, columns = np.divmod(np.arange(len(face)), wide // cell)
    here = np.stack([columns, rows], axis=1)  # (N, 2)
    centre = (here + box[:, :2]) * cell
    half = np.exp(np.minimum(box[:, 2:], _LARGEST)) * cell / 2
    landmarks = (here[:, None] + points.reshape(-1, 5, 2)) * cell
    scores = np.sqrt(face.clip(0, 1) * thing.clip(0, 1))[:, 0]
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return boxes.astype(np.float32), landmarks.astype(np.float32), scores
