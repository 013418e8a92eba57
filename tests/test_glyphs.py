"""Names in any script in plots: drawn or escaped, never a box, never a warning."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("matplotlib")

from facetell.reporting.plots import label_axes, new_figure, save_figure


def test_signs_that_no_font_has_are_escaped(tmp_path: Path) -> None:
    """Warnings are errors in these tests, and matplotlib warns of each sign that it has no glyph for."""
    figure = new_figure(3.0)
    axes = figure.add_subplot()
    label_axes(axes, "\u6771\u4eac \U0001f468 \u0645\u06cc caf\u00e9 \U0010fffd", "time in s", "plain")
    axes.plot([0, 1], [0, 1], label="\U0010fffd")
    axes.set_yticks([0, 1], ["\u6771\U0010fffd", "b"])
    axes.legend()
    save_figure(figure, tmp_path / "plot.png")
    assert "caf\u00e9 \\U0010fffd" in axes.get_title(loc="left")
    assert axes.get_yticklabels()[0].get_text().endswith("\\U0010fffd")
    assert axes.get_legend().get_texts()[0].get_text() == "\\U0010fffd"
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.format == "PNG"
