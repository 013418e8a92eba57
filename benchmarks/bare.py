"""What `facetell detect` cannot do without: decoding, finding faces, and a session of ONNX Runtime, and nothing around them.

    python benchmarks/bare.py photos | crops | clips FOLDER

A process on each core; Pillow or PyAV decodes, the face detector is called, a square around each face is cut and resized by
Pillow, and a session is given one face after the other. No check of a file, quality, track, calibration, verdict. Prints how
many faces there were, and the share of the time that went into decoding and into the two sessions. See `throughput.py`.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facetell.threads import usable_cores

FRAMES, MARGIN, SURE = 32, 1.3, 0.5
Pixels = Any


def bare(kind: str, files: list[Path]) -> dict[str, Any]:
    """The parts of ``detect`` in a process for each core."""
    with multiprocessing.get_context("fork").Pool(usable_cores()) as pool:
        done = pool.map(_BARE[kind], files, chunksize=1)
    faces, within, all_in_all = map(sum, zip(*done, strict=True))
    return {"faces": faces, "within": within / all_in_all}


class _Timed:
    """A session that knows how long it ran."""

    def __init__(self, session: Any) -> None:
        self.session, self.seconds = session, 0.0

    def run(self, outputs: Any, inputs: Any) -> Any:
        began = time.process_time()
        found = self.session.run(outputs, inputs)
        self.seconds += time.process_time() - began
        return found


@cache
def _network() -> tuple[_Timed, int]:
    import onnxruntime

    from facetell.detector.bundle import located, read_description
    from facetell.detector.description import MODEL

    path = located("starter")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path / MODEL), options, providers=["CPUExecutionProvider"])
    return _Timed(session), read_description(path)["input"]["size"]


@cache
def _finder() -> Any:
    from facetell.faces.centerface import CenterFace

    finder = CenterFace()
    finder._session = _Timed(finder._session)
    return finder


def _bare_crop(path: Path) -> tuple[int, float, float]:
    network, size = _network()
    began, inside = time.process_time(), network.seconds
    picture = opened(path)
    decoded = time.process_time() - began
    _judge(picture.resize((size, size), Image.Resampling.BILINEAR))
    return 1, decoded + network.seconds - inside, time.process_time() - began


def _bare_pictures(path: Path) -> tuple[int, float, float]:
    network, finder = _network()[0], _finder()
    began, inside = time.process_time(), network.seconds + finder._session.seconds
    faces, looked = 0, 0.0
    for pixels in frames(path):
        turn = time.process_time()
        faces += len(_faces(pixels))
        looked += time.process_time() - turn
    took = time.process_time() - began
    return faces, took - looked + network.seconds + finder._session.seconds - inside, took


def _faces(pixels: Pixels) -> list[Any]:
    """The logits of the faces in uint8 (H, W, 3)."""
    return [
        _judge(cut(Image.fromarray(pixels), face.box, _network()[1]))
        for face in _finder().detect(pixels)
        if face.score >= SURE
    ]


def _judge(crop: Image.Image) -> Any:
    return _network()[0].run(["logits"], {"crops": np.asarray(crop)[None]})[0]


def opened(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def cut(picture: Image.Image, box: Any, size: int) -> Image.Image:
    """A square around the box (x, y, width, height), black where the picture ends."""
    left, top, width, height = box
    side = MARGIN * max(width, height)
    x, y = left + width / 2 - side / 2, top + height / 2 - side / 2
    square = picture.crop((round(x), round(y), round(x + side), round(y + side)))
    return square.resize((size, size), Image.Resampling.BILINEAR)


def frames(path: Path) -> Iterator[Pixels]:
    """A photo's pixels, or those of `FRAMES` of a clip, spread over it."""
    if path.suffix != ".mp4":
        yield np.asarray(opened(path))
        return
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        wanted = set(np.linspace(0, stream.frames - 1, FRAMES).round().astype(int).tolist())
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                yield frame.to_ndarray(format="rgb24")


_BARE = {"photos": _bare_pictures, "crops": _bare_crop, "clips": _bare_pictures}


if __name__ == "__main__":
    print(json.dumps(bare(sys.argv[1], sorted(Path(sys.argv[2]).iterdir()))))
