"""Signatures of detectors, by a key of one's own; another program that knows the format accepts and refuses the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

import facetell
from facetell.cli.main import main
from facetell.errors import BundleError, MissingExtraError, UsageError
from facetell.faceset.table import FaceSet


def pair(folder: Path, name: str, private: Any, password: bytes | None = None) -> tuple[Path, Path]:
    """The files of a private key and its public one."""
    closed = BestAvailableEncryption(password) if password else NoEncryption()
    files = folder / f"{name}.pem", folder / f"{name}-public.pem"
    files[0].write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, closed))
    files[1].write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return files


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return pair(tmp_path, "mine", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def signed(fitted: Path, tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    shutil.copytree(fitted, tmp_path / "signed")
    facetell.sign(tmp_path / "signed", keys[0])
    return tmp_path / "signed"


def test_a_signed_detector_is_what_its_maker_made(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    found = facetell.verify(signed, key=keys[1])
    assert found.signed == facetell.sign(signed, keys[0])
    assert facetell.verify(signed).signed is None
    (signed / "README.md").write_text("my own words")  # the card is free to edit
    signed.rename(tmp_path / "another-name")
    assert facetell.verify(tmp_path / "another-name", key=keys[1]).signed == found.signed


def test_another_program_agrees(signed: Path, keys: tuple[Path, Path]) -> None:
    def verify() -> int:
        words = ["verify", "key", signed, "--signature", signed / "model.sig", "--public_key", keys[1]]
        done = subprocess.run([sys.executable, "-m", "model_signing", *words], capture_output=True, text=True)
        return done.returncode

    assert verify() == 0
    (signed / "training.csv").write_text("other\n")
    assert verify() != 0


@pytest.mark.parametrize("name", ["weights.safetensors", "detector.json", "training.csv", "model.onnx"])
def test_a_file_that_was_changed_is_named(signed: Path, keys: tuple[Path, Path], name: str) -> None:
    """Also where the description was made to fit, so that the hashes that a detector carries itself do not tell."""
    with (signed / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(BundleError, match=f"is not what was signed: Hash mismatch for '{name}'$"):
        facetell.verify(signed, key=keys[1])


def test_a_file_that_came_or_went_is_named(signed: Path, keys: tuple[Path, Path]) -> None:
    (signed / "more.safetensors").write_bytes(b"")
    (signed / "training.csv").unlink()
    with pytest.raises(BundleError, match=r"Extra files .*more\.safetensors; Missing files .*training\.csv"):
        facetell.verify(signed, key=keys[1])


def test_another_key_and_no_signature_and_a_forged_one_are_refused(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    _, other = pair(tmp_path, "other", ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(BundleError, match="signed with another key than"):
        facetell.verify(signed, key=other)
    bundle = json.loads((signed / "model.sig").read_text())
    forged = bundle["dsseEnvelope"]["signatures"][0]["sig"]
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = forged[:20] + ("A" if forged[20] != "A" else "B") + forged[21:]
    (signed / "model.sig").write_text(json.dumps(bundle))
    with pytest.raises(BundleError, match="was not made with the key"):
        facetell.verify(signed, key=keys[1])
    for content in ("", "{}", "[]", "not JSON", '{"dsseEnvelope": 1}'):
        (signed / "model.sig").write_text(content)
        with pytest.raises(BundleError, match=r"model\.sig cannot be read"):
            facetell.verify(signed, key=keys[1])
    (signed / "model.sig").unlink()
    with pytest.raises(BundleError, match=r"is not signed: it has no model\.sig"):
        facetell.verify(signed, key=keys[1])


def test_another_operating_point_breaks_the_signature_until_it_is_signed_again(
    signed: Path, keys: tuple[Path, Path], faces: FaceSet
) -> None:
    facetell.threshold(signed, faces, at="recall=0.9", name="ours")
    with pytest.raises(BundleError, match=r"detector\.json"):
        facetell.verify(signed, key=keys[1])
    facetell.sign(signed, keys[0])
    assert facetell.verify(signed, key=keys[1]).signed


def test_keys_of_other_kinds_are_refused_with_the_next_step(
    fitted: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(fitted, tmp_path / "mine")
    private, _ = pair(tmp_path, "rsa", rsa.generate_private_key(65537, 2048))
    (tmp_path / "empty.pem").touch()
    for key in (private, keys[1], tmp_path / "empty.pem", tmp_path / "nothing.pem", tmp_path):
        with pytest.raises(UsageError) as error:
            facetell.sign(tmp_path / "mine", key)
        assert "openssl" in (error.value.hint or "")
    for key in (keys[0], tmp_path / "rsa-public.pem", tmp_path / "nothing.pem"):
        with pytest.raises(UsageError) as error:
            facetell.verify(tmp_path / "mine", key=key)
        assert "give the public key of who signed it" in (error.value.hint or "")
        assert "attribute" not in str(error.value)
    closed, _ = pair(tmp_path, "closed", ec.generate_private_key(ec.SECP256R1()), b"secret")
    for key, password, said in (
        (closed, None, "closed.pem needs its password"),
        (closed, "wrong", "the password does not open"),
        (keys[0], "secret", "mine.pem needs none"),
    ):
        with pytest.raises(UsageError, match=said) as error:
            facetell.sign(tmp_path / "mine", key, password=password)
        assert "FACETELL_KEY_PASSWORD" in (error.value.hint or "")
    assert not (tmp_path / "mine" / "model.sig").exists()


def test_the_command(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*words: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out + said.err

    mine = shutil.copytree(fitted, tmp_path / "mine")
    private, public = pair(tmp_path, "closed", ec.generate_private_key(ec.SECP521R1()), b"sesame")
    code, said = run("sign", mine, "--key", private)
    assert code == 2
    assert "needs its password" in said
    monkeypatch.setenv("FACETELL_KEY_PASSWORD", "sesame")
    code, said = run("sign", mine, "--key", private)
    assert code == 0
    name = said.split()[-1]
    code, said = run("verify", mine, "--key", public)
    assert (code, f"signed with {name}" in said) == (0, True)
    (mine / "model.sig").unlink()
    assert run("verify", mine, "--key", public)[0] == 4
    assert run("sign", "starter", "--key", private)[0] == 2


def test_without_the_package_it_is_said(signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    for act in (lambda: facetell.sign(signed, keys[0]), lambda: facetell.verify(signed, key=keys[1])):
        with pytest.raises(MissingExtraError) as error:
            act()
        assert error.value.hint == "pip install 'facetell[sign]'"
