"""What a score hangs on, for the page: how far the logit of a face falls when a part of it is hidden."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from facetell.detector.judge import Judge
from facetell.detector.occlusion import occlusion
from facetell.detector.verdict import Verdict
from facetell.errors import MediaError
from facetell.media.limits import Limits
from facetell.pixels.decode import decode, resize
from facetell.reporting.pictures import face_with_map
from facetell.serving.crops import cut_out

__all__ = ["Look", "look_of"]

_QUALITY = 85


@dataclass(frozen=True)
class Look:
    """A face, by its ``number`` from 1, beside its map: a JPEG."""

    number: int
    jpeg: bytes


def look_of(judge: Judge, path: Path, verdict: Verdict, limits: Limits) -> Look | None:
    """The most fake face with its map, 49 places of it; None where no face counts."""
    counted = [number for number, face in enumerate(verdict.faces) if face.used]
    if not counted:
        return None
    most = max(counted, key=lambda number: verdict.faces[number].logit)
    try:
        crops = [one for _, one in cut_out(judge, path, verdict, limits, [verdict.faces[most]])]
    except MediaError:
        return None  # the verdict has said it
    if not crops:
        return None
    face, size = decode(crops[0].png), judge.detector.size
    (found,) = occlusion(judge.detector.logits, resize(face, size)[None], size // 4, max(1, size // 8))
    out = io.BytesIO()
    face_with_map(face, found).save(out, "JPEG", quality=_QUALITY)
    return Look(most + 1, out.getvalue())
