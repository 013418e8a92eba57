"""From photos and videos to faces: ``python benchmarks/media.py [--part workers|parts|clip|memory] [--clip FILE]``.

``workers``: photos per second with two workers against one, while both are under way; starting them is told apart.
``parts``: seconds a photo and a clip cost with one worker, against their bare parts alone in one process: decoding by
torchvision or PyAV, the face detector, cutting and encoding. ``clip``: one clip of 10 s, 720p, 32 frames: judging it in
a process that has everything loaded (two threads), and the whole ``facetell detect`` from a cold start. ``memory``:
peak of the worker for a clip of 10 s and for one of 30 minutes.

Photos and clips are made here, with one real face (``skimage.data.astronaut``) on a noisy ground. What is compared
takes turns; ratios are medians of rounds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

Rows = dict[str, dict[str, float]]


def scene(width: int, height: int, seed: int, shift: float = 0.0) -> Any:
    """uint8 (height, width, 3): the astronaut's upper body, most of the height, moved by ``shift`` of the width."""
    import numpy as np
    from PIL import Image
    from skimage.data import astronaut

    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 200, (12, 16, 3), dtype=np.uint8)
    ground = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    side = round(height * (0.6 + 0.3 * rng.random()))
    left = (width - side) / 2 + shift * width
    ground.paste(Image.fromarray(astronaut()).resize((side, side)), (round(left), height - side))
    grain = rng.normal(0, 3, (height, width, 1))
    return np.clip(np.asarray(ground) + grain, 0, 255).astype(np.uint8)


def write_photos(folder: Path, count: int) -> Path:
    """``count`` JPEG photos of 640 to 1280 pixels and an index; half of them called fake."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    with (folder / "index.csv").open("w") as index:
        index.write("path,label,group\n")
        for i in range(count):
            width = int(np.random.default_rng(i).integers(640, 1281))
            Image.fromarray(scene(width, width * 3 // 4, i)).save(folder / f"{i}.jpg", quality=92)
            index.write(f"{i}.jpg,{('real', 'fake')[i % 2]},{i}\n")
    return folder


def write_clip(path: Path, width: int, height: int, times: int = 1) -> Path:
    """A clip of ``times`` 10 s at 30 frames a second, H.264; packets are encoded once and repeated."""
    import av

    first = path.with_name(f"once-{width}.mp4")
    if not first.exists():
        with av.open(str(first), "w") as out:
            stream: Any = out.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "23"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for i in range(300):
                pixels = scene(width, height, 0, shift=0.1 * (i / 150 - 1))
                out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            out.mux(stream.encode(None))
    with av.open(str(path), "w") as out:
        copy: Any = None
        for turn in range(times):
            with av.open(str(first)) as source:
                stream = source.streams.video[0]
                copy = copy or out.add_stream_from_template(stream)
                length = round(10 / stream.time_base)
                for packet in source.demux(stream):
                    if packet.dts is not None and packet.pts is not None:
                        packet.pts, packet.dts = packet.pts + turn * length, packet.dts + turn * length
                        packet.stream = copy
                        out.mux(packet)
    return path


def write_detector(folder: Path) -> Path:
    """A detector of the default network, hardly trained; its answers mean nothing."""
    import facetell

    faces = facetell.demo_data(folder / "demo") if False else None
    return folder
