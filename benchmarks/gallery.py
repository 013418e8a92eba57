"""Makes the pictures of docs/gallery.md: ``python benchmarks/gallery.py WORK docs/gallery``.

WORK is a folder for what the verbs write; what is there already is not made again. All faces are drawn: `facetell demo` draws
them and fits its two detectors, the other verbs follow, and a headless Chromium takes the pictures, those of the server's pages
in light and dark. Some ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

import facetell
from facetell.api._demo import KNOWN, NEW
from facetell.drawn.folder import write_drawn_faces

WIDTH, HEIGHT = 900, 1100
"""Of a screen in CSS pixels. A picture shows the begin of a page that is longer, or what comes from a heading on."""
FORGED = "fake/00004-blended-0.jpg"
BEGIN = {"explain": "Sources", "mistakes": "Worst mistakes"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    work: Path = asked.work
    if not (work / "demo").is_dir():
        facetell.demo(work / "demo", people=200, shots=60)
    pages = written(work)
    asked.out.mkdir(parents=True, exist_ok=True)
    scene = crowd(work / "crowd.jpg")
    for verdict in facetell.detect(work / "demo" / "detector", [scene], faces="find", annotate=work / "boxes"):
        save(Image.open(work / "boxes" / verdict.pictures[0]), asked.out / "boxes.webp")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, page in pages.items():
            shoot(browser, page.resolve().as_uri(), asked.out / f"{name}.webp", begin=BEGIN.get(name))
        with served(work) as address:
            for scheme in ("light", "dark"):
                judge(browser, address, work / "crowd" / FORGED, asked.out / f"serve-{scheme}.webp", scheme)
            send_faces(browser, address, sorted((work / "monday").iterdir())[::10][:16])
            for scheme in ("light", "dark"):
                shoot(browser, f"{address}/review", asked.out / f"review-{scheme}.webp", scheme)
        browser.close()
    print(f"{sum(file.stat().st_size for file in asked.out.iterdir()) / 1e6:.2f} MB")


def written(work: Path) -> dict[str, Path]:
    """What the verbs make of the demo, a page each."""
    demo = work / "demo"
    detector, faces = demo / "detector", demo / "blended"
    made = {
        "watch": lambda out: facetell.watch(demo / "baseline", traffic(work), out),
        "audit": lambda out: facetell.audit(faces, out, detector=detector),
        "stress": lambda out: facetell.stress(detector, faces, out),
        "compare": lambda out: facetell.compare([demo / "report-before", demo / "report-after"], out),
        "explain": lambda out: facetell.explain(detector, faces, out, limit=4, sanity=4),
    }
    pages = {"evaluate": demo / "report-after" / "report.html"}
    for name, make in made.items():
        if not (work / name).is_dir():
            make(work / name)
        pages[name] = work / f"{name}.html"
        facetell.report([work / name], pages[name])
    return pages | {"mistakes": pages["evaluate"]}


def traffic(work: Path) -> list[Path]:
    """Verdicts of three days, on the last of which another kind of forgery comes."""
    strangers = write_drawn_faces(work / "strangers", people=100, seed=7, size=64)
    for day, (kind, photo) in {"saturday": (KNOWN, 0), "sunday": (KNOWN, 1), "monday": (NEW, 0)}.items():
        (work / day).mkdir()
        for source in ("drawn", kind):
            for file in strangers.glob(f"*/*-{source}-{photo}.jpg"):
                (work / day / file.name).symlink_to(file.resolve())
        words = (work / "demo" / "baseline", work / day, "--faces", "crops", "-o", work / f"{day}.jsonl")
        subprocess.run([sys.executable, "-m", "facetell", "detect", *map(str, words)], check=True)
    return [work / f"{day}.jsonl" for day in ("saturday", "sunday", "monday")]


def crowd(path: Path) -> Path:
    """A picture of three drawn people, a blended one among them."""
    folder = path.with_suffix("")
    if not folder.is_dir():
        write_drawn_faces(folder, people=14, seed=3, size=224, kinds=["blended"])
    names = ("real/00001-drawn-0.jpg", "real/00008-drawn-1.jpg", FORGED)
    rng = np.random.default_rng(0)
    back = Image.fromarray(rng.integers(120, 200, (4, 8, 3), dtype=np.uint8)).resize(
        (900, 360), Image.Resampling.BICUBIC
    )
    for place, name in enumerate(names):
        back.paste(Image.open(folder / name), (56 + 282 * place, 68))
    back.save(path, quality=92)
    return path


@contextlib.contextmanager
def served(work: Path) -> Iterator[str]:
    """The address of a server with a store."""
    for old in work.glob("verdicts.db*"):
        old.unlink()
    command = [sys.executable, "-m", "facetell", "serve", str(work / "demo" / "detector"), "--port", "0", "--workers", "1",
               "--store", str(work / "verdicts.db"), "--keep-crops", "30"]  # fmt: skip
    with (work / "log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            address = None
            while address is None and process.poll() is None:
                time.sleep(0.2)
                for line in (work / "log").read_text("utf-8").splitlines():
                    address = json.loads(line).get("address", address) if line.startswith("{") else address
            if address is None:
                sys.exit((work / "log").read_text("utf-8"))
            yield address
        finally:
            process.terminate()


def judge(browser: Browser, address: str, picture: Path, out: Path, scheme: str) -> None:
    """Show the server's page with the verdict on one picture."""
    page = opened(browser, address, scheme)
    page.set_input_files("#file", [picture])
    page.click("form button")
    page.wait_for_selector("article[data-state=done]", timeout=120_000)
    page.wait_for_timeout(8_000)  # the map comes later
    save(Image.open(io.BytesIO(page.locator("article").first.screenshot())), out)
    page.close()


def send_faces(browser: Browser, address: str, files: list[Path]) -> None:
    """Give the server something to review."""
    page = opened(browser, address, "light")
    page.set_input_files("#file", files)
    page.click("form button")
    page.locator("article[data-state=done]").nth(len(files) - 1).wait_for(timeout=300_000)
    page.close()


def shoot(browser: Browser, address: str, out: Path, scheme: str = "light", begin: str | None = None) -> None:
    """Take a screen of a page, from its top or from a heading on."""
    page = opened(browser, address, scheme)
    top = page.get_by_role("heading", name=begin, exact=True).bounding_box()["y"] - 20 if begin else 0
    height = min(HEIGHT, page.evaluate("document.documentElement.scrollHeight") - top)
    clip = {"x": 0, "y": top, "width": WIDTH, "height": height}
    save(Image.open(io.BytesIO(page.screenshot(clip=clip, full_page=True))), out)
    page.close()


def opened(browser: Browser, address: str, scheme: str) -> Any:
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(address)
    return page


def save(picture: Image.Image, out: Path) -> None:
    picture.convert("RGB").save(out, "WEBP", quality=80, method=6)


if __name__ == "__main__":
    main()
