"""Detectors as ONNX: the same logits as torch's for every kind of network, and files of strangers that cost an error."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_onnx
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import facetell
from facetell.detector.runtimes.onnx import runtime_of
from facetell.detector.runtimes.torch import TorchRuntime
from facetell.errors import BundleError, FacetellError, SettingsError, UsageError
from facetell.files import sha256_of
from facetell.methods import METHODS, get_method
from facetell.methods.parts import check_backbone, parts_of
from facetell.networks import attention
from facetell.networks.backbones import Backbone, build_backbone
from facetell.networks.classical import FeatureClassifier
from facetell.networks.onnx_graph import detector_graph
from facetell.settings import resolve
from facetell.training.classifiers import CLASSIFIERS, fit_head

PARITY = 1e-3

Brief = Callable[[str], Path]


def lively(network: nn.Module) -> nn.Module:
    """Random norms, γ and heads, as after training: fresh ones hide mistakes, being identities and zeros."""
    torch.manual_seed(1)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)  # type: ignore[operator,union-attr]
            part.running_var.uniform_(0.5, 1.5)  # type: ignore[operator,union-attr]
        if isinstance(part, attention.SelfAttention):
            nn.init.constant_(part.gamma, 0.5)
    for parameter in network.parameters():
        if float(parameter.detach().abs().max()) == 0:
            nn.init.normal_(parameter, 0, 0.1)
    return network.eval()


def made(method: str, **settings: object) -> nn.Module:
    torch.manual_seed(0)
    chosen = get_method(method)
    return lively(chosen.build(resolve(chosen.settings, {"size": 64, **settings})))


def classified(name: str) -> nn.Module:
    """A backbone and a classical classifier that was fitted on vectors of noise."""
    torch.manual_seed(0)
    backbone = build_backbone("squeezenet1_1", 64).eval()
    with torch.no_grad():
        vectors = backbone.vector(torch.rand(40, 3, 64, 64)).numpy()
    classifier = CLASSIFIERS[name]
    point = {key: values[0] for key, values in classifier.grid.items()} | ({"trees": 8} if name == "forest" else {})
    labels = np.tile([0, 1], 20).astype(np.int8)
    return FeatureClassifier(backbone, fit_head(classifier, vectors, labels, point, 0, True)).eval()


OLD = {"backbone": "squeezenet1_1", "size": 48}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "finetune": lambda: made("finetune", backbone="squeezenet1_1"),
    "transformer": lambda: made("finetune", backbone="vit_tiny_patch16_224"),
    "windows": lambda: made("finetune", backbone="swin_tiny_patch4_window7_224"),
    "convnext": lambda: made("finetune", backbone="convnext_atto"),
    "fdftnet": lambda: made("fdftnet"),
    "siamese": lambda: made("siamese", backbone="cffn_icip"),
    "depth": lambda: made("depth", backbone="squeezenet1_1", width=32),
    "same padding": lambda: made("depth", backbone="mobilenet_v2_tf", width=32),
    "experts": lambda: made(
        "experts", backbone="squeezenet1_1", experts=2, old_method="finetune", old_settings=json.dumps(OLD)
    ),
    "experts that share": lambda: made(
        "experts", backbone="squeezenet1_1", experts=3, shared=True, old_method="depth",
        old_settings=json.dumps({**OLD, "size": 64, "width": 32}),
    ),
    **{f"features by {name}": lambda name=name: classified(name) for name in CLASSIFIERS},  # type: ignore[misc]
}  # fmt: skip
SLOW = ("windows", "transformer", "convnext", "siamese", "same padding", "experts")


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[pytest.mark.slow] * (each in SLOW), id=each) for each in NETWORKS]
)
def test_the_graph_says_what_torch_says(name: str) -> None:
    """Read by ONNX Runtime alone, in batches of any size, with plain operators and the weights by their names."""
    network = NETWORKS[name]()
    vectors = isinstance(getattr(network, "backbone", None), Backbone)
    data = detector_graph(network, 64, vectors=vectors)
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model)
    assert {node.domain for node in model.graph.node} == {""}
    assert all(each.data_location == onnx.TensorProto.DEFAULT for each in model.graph.initializer)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    crops = np.random.default_rng(2).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = network(torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255).numpy()
    for some in (crops, crops[:1], crops[3:]):
        found = session.run(["logits"], {"crops": some})[0]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[: len(some)] if len(some) != 2 else expected[3:], PARITY, PARITY)
    held = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    for weight, tensor in network.named_parameters():
        if weight in held:
            np.testing.assert_array_equal(held[weight].astype(np.float32), tensor.detach().numpy())
    assert sum(weight in held for weight, _ in network.named_parameters()) >= 0.8 * len(list(network.parameters()))
    if vectors:
        one, two = runtime_of(data, Path(), 64, 1), TorchRuntime(network, 64)
        np.testing.assert_allclose(one.logits_and_vectors(crops)[1], two.logits_and_vectors(crops)[1], 1e-3, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_judges_by_onnx_and_by_torch(method: str, brief: Brief) -> None:
    """What `fit` wrote: the same logits within the issue's bound, whatever the batch; and `verify` replays both."""
    crops = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    own, onnx_, torch_ = (
        facetell.Detector.load(brief(method), "cpu", runtime=runtime) for runtime in (None, "onnx", "torch")
    )
    expected = torch_.logits(crops)
    assert np.array_equal(own.logits(crops), onnx_.logits(crops))
    assert (np.abs(onnx_.logits(crops) - expected) <= PARITY * (1 + np.abs(expected))).all()
    assert np.array_equal(onnx_.logits(crops[2:3]), onnx_.logits(crops)[2:3])
    assert onnx_.logits(crops[:0]).shape == (0,)
    assert set(facetell.verify(brief(method)).selftest) == {"onnx", "torch"}
    written = json.loads((brief(method) / "metrics.json").read_text())["parity"]
    assert written["faces"] == 20
    assert written["difference"] <= PARITY


def test_openvino_says_the_same(brief: Brief) -> None:
    pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    crops = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    one, two = (facetell.Detector.load(brief("finetune"), "cpu", runtime=name) for name in ("onnx", "openvino"))
    expected = one.logits(crops)
    assert (np.abs(two.logits(crops) - expected) <= PARITY * (1 + np.abs(expected))).all()


def test_attention_is_exported_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No map of all positions by all positions is ever there: at 224×224 that would be 630 MB for each face."""
    monkeypatch.setattr(attention, "EXPORTED_ENTRIES", 100 * 256)
    torch.manual_seed(0)

    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = attention.SelfAttention(16)
            self.first = nn.Conv2d(3, 16, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.attention(self.first(images)).mean(dim=(1, 2, 3))
            return y

    network = lively(Attends())
    data = detector_graph(network, 16)
    kinds = Counter(node.op_type for node in onnx.load_from_string(data).graph.node)
    assert kinds["Softmax"] == 3  # 100, 100 and 56 of 256 rows
    crops = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_allclose(
        runtime_of(data, Path(), 16).logits(crops), TorchRuntime(network, 16).logits(crops), 1e-4, 1e-5
    )


class Small(nn.Module):
    """What hostile files are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.Linear(8 * 49, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(torch.relu(self.norm(self.conv(images))).flatten(1)).squeeze(1)
        return y


@pytest.fixture(scope="module")
def small() -> bytes:
    torch.manual_seed(0)
    return detector_graph(Small(), hostile_onnx.SIZE)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
def test_three_hundred_hostile_files_cost_an_error_each(small: bytes, tmp_path: Path) -> None:
    """In a process that may take 4 GiB and a minute of processor time for all: each is refused with a reason, or computes."""
    (tmp_path / "good.onnx").write_bytes(small)
    command = [sys.executable, hostile_onnx.__file__, str(tmp_path / "good.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, str] = dict(map(json.loads, done.stdout.splitlines()))
    assert len(said) == hostile_onnx.COUNT + 4
    assert said["good"] == "computes (2,)"
    for name, what in said.items():
        assert what == "computes (2,)" or len(what) > len("refused: detector/model.onnx is refused: "), name
        kind = name.split()[0]
        if kind not in ("good", "flipped", "swapped", "in_structure", "huge_padding"):
            assert what.startswith("refused"), (name, what)
    reasons = {name.split()[0]: what for name, what in said.items()}
    assert "is not allowed" in reasons["foreign"]
    assert "is not allowed" in reasons["outside"]
    assert "nothing before it computes" in reasons["cyclic"]
    assert "more than is allowed" in reasons["outer_product"]
    assert "multiplications, more than is allowed" in reasons["slow"]
    assert "more than 50,000 nodes" in reasons["wide"]
    assert "bytes beside its weights" in reasons["crumbs"]
    assert "bytes beside its weights" in reasons["sides"]


def give(bundle: Path, data: bytes) -> Path:
    """A copy whose model.onnx is ``data``, with hashes that agree, as somebody who knows the format could."""
    (bundle / "model.onnx").write_bytes(data)
    description: dict[str, Any] = json.loads((bundle / "detector.json").read_text())
    description["files"]["model.onnx"] = {"bytes": len(data), "sha256": sha256_of(bundle / "model.onnx")}
    (bundle / "detector.json").write_text(json.dumps(description))
    return bundle


@pytest.fixture
def bundle(brief: Brief, tmp_path: Path) -> Path:
    return Path(shutil.copytree(brief("finetune"), tmp_path / "bundle"))


def test_a_model_of_another_network_is_refused(bundle: Path, small: bytes) -> None:
    good = (bundle / "model.onnx").read_bytes()
    with pytest.raises(BundleError, match=r"model.onnx is refused: .*") as refused:
        facetell.Detector.load(give(bundle, small))
    assert refused.value.exit_code == 4
    other = onnx.load_from_string(good)
    bias = next(each for each in other.graph.initializer if each.name.endswith("bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(1e-6), bias.name))
    facetell.Detector.load(give(bundle, other.SerializeToString()))  # it computes
    with pytest.raises(BundleError, match="are of different networks"):
        facetell.verify(bundle)


def test_a_network_that_cannot_be_written_down_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    class Inverts(Small):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = super().forward(images) + torch.linalg.eigvals(images[:, 0]).real.sum(1)
            return y

    with pytest.raises(FacetellError, match="the network cannot be written as ONNX: .*eigvals"):
        detector_graph(Inverts(), 16)
    monkeypatch.setattr("facetell.detector.runtimes.onnx_cost.MOST_WORK", 1000)
    with pytest.raises(FacetellError, match="the network as ONNX would not be read: one face would take"):
        check_backbone("convnext_atto", 40)  # no other test has tried it at this size
    monkeypatch.undo()
    crops = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    monkeypatch.setattr("facetell.networks.onnx_graph.detector_graph", lambda *_, **__: detector_graph(Small(), 16))
    with pytest.raises(FacetellError, match="torch and ONNX Runtime differ on 5 of 5 faces"):
        parts_of(Small(), 16, crops, vectors=False)


def test_which_runtime_computes(bundle: Path) -> None:
    with pytest.raises(SettingsError, match="unknown runtime 'onx'; did you mean 'onnx'"):
        facetell.Detector.load(bundle, runtime="onx")
    with pytest.raises(SettingsError, match="processors alone"):
        facetell.Detector.load(bundle, "cuda", runtime="onnx")
    description = json.loads((bundle / "detector.json").read_text())
    (bundle / "model.onnx").unlink()
    del description["files"]["model.onnx"]
    (bundle / "detector.json").write_text(json.dumps(description))
    with pytest.raises(BundleError, match=r"has no model.onnx") as missing:
        facetell.Detector.load(bundle)
    assert "--runtime torch" in str(missing.value.hint)
    facetell.Detector.load(bundle, runtime="torch")
    description["runtime"] = "theirs"
    (bundle / "detector.json").write_text(json.dumps(description))
    with pytest.raises(UsageError, match="is for the runtime 'theirs'"):
        facetell.Detector.load(bundle, runtime="torch")
