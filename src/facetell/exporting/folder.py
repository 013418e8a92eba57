"""The folder that a program gets which knows nothing of facetell."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from facetell.detector.calibration import Scale
from facetell.detector.runtimes.onnx_cost import first_line
from facetell.errors import FacetellError, MissingExtraError, UsageError
from facetell.files import locked, whole_folder

__all__ = ["FORMATS", "decision_of", "preprocessing_of", "write_folder"]

FORMATS = ("onnx", "openvino")


def write_folder(out: Path, to: str, model: bytes, about: dict[str, Any], card: str) -> int:
    """Write ``model``, the JSON files ``about`` (name → values), examples and ``card`` to ``out``; returns the model's bytes.

    Raises ``UsageError`` where there is something at ``out``, ``MissingExtraError`` where OpenVINO is not installed.
    """
    with locked(out):
        if out.exists():
            raise UsageError(f"{out} exists", hint="choose another name or remove it")
        with whole_folder(out) as folder:
            if to == "openvino":
                _write_openvino(folder, model)
            else:
                (folder / "model.onnx").write_bytes(model)
                (folder / "example.mjs").write_text(_text("example.mjs"), encoding="utf-8")
            size = sum(file.stat().st_size for file in folder.glob("model.*"))
            (folder / "example.py").write_text(_text(f"example_{to}.py"), encoding="utf-8")
            for name, values in about.items():
                (folder / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
            (folder / "README.md").write_text(card, encoding="utf-8")
    return size


def preprocessing_of(description: dict[str, Any]) -> dict[str, Any]:
    """How a picture becomes what the model takes."""
    return {
        "input": "crops",
        "size": description["input"]["size"],
        "layout": "NHWC",
        "dtype": "uint8",
        "colour": "RGB, as sRGB, upright, transparency on black",
        "resize": "bilinear with antialiasing, as Pillow's BILINEAR; sides are squeezed",
        "normalisation": "inside the model",
        "output": "logits",
        "face": description["input"]["crop"],
    }


def decision_of(scale: Scale) -> dict[str, Any]:
    """How a logit becomes a score and a decision."""
    logits, odds = zip(*scale.curve.knots, strict=True) if scale.curve.knots else ((), ())
    band = scale.unsure
    return {
        "labels": {"real": 0, "fake": 1},
        "temperature": scale.curve.temperature,
        "knots": {"logits": logits, "log_odds": odds},
        "points": {name: point.value for name, point in scale.points.items()},
        "rules": {name: point.rule for name, point in scale.points.items()},
        "rates": {name: point.rates for name, point in scale.points.items()},
        "unsure": {"fake_from": band.fake_from, "real_to": band.real_to} if band else None,
        "measured_on": {"faces": scale.on.n, "real": scale.on.n_real, "fake": scale.on.n_fake, "split": scale.on.split},
    }


def _write_openvino(folder: Path, model: bytes) -> None:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("a model of OpenVINO", "openvino") from error
    try:
        network = openvino.Core().read_model(model=model, weights=b"")
        openvino.save_model(network, folder / "model.xml", compress_to_fp16=False)
    except Exception as error:  # of its own kinds
        raise FacetellError(f"OpenVINO cannot write it: {first_line(error)}", hint="--to onnx") from error


def _text(name: str) -> str:
    return (resources.files("facetell.exporting") / "texts" / f"{name}.txt").read_text(encoding="utf-8")
