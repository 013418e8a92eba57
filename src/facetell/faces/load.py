"""From what the user asks for (a name, a file) to a face detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facetell.errors import UsageError, near_miss
from facetell.faces import centerface, yunet
from facetell.faces.centerface import CenterFace
from facetell.faces.face import FaceDetector
from facetell.faces.free_size import outputs_of
from facetell.faces.mtcnn import MTCNN
from facetell.faces.yunet import YuNet

__all__ = ["NAMES", "load_face_detector"]

NAMES = ("centerface", "mtcnn")
"""Detectors that are asked for by name."""


def load_face_detector(model: str | Path | None = None, *, threads: int = 1) -> FaceDetector:
    """Load the face detector ``model``: a name out of `NAMES` or the path of an ONNX file; CenterFace if None.

    A file's kind is told by the names of its outputs. ``threads`` are those of one call (``mtcnn`` uses torch's).

    Raises:
        UsageError: no such name or file, or a file that is neither YuNet nor CenterFace.
    """
    if model is None or model == "centerface":
        return CenterFace(threads=threads)
    if model == "mtcnn":
        return MTCNN()
    file = Path(model)
    if not file.is_file():
        known = f"a name ({', '.join(NAMES)}) or an ONNX file"
        raise UsageError(f"no face detector {str(model)!r}: give {known}{near_miss(str(model), NAMES)}")
    return _from_file(file, threads)


def _from_file(file: Path, threads: int) -> FaceDetector:
    data = file.read_bytes()
    try:
        outputs = set(outputs_of(data))
    except ValueError:
        raise UsageError(f"{file} is not an ONNX file") from None
    kinds: tuple[tuple[type[YuNet] | type[CenterFace], tuple[str, ...]], ...]
    kinds = ((YuNet, yunet.OUTPUTS), (CenterFace, centerface.OUTPUTS))
    for kind, names in kinds:
        if outputs.issuperset(names):
            try:
                detector = kind(data, threads=threads)
                detector.detect(np.zeros((32, 48, 3), np.uint8))
            except Exception as error:  # the runtime's own kinds; whatever a foreign graph does wrong
                why = " ".join(str(error).split())[:200]
                raise UsageError(f"{file} looks like {kind.name} but does not run: {why}") from None
            return detector
    raise UsageError(
        f"{file} is neither YuNet nor CenterFace: its outputs are {', '.join(sorted(outputs)) or 'none'}",
        hint="the OpenCV model zoo has face_detection_yunet_2023mar.onnx; without --face-model CenterFace is used",
    )
