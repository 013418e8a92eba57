"""What ``stress`` costs: ``python benchmarks/stress.py [--crops 1500] [--side 224] [--json F]``.

SqueezeNet at 64×64 on drawn-up pictures under all corruptions: seconds, processor seconds, what they went to, peak memory, and
milliseconds a crop for each corruption. A machine that others use says little by its clock: processor seconds over the
number of cores are what a quiet one would need, as corrupting and scoring run side by side.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

SIZE = 64


def write_pictures(folder: Path, count: int, side: int) -> Path:
    """``count`` JPEG pictures of side×side px with structure at every scale, and an index; half of them fake."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    with (folder / "index.csv").open("w") as index:
        index.write("path,label,group,split\n")
        for i in range(count):
            rng = np.random.default_rng(i)
            pixels = np.zeros((side, side, 3))
            for cells in (4, 16, 64):
                coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
                pixels += np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)) / cells
            out = io.BytesIO()
            Image.fromarray((pixels / pixels.max() * 255).astype(np.uint8)).save(out, "JPEG", quality=90)
            (folder / f"{i}.jpg").write_bytes(out.getvalue())
            index.write(f"{i}.jpg,{('real', 'fake')[i % 2]},{i // 2},test\n")
    return folder


def each(faces: Any, count: int = 40) -> dict[str, float]:
    """Milliseconds of processor time a crop for each corruption, over its five strengths."""
    from facetell.pixels.corruptions import CORRUPTIONS, STRENGTHS, corrupt
    from facetell.pixels.decode import decode

    crops = [decode(faces.image(row)) for row in range(count)]
    spent = {}
    for name in CORRUPTIONS:
        began = time.process_time()
        for row, pixels in enumerate(crops):
            for level in range(1, STRENGTHS + 1):
                corrupt(pixels, name, level, 0, row)
        spent[name] = 1000 * (time.process_time() - began) / count / STRENGTHS
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=int, default=1500)
    parser.add_argument("--side", type=int, default=224, help="pixels of a stored crop")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    import numpy as np

    import facetell
    from facetell.detector.detector import Detector
    from facetell.detector.measure import Sample, measure_calibration
    from facetell.detector.runtimes.torch import TorchRuntime
    from facetell.methods import get_method
    from facetell.settings import as_dict

    method = get_method("finetune")
    settings: Any = method.settings(backbone="squeezenet1_0", size=SIZE)
    labels = np.array([0, 1], np.int8)
    two = Sample(labels, labels - np.float32(0.5), labels.astype(str), "none", "0" * 64, "validation")
    description = {
        "method": "finetune", "settings": as_dict(settings), "input": {"size": SIZE, "crop": None},
        "calibration": measure_calibration("0" * 64, two).as_dict(), "versions": {},
    }  # fmt: skip
    detector = Detector(TorchRuntime(method.build(settings), SIZE), description)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["FACETELL_CACHE"] = str(folder / "cache")
        faces = facetell.prepare(write_pictures(folder / "pictures", arguments.crops, arguments.side), folder / "faces")
        began, processor = time.perf_counter(), time.process_time()
        found = facetell.stress(detector, faces.path, folder / "out")
        results = {
            "seconds": time.perf_counter() - began,
            "processor seconds": time.process_time() - processor,
            "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "of these, up to the logits": found.speed,
            "ms a crop": each(faces),
        }
    print(json.dumps(results, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
