"""``watch --look``: known faces that a detector keeps, judged files opened again, clusters and their pictures."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import inline
import numpy as np
import pytest
import torch
import toy
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

import facetell
from facetell.cli.main import main
from facetell.detector import look, many
from facetell.detector.bundle import read_bundle, update_description
from facetell.detector.description import EMBEDDING
from facetell.detector.known_faces import _drawn, read_embedding
from facetell.detector.look import SIDE
from facetell.detector.traffic_sample import draw_judged
from facetell.errors import BundleError, DataError, UsageError
from facetell.faceset.table import FaceSet
from facetell.files import sha256_of
from facetell.ingest.prepare import prepare
from facetell.networks.backbones import Backbone, build_backbone
from facetell.networks.depth import DepthVectors
from facetell.pixels.decode import decode_resized
from facetell.reporting.pictures import contact_sheet

RNG = np.random.default_rng


def striped(rng: np.random.Generator) -> Image.Image:
    """A picture of a kind that no toy is: coloured stripes over one."""
    pixels = np.asarray(toy.toy_picture(rng, fake=False)).astype(np.int64)
    return Image.fromarray(np.clip(pixels + 90 * (np.arange(32) // 2 % 2)[:, None] * np.array([1, -1, 0]), 0, 255)
                           .astype(np.uint8))  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A detector with 120 known faces, its face set, and folders of pictures: old kinds, and a new one."""
    root = tmp_path_factory.mktemp("look")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACETELL_CACHE", str(root / "cache"))
        patch.setattr(toy, "COUNTS", {"train": 8, "validation": 60, "test": 40})
        detector = toy.toy_detector(root)
    rng = RNG(7)
    for name in ("old", "new"):
        (root / name).mkdir()
        for k in range(60 if name == "old" else 45):
            picture = striped(rng) if name == "new" else toy.toy_picture(rng, fake=bool(k % 2))
            picture.save(root / name / f"{k:02}.png")
    return {"detector": detector, "faces": root / "faces", "old": root / "old", "new": root / "new"}


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    inline.judge_here(monkeypatch)


def judged(made: dict[str, Path], path: Path, *folders: Path) -> Path:
    verdicts = facetell.detect(made["detector"], folders, faces="crops", device="cpu")
    lines = [json.dumps(verdict.as_dict()) for verdict in verdicts]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.slow
def test_what_a_detector_keeps(made: dict[str, Path]) -> None:
    description = read_bundle(made["detector"])
    known = read_embedding(made["detector"], description)
    assert known.points.shape == (120, 12)  # a tenth as many dimensions
    np.testing.assert_allclose(np.cov(known.points.T), np.eye(12), atol=1e-3)  # whitened
    assert known.labels.tolist().count(1) == 60
    assert sorted(set(known.groups.tolist())) == list(range(60))
    assert (made["detector"] / EMBEDDING).stat().st_size < 400_000
    assert description["files"][EMBEDDING]["sha256"] == sha256_of(made["detector"] / EMBEDDING)
    # The points are those of the validation faces, in whatever order.
    faces = FaceSet.open(made["faces"])
    detector = facetell.Detector.load(made["detector"], "cpu")
    pixels = np.stack([decode_resized(faces.image(row), 32) for row in faces.rows("validation")])
    np.testing.assert_allclose(
        look._embed(made["detector"], detector.runtime, known, list(pixels)), known.points, atol=2e-3
    )
    assert facetell.Detector.verify(made["detector"]).files == len(description["files"])


def test_every_group_gives_one_face_before_any_a_second() -> None:
    labels = RNG(0).integers(0, 2, 2000).astype(np.int8)
    groups = np.concatenate([np.zeros(1000, np.int64), np.arange(1, 1001)])
    rows = _drawn(labels, groups, 1)
    assert len(rows) == 500
    assert labels[rows].sum() == 250
    assert (groups[rows] == 0).sum() <= 1
    assert rows.tolist() == _drawn(labels, groups, 1).tolist() != _drawn(labels, groups, 2).tolist()
    few = _drawn(labels[:1020], groups[:1020], 1)  # 21 groups: all of them, and then one person again and again
    assert len(set(groups[few].tolist())) == 21


class Judging(nn.Module):
    """A network that uses its backbone twice, as experts do: on the image, and then on its mirror image."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (self.backbone(images) - 2 * self.backbone(images.flip(3))).amax(dim=(1, 2, 3))


@pytest.mark.slow
def test_vectors_at_depths_are_means_of_blocks() -> None:
    backbone = build_backbone("squeezenet1_1", 64).eval()
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    x = (images - backbone.mean) / backbone.std
    means = []
    assert isinstance(backbone.body, nn.Sequential)
    with torch.no_grad():
        for child in backbone.body:
            x = child(x)
            if type(child).__name__ == "Fire":
                means.append(x.mean(dim=(2, 3)))
        found, logits = DepthVectors(Judging(backbone), 64)(images), Judging(backbone)(images)
    torch.testing.assert_close(found, torch.cat([logits.unsqueeze(1), *means], dim=1))
    other = build_backbone("deit_tiny_patch16_224", 32).eval()  # tokens; seven of its blocks, and the class token
    with torch.no_grad():
        found = DepthVectors(Judging(other), 32)(pictures := torch.rand(2, 3, 32, 32))
        assert found.shape == (2, 1 + 8 * 192)
        torch.testing.assert_close(found[:, -192:], other.vector(pictures))


@pytest.mark.slow
def test_a_new_kind_is_unsure(made: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 60 known groups 5% are three, so a face farther than all of them has p = 1/61."""
    counts = {}
    for name in ("old", "new"):
        out = tmp_path / f"{name}.jsonl"
        with pytest.raises(SystemExit, match="0"):
            main(
                [
                    "detect",
                    str(made["detector"]),
                    str(made[name]),
                    "--faces",
                    "crops",
                    "--unlike",
                    "0.05",
                    "-o",
                    str(out),
                ]
            )
        verdicts = [json.loads(line) for line in out.read_text().splitlines()]
        unlike = [line["faces"][0]["p_known"] <= 0.05 for line in verdicts]
        assert unlike == [line["decision"] == "unsure" for line in verdicts]
        counts[name] = sum(unlike) / len(unlike)
        plain = next(facetell.detect(made["detector"], [verdicts[0]["path"]], faces="crops"))
        assert (plain.unlike, plain.faces[0].p_known) == (None, None)  # 1% of 60 groups is none
    assert counts["old"] <= 0.15
    assert counts["new"] >= 0.3
    with pytest.raises(SystemExit, match="2"):
        main(["detect", str(made["detector"]), str(made["new"]), "--unlike", "0.001"])
    assert "knows faces of 60 groups" in capsys.readouterr().err
    report = facetell.evaluate(
        facetell.Detector.load(made["detector"], "cpu", unlike=0.05), made["faces"], tmp_path / "r"
    )
    assert [row["unlike"]["hits"] <= 0.15 * row["n"] for row in report.sources] == [True] * len(report.sources)
    assert "| recall | FPR | unlike |\n| ---" in (tmp_path / "r" / "report.md").read_text()


@pytest.mark.slow
def test_a_new_kind_is_found_on_its_day(made: dict[str, Path], tmp_path: Path) -> None:
    sunday = judged(made, tmp_path / "sunday.jsonl", made["old"])
    monday = judged(made, tmp_path / "monday.jsonl", made["new"])
    calm = facetell.watch(made["detector"], [sunday], tmp_path / "calm", look=True)
    assert calm.look["clusters"] == []
    assert calm.look["opened"] == 60
    assert any("No new cluster of faces is seen in 60 files" in said for said in calm.sentences)
    found = facetell.watch(made["detector"], [sunday, monday], tmp_path / "out", look=True)
    assert found.seen == "new"
    (cluster,) = found.look["clusters"]
    assert {Path(path).parent.name for path in cluster["examples"]} == {"new"}
    assert cluster["share"]["hits"] >= 8
    assert cluster["share"]["n"] == 105
    assert [batch["n"] for batch in cluster["batches"]] == [60, 45]
    assert cluster["batches"][0]["hits"] <= 1
    assert cluster["p"] < 0.05
    assert cluster["known"]["n"] == 120
    first = found.sentences[0]
    assert first.startswith(f"A suspected new cluster of faces: {cluster['share']['hits']} of 105 files")
    assert f"It stands out in {monday}" in first
    assert str(sunday) not in first
    assert "facetell adapt detector --fake FOLDER -o NEW" in found.next
    assert "another camera" in found.next
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        "cluster-1.png", "watch.json", "watch.md", "watch.png",
    ]  # fmt: skip
    assert json.loads((tmp_path / "out" / "watch.json").read_text("utf-8")) == found.as_dict()
    page = (tmp_path / "out" / "watch.md").read_text("utf-8")
    assert "(cluster-1.png)" in page
    assert "not that it is fake" in page
    with Image.open(tmp_path / "out" / "cluster-1.png") as sheet:
        corner = np.asarray(sheet.convert("RGB"))[6 : 6 + SIDE, 6 : 6 + SIDE]
    with Image.open(cluster["examples"][0]) as example:
        expected = np.asarray(example.resize((SIDE, SIDE), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(corner.astype(int) - expected).mean() < 8  # the picture itself, enlarged
    again = facetell.watch(made["detector"], [sunday, monday], tmp_path / "out", look=True)  # over the earlier one
    assert again.as_dict() == found.as_dict()
    html = facetell.report([tmp_path / "out"], tmp_path / "page.html").read_text("utf-8")
    assert html.count("data:image/png;base64,") == 2  # the plot and the contact sheet travel inside


def test_without_look_no_picture_is_opened(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = judged(made, tmp_path / "day.jsonl", made["old"])
    monkeypatch.setattr(many, "guarded_map", None)
    monkeypatch.setattr(look, "look_at", None)
    found = facetell.watch(made["detector"], [day], tmp_path / "out")
    assert found.look is None
    assert not list((tmp_path / "out").glob("cluster*"))


@pytest.mark.slow
def test_files_that_are_gone_are_counted(made: dict[str, Path], tmp_path: Path) -> None:
    copied = Path(shutil.copytree(made["new"], tmp_path / "inbox"))
    day = judged(made, tmp_path / "day.jsonl", copied)
    for k in range(4):
        (copied / f"{k:02}.png").unlink()
    (copied / "04.png").write_bytes(b"torn")
    found = facetell.watch(made["detector"], [day], tmp_path / "out", look=True)
    look = found.look
    assert (look["files"], look["drawn"], look["opened"]) == (45, 45, 40)
    assert look["gone"]["reasons"] == {"missing": 4, "unsupported": 1}
    assert any(said.startswith("5 of the 45 files to look at could not be opened") for said in found.sentences)
    assert "00.png" in (tmp_path / "out" / "watch.md").read_text("utf-8")
    shutil.rmtree(copied)
    empty = facetell.watch(made["detector"], [day], look=True)
    assert empty.look["far"] is None
    assert any("too few to find new faces" in said for said in empty.sentences)


@pytest.mark.slow
def test_faces_of_predictions_come_from_their_face_set(made: dict[str, Path], tmp_path: Path) -> None:
    facetell.evaluate(made["detector"], made["faces"], tmp_path / "report", device="cpu")
    table = tmp_path / "report" / "predictions.parquet"
    with pytest.raises(UsageError, match="does not say where its faces are") as caught:
        facetell.watch(made["detector"], [table], look=True)
    assert "--faceset" in str(caught.value.hint)
    found = facetell.watch(made["detector"], [table], look=True, faceset=made["faces"])
    assert found.look["opened"] == 40  # one face of each group
    assert found.look["clusters"] == []
    other = prepare(toy.toy_source(tmp_path / "pictures", seed=5), tmp_path / "other")
    with pytest.raises(DataError, match="another face set"):
        facetell.watch(made["detector"], [table], look=True, faceset=other.path)


@pytest.mark.slow
def test_the_draw_is_bounded_and_even(made: dict[str, Path], tmp_path: Path) -> None:
    line = json.loads(judged(made, tmp_path / "one.jsonl", made["old"]).read_text("utf-8").splitlines()[0])
    tables = []
    for name, count in (("a", 300), ("b", 100)):
        tables.append(tmp_path / f"{name}.jsonl")
        tables[-1].write_text("".join(json.dumps({**line, "path": f"{name}{k}"}) + "\n" for k in range(count)), "utf-8")
    times: dict[str, int] = {}
    for seed in range(200):
        drawn, counts = draw_judged(tables, {}, 40, seed)
        assert counts == [300, 100]
        assert len({one.path for one in drawn}) == 40
        assert [one.batch for one in drawn] == sorted(one.batch for one in drawn)
        for one in drawn:
            times[one.path] = times.get(one.path, 0) + 1
    early = sum(times.get(f"a{k}", 0) for k in range(100)) / 200
    late = sum(times.get(f"b{k}", 0) for k in range(100)) / 200
    assert early == pytest.approx(10, abs=0.7)  # 40 of 400, four standard errors
    assert late == pytest.approx(10, abs=0.7)
    assert draw_judged(tables, {}, 40, 3)[0] == draw_judged(tables, {}, 40, 3)[0]


def damaged(made: dict[str, Path], path: Path, **change: Any) -> Path:
    """A detector whose known faces were replaced, hashes and all."""
    copied = Path(shutil.copytree(made["detector"], path))
    tensors = load_file(copied / EMBEDDING)
    for name, value in change.items():
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value(tensors[name]).contiguous()
    save_file(tensors, copied / EMBEDDING)
    data = (copied / EMBEDDING).read_bytes()
    listed = json.loads((copied / "detector.json").read_text("utf-8"))
    digest = hashlib.sha256(data).hexdigest()
    listed["files"][EMBEDDING] = {"bytes": len(data), "sha256": digest}
    listed["calibration"]["embedding"] = digest
    (copied / "detector.json").write_text(json.dumps(listed), "utf-8")
    return copied


@pytest.mark.parametrize(
    "change",
    [
        {"points": lambda t: t[:, :-1]},
        {"points": lambda t: t * float("nan")},
        {"points": None},
        {"groups": lambda t: t[:-1]},
        {"labels": lambda t: t + 1},
        {"mean": lambda t: t[:-1]},
        {"basis": lambda t: t[0]},
    ],
)
def test_known_faces_that_do_not_fit_are_refused(made: dict[str, Path], tmp_path: Path, change: dict[str, Any]) -> None:
    path = damaged(made, tmp_path / "detector", **change)
    with pytest.raises(BundleError, match="embedding"):
        read_embedding(path, read_bundle(path))


def test_known_faces_of_another_backbone_are_refused(made: dict[str, Path], tmp_path: Path) -> None:
    path = damaged(made, tmp_path / "detector", mean=lambda t: t[:-1], basis=lambda t: t[:-1], weights=lambda t: t[:-1])
    day = judged({**made, "detector": path}, tmp_path / "day.jsonl", made["old"])
    with pytest.raises(BundleError, match="another backbone"):
        facetell.watch(path, [day], look=True)


@pytest.mark.slow
def test_one_person_is_too_few_groups(made: dict[str, Path], tmp_path: Path) -> None:
    path = damaged(made, tmp_path / "detector", groups=lambda t: t * 0)
    day = judged({**made, "detector": path}, tmp_path / "day.jsonl", made["old"])
    with pytest.raises(UsageError, match="too few groups"):
        facetell.watch(path, [day], look=True)


def test_a_changed_file_is_refused_with_the_detector(made: dict[str, Path], tmp_path: Path) -> None:
    copied = Path(shutil.copytree(made["detector"], tmp_path / "detector"))
    data = bytearray((copied / EMBEDDING).read_bytes())
    data[-1] ^= 1
    (copied / EMBEDDING).write_bytes(data)
    with pytest.raises(BundleError, match=r"embedding.safetensors is not the file that was written"):
        facetell.Detector.load(copied)
    (copied / EMBEDDING).unlink()
    with pytest.raises(BundleError, match=r"embedding.safetensors is missing"):
        facetell.Detector.load(copied)


def test_a_detector_without_known_faces_says_so(made: dict[str, Path], tmp_path: Path) -> None:
    copied = Path(shutil.copytree(made["detector"], tmp_path / "detector"))
    (copied / EMBEDDING).unlink()
    update = json.loads((copied / "detector.json").read_text("utf-8"))
    del update["files"][EMBEDDING]
    update["calibration"]["embedding"] = None
    (copied / "detector.json").write_text(json.dumps(update), "utf-8")
    update_description(copied, lambda description: None)
    day = judged({**made, "detector": copied}, tmp_path / "day.jsonl", made["old"])
    with pytest.raises(UsageError, match="keeps no points of known faces"):
        facetell.watch(copied, [day], look=True)
    assert facetell.watch(copied, [day]).look is None


@pytest.mark.slow
def test_the_command(made: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day = judged(made, tmp_path / "day.jsonl", made["old"], made["new"])
    with pytest.raises(SystemExit) as ended:
        main(["watch", str(made["detector"]), str(day), "--look", "-o", str(tmp_path / "out"), "--workers", "1"])
    said = capsys.readouterr()
    assert not ended.value.code
    assert said.out.startswith("A suspected new cluster of faces: ")
    assert "facetell adapt detector --fake FOLDER" in said.err
    assert (tmp_path / "out" / "cluster-1.png").is_file()


def test_a_contact_sheet_has_rows_of_six() -> None:
    colours = [np.full((SIDE, SIDE, 3), 10 * k, np.uint8) for k in range(8)]
    sheet = np.asarray(contact_sheet([(face, k / 8) for k, face in enumerate(colours)]))
    across, down = SIDE + 6, SIDE + 24
    assert sheet.shape == (2 * down + 6, 6 * across + 6, 3)
    for k in range(8):
        left, top = 6 + k % 6 * across, 6 + k // 6 * down
        assert (sheet[top : top + SIDE, left : left + SIDE] == 10 * k).all()
        assert (sheet[top + SIDE : top + SIDE + 18, left : left + SIDE] < 128).any()  # the score
