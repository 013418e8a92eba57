"""Detectors by name and by file: YuNet's decoding on a model whose outputs are set by hand, MTCNN by a stand-in."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from facetell.errors import UsageError
from facetell.faces.centerface import CenterFace, shipped_model
from facetell.faces.load import load_face_detector
from facetell.faces.mtcnn import MTCNN
from facetell.faces.yunet import OUTPUTS, YuNet


def constant_model(path: Path, outputs: dict[str, Any], shape: list[int | str]) -> Path:
    """Write an ONNX model that looks at the brightness of its input only: each output is a constant plus 0 × mean."""
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
    ]
    weights = [onnx.numpy_helper.from_array(np.float32(0), "nothing")]
    values = []
    for name, array in outputs.items():
        weights.append(onnx.numpy_helper.from_array(array.astype(np.float32), f"{name}.constant"))
        nodes.append(helper.make_node("Add", [f"{name}.constant", "zero"], [name]))
        values.append(helper.make_tensor_value_info(name, float32, array.shape))
    graph = helper.make_graph(
        nodes, "constant", [helper.make_tensor_value_info("input", float32, shape)], values, weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def yunet_outputs(side: int) -> dict[str, Any]:
    sizes = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    return {name: np.zeros((1, (side // int(name.split("_")[1])) ** 2, sizes[name.split("_")[0]])) for name in OUTPUTS}


def put(outputs: dict[str, Any], cell: int, row: int, column: int, side: int, **values: Any) -> None:
    for part, value in values.items():
        outputs[f"{part}_{cell}"][0, row * (side // cell) + column] = value


def test_yunet_decodes_by_the_book(tmp_path: Path) -> None:
    outputs = yunet_outputs(640)
    points = [0.1, 0.2, 0.3, 0.2, 0.2, 0.4, 0.1, 0.6, 0.3, 0.6]
    # Row 5, column 7 of the 16-pixel map: centre (7.5, 5.25) cells, size (2, 3) cells, certainty √(.81 × 1) = .9.
    put(outputs, 16, 5, 7, 640, cls=0.81, obj=1.0, bbox=[0.5, 0.25, math.log(2), math.log(3)], kps=points)
    # Nearly the same place on the 8-pixel map, less certain: suppressed.
    put(outputs, 8, 10, 15, 640, cls=0.7, obj=0.7, bbox=[0, 0.5, math.log(4), math.log(6)], kps=points)
    # Another face on the 32-pixel map, and one below the threshold.
    put(outputs, 32, 12, 10, 640, cls=0.64, obj=1.4, bbox=[0, 0, 0, 0], kps=[0.0] * 10)
    put(outputs, 32, 2, 18, 640, cls=0.5, obj=0.5, bbox=[0, 0, 0, 0], kps=[0.0] * 10)
    file = constant_model(tmp_path / "yunet.onnx", outputs, [1, 3, 640, 640])
    detector = load_face_detector(file)
    assert detector.name == "yunet"
    # 1280×960 is seen at half its size. The coarse view's faces are smaller than it is believed for.
    first, second = detector.detect(np.zeros((960, 1280, 3), np.uint8))
    left, top, width, height = 7.5 * 16 - 16, 5.25 * 16 - 24, 32, 48
    np.testing.assert_allclose(first.box, np.array([left, top, width, height]) * 2, rtol=1e-5)
    assert first.score == pytest.approx(0.9)
    expected = [((7 + x) * 32, (5 + y) * 32) for x, y in zip(points[::2], points[1::2], strict=True)]
    np.testing.assert_allclose(first.landmarks, expected, rtol=1e-5)
    np.testing.assert_allclose(second.box, np.array([10 * 32 - 16, 12 * 32 - 16, 32, 32]) * 2, rtol=1e-5)
    assert second.score == pytest.approx(0.8), "certainties are clipped to 0..1"


def test_yunet_with_a_smaller_fixed_input(tmp_path: Path) -> None:
    outputs = yunet_outputs(320)
    put(outputs, 32, 5, 5, 320, cls=1, obj=1, bbox=[0, 0, 0, 0], kps=[0.0] * 10)
    detector = load_face_detector(constant_model(tmp_path / "small.onnx", outputs, [1, 3, 320, 320]))
    faces = detector.detect(np.zeros((640, 640, 3), np.uint8))
    # Nine tiles of 320 pixels, each with a face around its middle.
    corners = sorted((144 + x, 144 + y, 32, 32) for x in (0, 160, 320) for y in (0, 160, 320))
    np.testing.assert_allclose(sorted(face.box for face in faces), corners, rtol=1e-5)


def test_yunet_with_a_free_input(tmp_path: Path) -> None:
    outputs = yunet_outputs(160)
    put(outputs, 32, 1, 2, 160, cls=1, obj=1, bbox=[0, 0, 0, 0], kps=[0.0] * 10)
    file = constant_model(tmp_path / "free.onnx", outputs, [1, 3, "height", "width"])
    (face,) = YuNet(file.read_bytes()).detect(np.zeros((160, 160, 3), np.uint8))
    np.testing.assert_allclose(face.box, [48, 16, 32, 32], rtol=1e-5)


def test_yunet_sees_blue_green_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = YuNet(constant_model(tmp_path / "y.onnx", yunet_outputs(160), [1, 3, 160, 160]).read_bytes())
    seen: list[Any] = []

    class Session:
        def run(self, names: Any, feed: dict[str, Any]) -> Any:
            seen.append(feed["input"])
            return [yunet_outputs(160)[name] for name in names]

    monkeypatch.setattr(detector, "_session", Session())
    picture = np.zeros((160, 160, 3), np.uint8)
    picture[...] = (10, 20, 30)
    assert detector.detect(picture) == []
    assert seen[0][0, :, 80, 80].tolist() == [30, 20, 10]


def test_a_wild_model_gives_finite_boxes(tmp_path: Path) -> None:
    outputs = yunet_outputs(160)
    put(outputs, 32, 1, 2, 160, cls=1, obj=1, bbox=[0, 0, 500, 500], kps=[0.0] * 10)
    detector = load_face_detector(constant_model(tmp_path / "wild.onnx", outputs, [1, 3, 160, 160]))
    (face,) = detector.detect(np.zeros((160, 160, 3), np.uint8))
    assert np.isfinite(face.box).all()


def test_the_default_is_centerface(tmp_path: Path) -> None:
    default = load_face_detector()
    assert default.name == "centerface"
    file = tmp_path / "any name.onnx"
    file.write_bytes(shipped_model())
    for same in (load_face_detector("centerface"), load_face_detector(file), load_face_detector(str(file))):
        assert isinstance(same, CenterFace)
        assert same.fingerprint == default.fingerprint


def test_files_that_are_no_face_model(tmp_path: Path) -> None:
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"\x89PNG and no model at all")
    with pytest.raises(UsageError, match="junk"):
        load_face_detector(junk)
    other = constant_model(tmp_path / "other.onnx", {"logits": np.zeros((1, 2))}, [1, 3, 8, 8])
    with pytest.raises(UsageError, match="neither YuNet nor CenterFace: its outputs are logits"):
        load_face_detector(other)
    misshapen = dict.fromkeys(OUTPUTS, np.zeros((1, 7, 3)))
    with pytest.raises(UsageError, match="looks like yunet but does not run"):
        load_face_detector(constant_model(tmp_path / "odd.onnx", misshapen, [1, 3, 160, 160]))


def test_unknown_names_get_the_near_miss() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'centerface'\?"):
        load_face_detector("centreface")


class FakeNetwork:
    """Stands in for facenet_pytorch.MTCNN."""

    def __init__(self, **settings: Any) -> None:
        assert settings["keep_all"] is True

    def detect(self, pixels: Any, landmarks: bool) -> Any:
        assert landmarks
        if not pixels.any():
            return None, [None], None
        points = np.arange(20, dtype=np.float32).reshape(2, 5, 2)
        boxes = np.array([[1, 2, 11, 22], [30, 40, 50, 70]], np.float32)
        return boxes, np.array([0.8, 0.99], np.float32), points


def test_mtcnn_through_the_users_own_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = types.ModuleType("facenet_pytorch")
    package.MTCNN = FakeNetwork  # type: ignore[attr-defined]
    package.__file__ = str(tmp_path / "__init__.py")
    monkeypatch.setitem(sys.modules, "facenet_pytorch", package)
    detector = load_face_detector("mtcnn")
    assert isinstance(detector, MTCNN)
    best, second = detector.detect(np.ones((80, 80, 3), np.uint8))
    assert best.box == (30, 40, 20, 30)
    assert best.score == pytest.approx(0.99)
    assert second.box == (1, 2, 10, 20)
    assert second.landmarks == ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
    assert detector.detect(np.zeros((80, 80, 3), np.uint8)) == []
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pnet.pt").write_bytes(b"weights")
    assert load_face_detector("mtcnn").fingerprint != detector.fingerprint


def test_mtcnn_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)
    with pytest.raises(UsageError, match="facenet-pytorch") as caught:
        load_face_detector("mtcnn")
    assert "pip install --no-deps facenet-pytorch" in str(caught.value.hint)
