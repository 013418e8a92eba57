"""Judging with no extra installed, so without torch: by a runtime that an installed package offers.

Each test runs a Python of its own, and its workers too, in which these modules cannot be imported
(``stand_in/sitecustomize.py``); ``stand_in/stand_in.py`` is the runtime.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faceclips import needs_media, portrait, save_photo
from toy import COUNTS, toy_source

STAND_IN = Path(__file__).parent / "stand_in"
SOURCE = Path(__file__).parents[1] / "src"

BUNDLE = """
from pathlib import Path
import numpy as np
from facetell.detector.bundle import hash_of_tensors, write_bundle
from facetell.detector.known_faces import embedding_reference
from facetell.detector.lineage import Lineage
from facetell.detector.measure import Sample, measure_calibration
from facetell.faceset.samples import samples_of
from facetell.faceset.table import FaceSet
from stand_in import StandIn

weights = {"slope": np.array(0.25), "offset": np.array(-8.0)}
runtime = StandIn(32, 0.25, -8.0)
images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
faces = FaceSet.open("faces")
samples = samples_of(faces, "train", 32)
logits = runtime.logits(np.concatenate(list(samples.images.batches(samples.rows, 16))))
known = embedding_reference(runtime, samples, 0)
description = {
    "runtime": "stand-in", "method": "none", "settings": {"backbone": "none"}, "parameters": 2,
    "input": {"size": 32, "channels": "RGB", "range": [0, 1], "crop": None}, "labels": {"real": 0, "fake": 1},
    "calibration": measure_calibration(
        hash_of_tensors(weights), Sample.of(faces, "train", logits), embedding=hash_of_tensors(known)).as_dict(),
    "data": {"name": "other", "fingerprint": "0", "split": "train", "shots": None, "images": 0, "sources": [],
             "shortcuts": []},
    "lineage": {}, "seed": 0, "versions": {"facetell": "0"},
}
write_bundle(
    Path("detector"), description, weights, {"images": images, "logits": runtime.logits(images)}, {}, "a card", {}, known,
    lineage=Lineage.new(hash_of_tensors(weights)),
)
"""


def python(folder: Path, code: str) -> str:
    """Run ``code`` in ``folder`` where torch and its kin are missing; returns what it printed."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(STAND_IN), str(SOURCE)]),
        "FACETELL_CACHE": str(folder / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, a face set made of them, and a detector that the stand-in judges for."""
    folder = tmp_path_factory.mktemp("without")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(COUNTS, "train", 40)
        toy_source(folder / "pictures")
    python(folder, "import facetell; facetell.prepare('pictures', 'faces')" + BUNDLE)
    return folder


def test_torch_is_missing_indeed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="No module named 'torch'"):
        python(tmp_path, "import torch")


@pytest.mark.slow
def test_every_verb_of_judging(place: Path) -> None:
    found: dict[str, Any] = json.loads(
        python(
            place,
            """
import hashlib, json, sys
import facetell

if __name__ == "__main__":
    said = {"verified": facetell.verify("detector")}
    said["chosen"] = facetell.threshold("detector", "faces", at="fpr=0.1", coverage=0.5)
    said["calibrated"] = facetell.calibrate("detector", "faces")
    with open("day.jsonl", "w") as day:
        said["verdicts"] = [verdict.as_dict() for verdict in facetell.detect("detector", ["pictures"], faces="crops")]
        day.writelines(json.dumps(each) + "\\n" for each in said["verdicts"])
    said["report"] = facetell.evaluate("detector", "faces", "report")
    said["stress"] = facetell.stress("detector", "faces", "stress", only=["blur"])
    said["compared"] = facetell.compare(["report", "report"], "compared")
    said["audit"] = facetell.audit("faces", "audit", detector="detector")
    said["explained"] = facetell.explain("detector", ["pictures/test-0-fake.png"], "explained", faces="crops")
    said["watched"] = facetell.watch("detector", ["day.jsonl"], "watched", look=True)
    facetell.report(["report", "audit"], "page.html")
    said["modules"] = sorted(sys.modules)
    print(json.dumps(said, default=lambda result: result.as_dict()))
""",
        )
    )
    assert not {"torch", "torchvision", "timm", "lightning_fabric", "captum", "sklearn"} & set(found["modules"])
    assert found["verified"]["selftest_difference"] == 0
    assert found["chosen"]["face"]["point"]["rule"] == "fpr=0.1"
    judged = [verdict for verdict in found["verdicts"] if verdict["score"] is not None]
    assert len(judged) == 2 * (40 + COUNTS["validation"] + COUNTS["finetune"] + COUNTS["test"])
    right = [(verdict["score"] >= verdict["threshold"]) == ("fake" in verdict["path"]) for verdict in judged]
    assert np.mean(right) > 0.95
    assert found["report"]["metrics"]["auroc"]["value"] > 0.95
    assert (place / "report" / "report.html").is_file()
    assert found["audit"]["detector"]["n"] == 2 * COUNTS["test"]
    assert found["explained"]["warnings"] == [
        "occlusion alone, and no check of it with randomised weights: its runtime gives logits alone"
    ]
    assert list((place / "explained" / "faces").glob("*.png"))
    assert found["watched"]["seen"] == "nothing"
    assert found["watched"]["look"]["opened"] == len(judged)


@pytest.mark.slow
def test_the_command(place: Path) -> None:
    lines = python(
        place,
        """
from facetell.cli.main import main

if __name__ == "__main__":
    main(["detect", "detector", "pictures/test-0-real.png", "pictures/test-0-fake.png", "--faces", "crops", "--json"])
""",
    ).splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["real", "fake"]


@pytest.mark.slow
def test_the_detector_in_the_box_judges_a_photo(tmp_path: Path) -> None:
    """The face is found, cut and judged; torch and all else that an extra brings is nowhere."""
    needs_media()
    save_photo(tmp_path / "photo.jpg", portrait(7, 480, 360, 240))
    said = json.loads(
        python(
            tmp_path,
            """
import contextlib, io, json
from facetell.cli.main import main
import facetell

if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main(["detect", "photo.jpg", "--json"])
    verdict = json.loads(out.getvalue())
    import sys
    heavy = sorted({"scipy", "pyarrow", "jinja2", "torch"} & set(sys.modules))
    print(json.dumps({"verdict": verdict, "heavy": heavy, "whole": facetell.verify("starter").as_dict()}))
""",
        )
    )
    verdict = said["verdict"]
    assert verdict["status"] in ("real", "fake", "unsure")
    (face,) = verdict["faces"]
    assert 0 <= face["score"] <= 1
    assert max(face["box"][2:]) == pytest.approx(120, rel=0.3), "half the head's square"
    assert said["heavy"] == [], "a verdict waits for what it does not need"
    assert set(said["whole"]["selftest"]) == {"onnx"}


LEARNING = {
    "fit": ["finetune", "faces", "-o", "new"],
    "adapt": ["detector", "--fake", "pictures", "--real", "pictures", "-o", "new"],
    "bench": ["small", "--data", "pictures", "-o", "new"],
    "demo": ["-o", "new"],
    "blend": ["faces", "-o", "new", "--kind", "generated"],
    "methods": [],
}
"""Verbs that learn, with arguments that would do elsewhere."""


@pytest.mark.slow
def test_what_learns_says_what_to_install(place: Path) -> None:
    said = json.loads(
        python(
            place,
            f"""
import contextlib, io, json
from facetell.cli.main import main

if __name__ == "__main__":
    said = {{}}
    for verb, words in {LEARNING!r}.items():
        with contextlib.redirect_stderr(io.StringIO()) as stderr, contextlib.suppress(SystemExit):
            try:
                main([verb, *words])
            finally:
                said[verb] = stderr.getvalue().splitlines()
    try:
        import facetell.sklearn
    except Exception as error:
        said["sklearn"] = [f"error: {{error.message}}", f"hint: {{error.hint}}"]
    print(json.dumps(said))
""",
        )
    )
    assert set(said) == {*LEARNING, "sklearn"}
    for verb, (error, hint) in said.items():
        assert error.startswith("error: ")
        assert error.endswith("needs the optional part 'learn'"), verb
        assert hint == "hint: pip install 'facetell[learn]'", verb
    assert not (place / "new").exists()


@pytest.mark.slow
def test_a_runtime_that_is_not_installed_is_named(place: Path) -> None:
    """A bundle names a runtime, not a module: what is not offered by an installed package is not imported."""
    said = python(
        place,
        """
import facetell, json, pathlib, shutil
shutil.copytree("detector", "other")
file = pathlib.Path("other/detector.json")
file.write_text(json.dumps({**json.loads(file.read_text()), "runtime": "os"}))
try:
    facetell.Detector.load("other")
except facetell.errors.BundleError as error:
    print(error.message, "|", error.hint)
""",
    )
    assert (
        said.strip()
        == "the detector needs the runtime 'os', which is not installed | here there are: onnx, torch, openvino, stand-in"
    )


@pytest.mark.slow
def test_a_notebook(place: Path) -> None:
    said: dict[str, Any] = json.loads(
        python(
            place,
            """
import json
import numpy as np
import facetell
from PIL import Image

detector = facetell.Detector.load("detector")
paths = ["pictures/test-0-real.png", "pictures/test-0-fake.png"]
arrays = np.stack([np.asarray(Image.open(path)) for path in paths])
table = detector.predict("faces", "test").to_pandas()
print(json.dumps({
    "paths": detector.predict_proba(paths).tolist(),
    "arrays": detector.predict_proba(arrays).tolist(),
    "none": detector.predict_proba([]).shape,
    "columns": list(table.columns),
    "right": float(((table.score > 0.5) == table.label).mean()),
    "shown": [repr(detector), detector._repr_html_()],
    "verbs": dir(facetell),
}))
""",
        )
    )
    assert said["paths"] == said["arrays"]
    np.testing.assert_allclose(np.sum(said["paths"], axis=1), 1)
    assert said["paths"][0][1] < 0.5 < said["paths"][1][1]
    assert said["none"] == [0, 2]
    assert said["columns"] == [
        "row",
        "path",
        "label",
        "group",
        "source",
        "split",
        "sha256",
        "logit",
        "score",
        "p_known",
    ]
    assert said["right"] > 0.95
    assert said["shown"][0].startswith("Detector(none, 32×32 pixels, 2 parameters, fake from ")
    assert said["shown"][1].startswith("<table><tr><th>method</th><td>none</td></tr>")
    assert {"detect", "evaluate", "Detector", "FaceSet"} <= set(said["verbs"])


@pytest.mark.slow
def test_a_detector_goes_to_other_programs(tmp_path: Path) -> None:
    said = json.loads(
        python(
            tmp_path,
            """
import json, sys
import facetell

facetell.export("starter", "out")
print(json.dumps([sorted(facetell.verify("starter").selftest), sorted({"torch", "onnx"} & set(sys.modules))]))
""",
        )
    )
    assert said == [["onnx"], []]
    assert (tmp_path / "out" / "model.onnx").is_file()
