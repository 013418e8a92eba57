"""The HTML page: whole in one file, inert, and drawn by a browser without complaint."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import facetell
from facetell.errors import DataError, UsageError
from facetell.faceset.table import FaceSet
from facetell.reporting.html import Card, Section, evaluation_cards, html_page
from facetell.reporting.pictures import MAPPED_SIDE, face_with_map

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
EVIL = "<script>alert(1)</script>"
PAGE = f"""# A result

**It works {EVIL}.**

## Numbers

| name | value |
| --- | ---: |
| {EVIL.replace("<", "&lt;")} | 3 |

![plot](plot.png) ![gone](gone.png) ![out](../secret.png) ![net](https://example.org/x.png)
"""


class Reader(HTMLParser):
    """Tags with their attributes, and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said += data


@pytest.fixture
def section(tmp_path: Path) -> Section:
    folder = tmp_path / "result"
    folder.mkdir()
    Image.new("RGB", (8, 8), "red").save(folder / "plot.png")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "secret.png")
    return Section(PAGE, folder, [Card("0.9", "AUROC <b>", "sure")])


def test_a_page_is_inert_and_holds_its_pictures(section: Section) -> None:
    read = Reader(html_page([section], f"Title {EVIL}"))
    names = [tag for tag, _ in read.tags]
    assert "script" not in names
    assert "iframe" not in names
    assert names.count("b") == 1  # the card's number; the <b> in its title is text
    assert EVIL in read.said
    sources = [given["src"] for tag, given in read.tags if tag == "img"]
    assert str(sources[0]).startswith("data:image/png;base64,")
    assert sources[1:] == ["data:,"] * 3
    addresses = [value for _, given in read.tags for key, value in given.items() if key in ("src", "href")]
    assert all(str(value).startswith(("data:", "#")) for value in addresses)
    policy = next(given["content"] for tag, given in read.tags if given.get("http-equiv"))
    assert str(policy).startswith("default-src 'none'")


def test_the_conclusion_stands_on_top_and_headings_nest(section: Section) -> None:
    one, two = html_page([section], "T"), html_page([section, section], "T")
    assert one.index("It works") < one.index("<main>") < one.index("<h2>Numbers")
    assert one.count("It works") == 1
    assert two.count("It works") == 2
    assert "<h3>Numbers" in two
    assert [given["href"] for tag, given in Reader(two).tags if tag == "a"] == ["#part-1", "#part-2"]
    assert 'id="part-2"' in two


def test_a_mistakes_picture_shows_where() -> None:
    face = np.full((40, 40, 3), 128, np.uint8)
    assert face_with_map(face, None).size == (MAPPED_SIDE, MAPPED_SIDE)
    heat = np.zeros((5, 5), np.float32)
    heat[2, 1], heat[2, 3] = 2.0, -2.0
    picture = np.asarray(face_with_map(face, heat)).astype(int)
    assert picture.shape == (MAPPED_SIDE, 2 * MAPPED_SIDE + 4, 3)
    left, right = (picture[MAPPED_SIDE // 2, MAPPED_SIDE + 4 + int(MAPPED_SIDE * x)] for x in (0.3, 0.7))
    assert left[0] > left[2] + 50  # red, for fake
    assert right[2] > right[0] + 50  # blue, for real


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, fitted: Path, faces: FaceSet) -> list[Path]:
    root = tmp_path_factory.mktemp("html")
    for name, seed in (("one", 0), ("two", 1)):
        facetell.evaluate(fitted, faces.path, root / name, seed=seed, device="cpu")
    facetell.compare([root / "one", root / "two"], root / "comparison")
    return [root / "one", root / "comparison"]


@pytest.mark.slow
def test_evaluate_and_report_write_pages(folders: list[Path], fitted: Path, faces: FaceSet, tmp_path: Path) -> None:
    page = (folders[0] / "report.html").read_text()
    read = Reader(page)
    pictures = sum(tag == "img" for tag, _ in read.tags)
    mistakes = len(list((folders[0] / "mistakes").glob("*.jpg")))
    assert mistakes > 0
    assert pictures == mistakes + len(list((folders[0] / "plots").glob("*.png")))
    assert "fakes found" in read.said
    out = facetell.report(folders, tmp_path / "all.html", title="November")
    assert out.read_text().count("<h2 id=") == 2
    facetell.evaluate(fitted, faces.path, folders[0], device="cpu")  # again


def test_cards_are_the_reports_numbers(folders: list[Path]) -> None:
    import json

    report = json.loads((folders[0] / "report.json").read_text())
    cards = {card.what: card.value for card in evaluation_cards(report)}
    assert cards["AUROC"] == f"{report['metrics']['auroc']['value']:.3f}"
    assert cards["fakes found"] == f"{report['metrics']['recall']['value']:.1%}"
    assert cards["faces"] == "24"


def test_what_is_no_result_is_refused(tmp_path: Path, folders: list[Path]) -> None:
    with pytest.raises(DataError, match="no result"):
        facetell.report([tmp_path], tmp_path / "x.html")
    with pytest.raises(UsageError, match="no result"):
        facetell.report([], tmp_path / "x.html")
    with pytest.raises(UsageError, match=r"\.html"):
        facetell.report(folders, tmp_path / "x.pdf")
    assert not list(tmp_path.glob("*x.*"))


def wider(page: Path, width: int) -> int:
    """By how many pixels a page is wider than the window, told by a script in a copy that may run one."""
    assert BROWSER
    open_to_scripts = re.sub(r"<meta http-equiv=[^>]*>", "", page.read_text())
    script = (
        "<script>const e=document.documentElement;document.title=`wider by ${e.scrollWidth-e.clientWidth}.`</script>"
    )
    copy = page.with_name("measured.html")
    copy.write_text(open_to_scripts.replace("</body>", f"{script}</body>"))
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / 'profile'}",
        f"--window-size={width},1600", "--dump-dom", copy.as_uri(),
    ]  # fmt: skip
    drawn = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return int(re.findall(r"<title>wider by (-?\d+)\.", drawn)[0])


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_page_is_no_wider_than_the_window(tmp_path: Path) -> None:
    name, page = "x" * 150, tmp_path / "page.html"
    row = "|".join(["0.912 (0.890 to 0.931)"] * 12)
    table = f"|{'|'.join(['a'] * 12)}|\n|{'---:|' * 12}\n|{row}|\n"
    text = f"# Title\n\nIn short.\n\n## {name}\n\n- {name}\n\n{table}"
    page.write_text(html_page([Section(text, tmp_path)], "T"))
    assert wider(page, 900) == 0, "a wide table is moved in its own place"


def complaints(path: Path, width: int, picture: Path) -> list[str]:
    """What a browser writes to its console while it draws a page."""
    assert BROWSER
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr",
        f"--user-data-dir={picture.parent / 'profile'}", f"--window-size={width},1600", f"--screenshot={picture}",
        path.as_uri(),
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return re.findall(r"CONSOLE.*", ran.stderr)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_browser_draws_it_without_complaint(folders: list[Path], tmp_path: Path) -> None:
    page = facetell.report(folders, tmp_path / "all.html")
    for width in (1200, 500):
        assert complaints(page, width, tmp_path / f"{width}.png") == []
        with Image.open(tmp_path / f"{width}.png") as drawn:
            assert drawn.width == width
            assert len(set(drawn.convert("L").resize((40, 40)).get_flattened_data())) > 10  # it is no empty page
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text().replace("<main>", '<main><img src="https://example.org/x.png">'))
    assert complaints(broken, 500, tmp_path / "broken.png")  # so silence means something
