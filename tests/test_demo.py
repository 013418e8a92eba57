"""The demo, small: it runs from nothing, says that the faces are drawn, and replaces only its own folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import facetell
from facetell.cli.main import main
from facetell.errors import UsageError


@pytest.mark.slow
def test_a_small_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FACETELL_CACHE", str(tmp_path / "cache"))
    result = facetell.demo(tmp_path / "demo", people=20, shots=6, settings={"epochs": 1}, adaptation={"epochs": 1})
    assert result.report.is_file()
    assert all(0 <= value <= 1 for value in (result.known, result.before, result.after))
    assert facetell.verify(tmp_path / "demo" / "detector").method == "fdftnet"
    assert len(facetell.FaceSet.open(tmp_path / "demo" / "upsampled")) == 20 * 4
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious.txt").write_text("keep me")
    with pytest.raises(SystemExit) as stop:
        main(["demo", "-o", str(tmp_path / "other")])
    assert stop.value.code == UsageError.exit_code
    assert "no earlier demo" in capsys.readouterr().err
    assert (tmp_path / "other" / "precious.txt").exists()
