"""Detectors and face sets on the Hugging Face Hub: sent to a small hub on this machine, and fetched from it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import write_picture
from cryptography.hazmat.primitives.asymmetric import ec
from hub_server import TOKEN, Hub
from huggingface_hub import constants, snapshot_download
from serving_world import crop, served
from test_signature import pair

import facetell
from facetell import Detector, FaceSet
from facetell.cli.main import main
from facetell.detector.bundle import BOX
from facetell.errors import BundleError, DataError, FacetellError, HubError, MissingExtraError, UsageError

NAME = "me/swaps"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that is empty, and a cache, that of a user who is logged in."""
    hub = Hub()
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.url)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)  # as HF_ENDPOINT, which the library has read by now
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)
    yield hub
    hub.close()


@pytest.fixture
def files(fitted: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in fitted.iterdir()}


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    said = capsys.readouterr()
    return int(stop.value.code or 0), said.out, said.err


def metadata(card: bytes) -> dict[str, Any]:
    return dict(yaml.safe_load(card.decode().split("---\n")[1]))


@pytest.mark.slow
def test_a_detector_goes_there_and_comes_back_the_same(hub: Hub, fitted: Path, files: dict[str, bytes]) -> None:
    sent = facetell.push(fitted, NAME)
    assert sent.private
    assert hub.repositories["model", NAME].private
    assert sent.repository == f"hf://{NAME}@{hub.repositories['model', NAME].commits[-1][0]}"
    there = hub.files(NAME)
    assert set(there) == {*files, ".gitattributes"}
    back = facetell.pull(f"hf://{NAME}", "back")
    assert (back.repository, back.what) == (sent.repository, "detector")
    mine = {file.name: file.read_bytes() for file in Path("back").iterdir()}
    assert not any(file.is_symlink() for file in Path("back").iterdir())
    assert {name: mine[name] for name in files if name != "README.md"} == {
        name: content for name, content in files.items() if name != "README.md"
    }
    assert mine["README.md"].endswith(files["README.md"])
    facetell.verify("back")
    picture = write_picture(Path("photo.png"), size=(64, 64))
    before, after, without = (
        next(facetell.detect(where, [picture], faces="crops", workers=1)) for where in (fitted, "back", f"hf://{NAME}")
    )
    assert before == after == without
    assert before.judged


@pytest.mark.slow
def test_the_card_says_what_the_hub_shows(hub: Hub, fitted: Path, faces: FaceSet) -> None:
    facetell.push(fitted, NAME, licence="Apache-2.0")
    said = metadata(hub.files(NAME)["README.md"])
    assert said["library_name"] == "facetell"
    assert said["pipeline_tag"] == "image-classification"
    assert said["license"] == "apache-2.0"
    stored = json.loads((fitted / "metrics.json").read_text())["validation"]
    (validation,) = said["model-index"][0]["results"]
    assert validation["dataset"]["split"] == "validation"
    assert {each["type"]: each["value"] for each in validation["metrics"]}["roc_auc"] == pytest.approx(
        stored["auroc"], abs=1e-6
    )
    report = facetell.evaluate(fitted, faces, "report")
    facetell.push(fitted, NAME, reports=["report"], licence="terms of our own")
    said = metadata(hub.files(NAME)["README.md"])
    assert (said["license"], said["license_name"]) == ("other", "terms-of-our-own")
    (test,) = said["model-index"][0]["results"]
    assert test["dataset"]["split"] == "test"
    assert test["dataset"]["args"] == {"fingerprint": faces.fingerprint}
    (auroc,) = (each for each in test["metrics"] if each["type"] == "roc_auc")
    assert auroc["value"] == pytest.approx(report.metrics["auroc"].value, abs=1e-6)
    assert auroc["args"]["high"] == report.metrics["auroc"].high
    other = json.loads(Path("report/report.json").read_text())
    other["context"]["fitted_on_fingerprint"] = "0" * 64
    Path("report/report.json").write_text(json.dumps(other))
    with pytest.raises(UsageError, match="another detector"):
        facetell.push(fitted, NAME, reports=["report"])
    with pytest.raises(HubError, match="license"):
        facetell.push(fitted, NAME, licence="no-such-licence")


def test_a_face_set_goes_only_if_told_and_opens_as_it_is(hub: Hub, faces: FaceSet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pictures of .* faces"):
        facetell.push(faces.path, "me/faces")
    assert not hub.asked
    sent = facetell.push(faces, "me/faces", pictures=True)
    assert (sent.what, sent.private) == ("face set", True)
    back = facetell.pull("hf://datasets/me/faces", "back")
    assert FaceSet.open("back").fingerprint == faces.fingerprint
    assert back.what == facetell.pull("hf://me/faces", "again").what == "face set"
    assert FaceSet.open("hf://me/faces").fingerprint == faces.fingerprint
    assert facetell.inspect("hf://me/faces").rows == len(faces)
    import datasets

    loaded = datasets.load_dataset(str(tmp_path / "back"), cache_dir=str(tmp_path / "datasets"))
    assert {split: len(rows) for split, rows in loaded.items()} == {
        split: len(faces.rows(split)) for split in faces.splits
    }
    one = loaded["train"][0]
    assert one["image"].size == (one["width"], one["height"])
    assert loaded["train"].features["label"].names == ["real", "fake"]
    hub.make(NAME, {"faceset.json": b"{}"})
    with pytest.raises(BundleError, match="holds no detector"):
        Detector.load(f"hf://{NAME}")


def test_a_signature_goes_along(hub: Hub, fitted: Path, tmp_path: Path) -> None:
    shutil.copytree(fitted, "mine")
    private, public = pair(tmp_path, "key", ec.generate_private_key(ec.SECP256R1()))
    facetell.sign("mine", private)
    facetell.push("mine", NAME)
    assert facetell.verify(f"hf://{NAME}", key=public).signed
    facetell.pull(f"hf://{NAME}", "back")
    assert facetell.verify("back", key=public).signed


def test_old_faces_in_a_detector_go_only_if_told(hub: Hub, fitted: Path, faces: FaceSet) -> None:
    shutil.copytree(fitted, "mine")
    facetell.remember("mine", faces, faces=40)
    with pytest.raises(UsageError, match="pictures of old faces") as error:
        facetell.push("mine", NAME)
    assert "--forget" in (error.value.hint or "")
    assert not hub.asked
    facetell.push("mine", NAME, pictures=True)
    facetell.pull(f"hf://{NAME}", "back")
    assert facetell.verify("back").replay == facetell.verify("mine").replay > 0


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("pytorch_model.bin", b"\x80\x02", "'pytorch_model.bin', which is no part of a detector"),
        ("modeling.py", b"import os", "'modeling.py'"),
        ("deep/weights.safetensors", b"", "'deep/weights.safetensors'"),
    ],
)
def test_a_repository_with_other_files_is_refused_before_it_is_fetched(
    hub: Hub, files: dict[str, bytes], name: str, content: bytes, reason: str
) -> None:
    hub.make(NAME, {**files, name: content})
    with pytest.raises(BundleError, match=reason):
        facetell.pull(f"hf://{NAME}", "back")
    assert not any("/resolve/" in each for each in hub.asked)
    assert not Path("back").exists()


def test_a_repository_that_is_too_large_is_refused_before_it_is_fetched(hub: Hub, files: dict[str, bytes]) -> None:
    hub.make(NAME, files)
    hub.repositories["model", NAME].lies["weights.safetensors"] = 10**12
    with pytest.raises(BundleError, match="1,000.0 GB"):
        Detector.load(f"hf://{NAME}")
    assert not any("/resolve/" in each for each in hub.asked)


def test_something_else_is_refused(hub: Hub) -> None:
    hub.make(NAME, {"config.json": b"{}", "model.safetensors": b""})
    with pytest.raises(BundleError, match="holds no detector: it has no detector.json"):
        facetell.pull(f"hf://{NAME}", "back")


def test_a_file_that_was_changed_there_is_refused(hub: Hub, files: dict[str, bytes], faces: FaceSet) -> None:
    model = bytearray(files["model.onnx"])
    model[len(model) // 2] ^= 1
    hub.make(NAME, {**files, "model.onnx": bytes(model)})
    for _ in range(2):  # what was fetched and refused is refused again
        with pytest.raises(BundleError, match=r"model.onnx is not the file that was written"):
            Detector.load(f"hf://{NAME}")
    with pytest.raises(BundleError, match=r"model.onnx is not the file that was written"):
        facetell.pull(f"hf://{NAME}", "back")
    assert not Path("back").exists()
    shards = {file.name: file.read_bytes() for file in faces.path.iterdir() if file.is_file()}
    name = next(each for each in shards if each.endswith(".parquet"))
    changed = bytearray(shards[name])
    changed[len(changed) // 3] ^= 1
    hub.make("me/faces", {**shards, name: bytes(changed)}, "dataset")
    with pytest.raises(DataError, match=name):
        FaceSet.open("hf://me/faces")


def test_a_commit_names_the_same_bytes_for_ever(hub: Hub, fitted: Path, files: dict[str, bytes]) -> None:
    first = hub.make(NAME, files)
    card = {**files, "README.md": b"# second\n"}
    second = hub.make(NAME, card)
    for revision, expected in ((f"@{first}", files), ("", card), (f"@{second}", card), ("@main", card)):
        facetell.pull(f"hf://{NAME}{revision}", f"back{revision[:8]}")
        assert Path(f"back{revision[:8]}", "README.md").read_bytes() == expected["README.md"]
        shutil.rmtree(f"back{revision[:8]}")
    assert facetell.pull(f"hf://{NAME}@{first}", "old").repository == f"hf://{NAME}@{first}"


def test_what_is_here_needs_no_connection(
    hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = hub.make(NAME, files)
    Detector.load(f"hf://{NAME}")
    hub.asked.clear()
    Detector.load(f"hf://{NAME}@{first}")
    assert not hub.asked  # a commit is not asked for again
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    loaded = Detector.load(f"hf://{NAME}")
    assert "the hub was not asked" in caplog.text
    assert first in caplog.text
    assert loaded.path is not None
    assert loaded.path.name == f"swaps@{first[:12]}"
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set") as error:
        Detector.load("hf://me/other")
    assert error.value.hint is not None
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    assert Detector.load(f"hf://{NAME}").path == loaded.path
    with pytest.raises(HubError, match="cannot be reached"):
        Detector.load("hf://me/other")


@pytest.mark.usefixtures("hub")
def test_what_cannot_be_sent_or_asked_says_so(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a cache or a revision nobody who sends has use; a token is a line of ASCII (RFC 6750)."""
    monkeypatch.setenv("HF_TOKEN", "t\N{LATIN SMALL LETTER O WITH DIAERESIS}ken")
    with pytest.raises(HubError, match="the token for the hub") as error:
        Detector.load("hf://me/other")
    assert "HF_TOKEN" in (error.value.hint or "")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="nothing is sent: HF_HUB_OFFLINE"):
        facetell.push(fitted, NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="cannot be reached") as error:
        facetell.push(fitted, NAME)
    assert "cache" not in f"{error.value} {error.value.hint}"


def test_a_hub_that_names_no_commit_is_refused(hub: Hub, files: dict[str, bytes]) -> None:
    hub.make(NAME, files)
    commits = hub.repositories["model", NAME].commits
    commits[-1] = ("../../../../elsewhere", commits[-1][1])
    with pytest.raises(HubError, match="names no commit"):
        Detector.load(f"hf://{NAME}")


def test_what_another_program_fetched_is_checked_and_used(
    hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = hub.make(NAME, files), hub.make("me/other", {**files, "code.py": b""})
    for name in (NAME, "me/other"):
        snapshot_download(name, cache_dir=constants.HF_HUB_CACHE)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for reference in (f"hf://{NAME}@{good}", f"hf://{NAME}"):
        Detector.load(reference)
    for reference in (f"hf://me/other@{bad}", "hf://me/other"):
        with pytest.raises(BundleError, match=r"code\.py"):
            Detector.load(reference)


@pytest.mark.slow
def test_the_one_in_the_box_goes_whole_and_with_its_terms(hub: Hub) -> None:
    facetell.push("starter", "me/starter")
    facetell.pull("hf://me/starter", "back")
    assert facetell.verify("back").replay == facetell.verify("starter").replay > 0
    for file in (BOX / "starter").iterdir():
        assert file.name == "README.md" or (Path("back") / file.name).read_bytes() == file.read_bytes()
    there = hub.files("me/starter")
    assert there["LICENSE.md"] == (BOX / "LICENSE.md").read_bytes()
    said = metadata(there["README.md"])
    assert said["license"] == "other"
    assert re.fullmatch(r"[a-z0-9.-]+", said["license_name"])


def test_a_detector_of_the_hub_is_not_changed_in_place(hub: Hub, files: dict[str, bytes], faces: FaceSet) -> None:
    hub.make(NAME, files)
    with pytest.raises(UsageError, match="stays as it is") as error:
        facetell.threshold(f"hf://{NAME}", faces, at="fpr=0.1")
    assert "facetell pull" in (error.value.hint or "")


def test_names_and_words_of_the_command(
    hub: Hub, fitted: Path, faces: FaceSet, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "push", fitted, NAME)
    assert code == 0
    assert "private" in out
    commit = hub.repositories["model", NAME].commits[-1][0]
    write_picture(Path("photo.png"), size=(64, 64))
    code, out, error = run(capsys, "detect", f"hf://{NAME}", "photo.png", "--faces", "crops")
    assert code == 0, error
    assert "photo.png" in out
    assert error.count(commit) == 1
    assert run(capsys, "verify", f"hf://{NAME}")[0] == 0
    assert run(capsys, "pull", f"hf://{NAME}@{commit}", "-o", "back", "--json")[0] == 0
    code, _, error = run(capsys, "pull", f"hf://{NAME}", "-o", "back")
    assert (code, "back exists" in error) == (2, True)
    code, _, error = run(capsys, "detect", "hf://me/nothing", "photo.png")
    assert code == 1
    assert "there is no detector hf://me/nothing, or it is private" in error
    assert "hf auth login" in error
    code, _, error = run(capsys, "pull", f"hf://{NAME}@{'0' * 40}", "-o", "other")
    assert (code, "no such revision" in error) == (1, True)
    for name in ("hf://swaps", "hf://me/../up", "hf://me/a b", "hf://me/swaps@"):
        assert run(capsys, "pull", name, "-o", "other")[0] == 2


@pytest.mark.slow
def test_a_hub_that_does_not_know_the_way_for_large_files_is_an_error(
    hub: Hub, fitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hf_xet")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    with pytest.raises(HubError, match="the exchange with .* failed") as error:
        facetell.push(fitted, NAME)
    assert "HF_HUB_DISABLE_XET=1" in (error.value.hint or "")


@pytest.mark.slow
def test_another_hub_by_its_address(hub: Hub, fitted: Path, faces: FaceSet, tmp_path: Path) -> None:
    """As a user has it: the address and the cache in the environment, and the hub's own way to open a face set."""
    facetell.push(fitted, NAME)
    facetell.push(faces, "me/faces", pictures=True)
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": os.pathsep.join(sys.path)}

    def python(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *words], env=os.environ | own | more, capture_output=True, text=True)

    done = python("-m", "facetell", "evaluate", f"hf://{NAME}", "hf://me/faces", "-o", "report")
    assert done.returncode == 0, done.stderr
    done = python("-m", "facetell", "verify", f"hf://{NAME}", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    done = python("-m", "facetell", "verify", "hf://me/other", HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert done.stderr.startswith("error: hf://me/other is not in the cache")
    code = "import datasets; print({split: len(rows) for split, rows in datasets.load_dataset('me/faces').items()})"
    done = python("-c", code)
    assert done.stdout == f"{ {split: len(faces.rows(split)) for split in faces.splits} }\n", done.stderr


@pytest.mark.slow
def test_every_verb_takes_them(hub: Hub, fitted: Path, faces: FaceSet, tmp_path: Path) -> None:
    facetell.push(fitted, NAME)
    facetell.push(faces, "me/faces", pictures=True)
    detector, faceset = f"hf://{NAME}", "hf://me/faces"
    assert facetell.history(detector).fitted == facetell.history(fitted).fitted
    assert facetell.export(detector, "exported").points == facetell.export(fitted, "exported-too").points
    measured = facetell.evaluate(detector, faceset)
    assert measured.metrics == facetell.evaluate(fitted, faces).metrics
    assert measured.context["detector"].startswith("swaps@")
    assert "faces@" in json.dumps(facetell.audit(faceset).as_dict())
    assert facetell.explain(detector, faceset, limit=1, sanity=0).faces
    settings = {"pretrained": detector, "epochs": 1}
    mine = facetell.fit("finetune", faceset, tmp_path / "mine", settings=settings, device="cpu")
    assert "swaps@" in mine.description["settings"]["pretrained"]
    assert facetell.blend(faceset, "blended").info["made"]["from"]["fingerprint"] == faces.fingerprint


@pytest.mark.slow
def test_a_server_judges_with_one_of_the_hub(hub: Hub, files: dict[str, bytes], tmp_path: Path) -> None:
    """The cache is made of links, and the server works on a copy."""
    hub.make(NAME, files)
    fetched = Detector.load(f"hf://{NAME}").path
    assert fetched is not None
    picture = write_picture(Path("photo.png"), size=(64, 64))
    with served(tmp_path, fetched, "--faces", "crops", "--workers", 1) as running, running.client() as client:
        answer = client.post("/v1/verdicts", files={"file": crop(picture)})
    assert answer.json()["items"][0]["verdict"]["detector"] == Detector.load(fetched).identity


def test_who_is_not_let_in_is_told_how(hub: Hub, files: dict[str, bytes], fitted: Path, monkeypatch: Any) -> None:
    hub.make(NAME, files, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    for act in (lambda: Detector.load(f"hf://{NAME}"), lambda: facetell.push(fitted, "you/swaps")):
        with pytest.raises(HubError) as error:
            act()
        assert "hf auth login" in (error.value.hint or "")


def test_a_public_repository_is_taken_only_if_told(hub: Hub, fitted: Path, files: dict[str, bytes]) -> None:
    hub.make(NAME, files)
    with pytest.raises(UsageError, match="can be read by anybody"):
        facetell.push(fitted, NAME)
    assert facetell.push(fitted, NAME, public=True).private is False
    hub.make("me/other", {"train.py": b""}, private=True)
    with pytest.raises(UsageError, match="holds 'train.py'"):
        facetell.push(fitted, "me/other")


def test_what_the_version_before_had_goes(hub: Hub, fitted: Path, files: dict[str, bytes]) -> None:
    hub.make(NAME, {**files, "lineage-0123456789abcdef.safetensors": b"old", "LICENSE": b"terms"}, private=True)
    facetell.push(fitted, NAME)
    assert set(hub.files(NAME)) == {*files, ".gitattributes", "LICENSE"}


def test_a_damaged_detector_is_not_sent(hub: Hub, fitted: Path) -> None:
    shutil.copytree(fitted, "mine")
    (Path("mine") / "metrics.json").write_text("{}")
    with pytest.raises(BundleError, match="metrics.json"):
        facetell.push("mine", NAME)
    assert not hub.asked


def test_without_the_library_it_is_said(monkeypatch: pytest.MonkeyPatch, fitted: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    acts: list[Callable[[], object]] = [
        lambda: Detector.load("hf://me/swaps"),
        lambda: facetell.push(fitted, NAME),
        lambda: facetell.pull("hf://me/swaps", "x"),
    ]
    for act in acts:
        with pytest.raises(MissingExtraError) as error:
            act()
        assert error.value.hint == "pip install 'facetell[hub]'"
    assert issubclass(MissingExtraError, FacetellError)
