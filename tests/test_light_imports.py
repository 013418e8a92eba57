"""What is imported, and what imports do to the process: nothing that a notebook did not ask for."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image


def test_finding_faces_and_decoding_need_no_torch() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    code = (
        "import sys, facetell.faces.finding, facetell.media.frames; from facetell.ingest import extract; "
        f"from facetell.pixels import decode; decode.resize(decode.decode({buffer.getvalue()!r}), 4); "
        "sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_decoding_leaves_pillow_and_pythons_warnings_as_they_are() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    code = (
        "import re, warnings, numpy; from PIL import Image, ImageFile; Image.init(); "
        "state = lambda: (list(warnings.filters), Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, "
        "ImageFile.MAXBLOCK, sorted(Image.OPEN)); "
        "before = state(); from facetell.pixels.decode import decode; "
        f"decode({buffer.getvalue()!r}); assert state() == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_onnx_runtime_sends_nothing_to_its_maker(tmp_path: Path) -> None:
    """Where it does, it begins with the identifier of the machine in the user's cache folder."""
    code = (
        "import facetell, onnxruntime; from pathlib import Path; import facetell.faces as faces; "
        "onnxruntime.InferenceSession(Path(faces.__file__).parent / 'models' / 'centerface.onnx')"
    )
    bare = {"HOME": str(tmp_path), "PATH": os.defpath, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", code], env=bare, check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_judging_imports_neither_torchs_compiler_nor_what_only_training_needs() -> None:
    """Each of them takes longer to import than torch, and every ``detect`` would wait for it."""
    code = """
import importlib, os, sys
import facetell.detector.detector, facetell.faces.finding, torch
for method in ("fdftnet", "features", "finetune", "siamese"):
    if not os.fork():  # torch is imported once; each method is looked at by itself
        importlib.import_module(f"facetell.methods.{method}")
        heavy = ("torch._dynamo", "torchvision", "lightning_fabric", "timm", "sklearn")
        print(method, [name for name in heavy if name in sys.modules], flush=True)
        os._exit(0)
    os.wait()
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [f"{method} []" for method in ("fdftnet", "features", "finetune", "siamese")]
