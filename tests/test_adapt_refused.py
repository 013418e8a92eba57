"""What adapting refuses: poisoned pictures by its checks, impossible requests before; and nothing is left behind."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monday import Monday, fill

import facetell
from facetell.adaptation import flow
from facetell.cli.main import main
from facetell.detector.bundle import read_bundle
from facetell.errors import AcceptanceError, BundleError, DataError, LeakError, UsageError

PROBE: dict[str, Any] = {"strategy": "linear-probe"}

pytestmark = pytest.mark.fits


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return int(stop.value.code or 0), said.out, said.err


def mixed_up(made: Monday, folder: Path) -> tuple[Path, Path]:
    """Reals and fakes of the new kind, dealt to both folders by chance."""
    rng = np.random.default_rng(3)
    for name in ("a", "b"):
        (folder / name).mkdir()
    for source in ("real", "smooth"):
        for k, path in enumerate(rng.permutation(sorted(made[source].iterdir()))):
            shutil.copy(path, folder / "ab"[k % 2] / f"{source}-{Path(path).name}")
    return folder / "a", folder / "b"


def test_shuffled_labels_end_with_7_and_write_nothing(
    made: Monday, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes, reals = mixed_up(made, tmp_path)
    before = sorted(tmp_path.iterdir())
    arguments = (
        "adapt",
        made.detector,
        "--fake",
        fakes,
        "--real",
        reals,
        "-o",
        tmp_path / "out",
        "--strategy",
        "linear-probe",
    )
    code, out, err = run(capsys, *arguments, "--json")
    record = json.loads(out)
    assert code == AcceptanceError.exit_code == 7
    assert "the adapted detector is not accepted, nothing is written" in err
    assert not record["checks"]["new"]["passed"]
    assert record["refused"]
    assert sorted(tmp_path.iterdir()) == before

    def refuse(*_: object, **__: object) -> None:
        raise AcceptanceError("not passed", record)

    monkeypatch.setattr("facetell.api.adapt", refuse)
    code, out, _ = run(capsys, *arguments)
    assert code == 7
    assert f"REFUSED  {record['checks']['new']['says']}" in out
    assert "linear-probe" in out


def test_exchanged_labels_of_a_kind_it_knows(made: Monday, tmp_path: Path) -> None:
    with pytest.raises(AcceptanceError, match="exchanged") as refused:
        facetell.adapt(made.detector, tmp_path / "out", fake=made["real"], real=made["board"], **PROBE)
    assert not refused.value.record["checks"]["labels"]["passed"]
    assert not (tmp_path / "out").exists()
    try:  # trusted, it may still be refused for what else is wrong
        record = facetell.adapt(
            made.detector, tmp_path / "out", fake=made["real"], real=made["board"], trust_labels=True, **PROBE
        ).as_dict()
    except AcceptanceError as other:
        record = other.record
    assert not record["checks"]["labels"]["passed"]
    assert not any("exchanged" in each for each in record["refused"])


def test_a_planted_border(made: Monday, tmp_path: Path) -> None:
    """It is found, nothing is written, and the detector that should have learned stays as it was."""
    before = {path: path.read_bytes() for path in made.detector.rglob("*") if path.is_file()}
    with pytest.raises(AcceptanceError, match="border") as refused:
        facetell.adapt(made.detector, tmp_path / "out", fake=made["framed"], real=made["real"], strategy="norms")
    found = refused.value.record["checks"]
    assert found["border"]["closes"] > 0.8
    assert found["compression"]["passed"]
    assert not (tmp_path / "out").exists()
    assert {path: path.read_bytes() for path in made.detector.rglob("*") if path.is_file()} == before
    assert read_bundle(made.detector)["replay"]["faces"] == 160


def test_what_cannot_be_learned_from(made: Monday, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, empty, few = tmp_path / "out", tmp_path / "empty", fill(tmp_path / "few", "smooth", 5, 1)
    empty.mkdir()
    junk = tmp_path / "junk"
    junk.mkdir()
    (junk / "a.png").write_bytes(b"no picture")
    real = made["real"]
    mistakes: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (DataError, "holds no file", {"fake": empty, "real": real}),
        (DataError, "does not exist", {"fake": tmp_path / "nowhere", "real": real}),
        (DataError, "junk|readable|picture", {"fake": junk, "real": real}),
        (DataError, "too few", {"fake": few, "real": real}),
        (DataError, "too few", {"fake": made["smooth"], "real": real, "shots": 5}),
        (UsageError, "did you mean 'norms'", {"fake": made["smooth"], "real": real, "strategy": "nroms"}),
        (LeakError, "both|same picture", {"fake": real, "real": real}),
    ]
    for error, words, arguments in mistakes:
        with pytest.raises(error, match=words):
            facetell.adapt(made.detector, out, **{**PROBE, **arguments})
    with pytest.raises(UsageError, match="exists"):
        facetell.adapt(made.detector, empty, fake=made["smooth"], real=real)
    with pytest.raises(UsageError, match="no reals"):
        facetell.adapt(made.bare, out, fake=made["smooth"])
    with pytest.raises(UsageError, match="without a replay buffer"):
        facetell.adapt(made.bare, out, fake=made["smooth"], real=real, strategy="expert")
    with pytest.raises(BundleError, match="no detector"):
        facetell.adapt(tmp_path / "nowhere", out, fake=made["smooth"], real=real)
    assert not out.exists()
    code, said, err = run(capsys, "adapt", made.detector, "--fake", few, "--real", real, "-o", out)
    assert (code, said) == (DataError.exit_code, "")
    assert "hint" in err


def test_a_picture_of_the_replay_buffer_with_the_other_label(made: Monday, tmp_path: Path) -> None:
    fakes = fill(tmp_path / "fakes", "smooth", 8, 2)
    shutil.copy(made.root / "pictures" / "train-3-real.png", fakes / "liar.png")
    with pytest.raises(LeakError, match=r"liar\.png is given as fake, and is real in the detector's replay buffer"):
        facetell.adapt(made.detector, tmp_path / "out", fake=fakes, real=made["real"], **PROBE)


@pytest.mark.parametrize("which", ["fake", "real"])
@pytest.mark.parametrize("groups", [1, 2])
def test_pictures_of_one_or_two_persons_alone(which: str, groups: int, made: Monday, tmp_path: Path) -> None:
    """A sub-folder is a group, and a group cannot be learned from and held out: three folds need three."""
    folder = tmp_path / which
    for group in range(groups):
        fill(folder / f"person {group}", "smooth" if which == "fake" else "real", 8, 10 + group)
    given: dict[str, Any] = {"fake": made["smooth"], "real": made["real"], which: folder}
    with pytest.raises(DataError, match="group"):
        facetell.adapt(made.detector, tmp_path / "out", **given, **PROBE)


def test_a_corrupt_file_among_them_is_left_out(made: Monday, tmp_path: Path) -> None:
    fakes = shutil.copytree(made["board"], tmp_path / "fakes")
    (fakes / "broken.png").write_bytes((fakes / "00.png").read_bytes()[:60])
    (fakes / "empty.jpg").write_bytes(b"")
    (fakes / "notes.txt").write_text("found on Monday")
    with pytest.raises(AcceptanceError) as refused:  # it knows this kind, so that there is no gain
        facetell.adapt(made.detector, tmp_path / "out", fake=fakes, real=made["real"], **PROBE)
    assert refused.value.record["new"]["counts"]["finetune"]["fake"] == {"fakes": 24}


PLACES = ("facetell.files.os.fsync", "facetell.detector.bundle.save_file", "facetell.faceset.writing.pq.ParquetWriter")
"""Where the card, the weights and the replay buffer of the new detector are written."""


def test_a_failure_while_writing_leaves_nothing(made: Monday, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was learned once is written again and again, onto a disk that is full at another place each time."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    def write_on_full_disks(*arguments: Any) -> None:
        for place in PLACES:
            with monkeypatch.context() as patch:
                patch.setattr(place, full)
                with pytest.raises((BundleError, DataError)) as caught:
                    write(*arguments)
            failed.append(str(caught.value))
            assert [path.name for path in home.iterdir()] == [".out.lock"]  # which is held until adapt is over
        raise caught.value

    write, failed, home = flow.write_adapted, list[str](), tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(flow, "write_adapted", write_on_full_disks)
    with pytest.raises((BundleError, DataError), match="space|full|written"):
        facetell.adapt(made.detector, home / "out", fake=made["smooth"], real=made["real"], seed=2, **PROBE)
    assert len(failed) == len(PLACES)
    assert all(re.search("space|full|written", said) for said in failed)
    assert list(home.iterdir()) == []
