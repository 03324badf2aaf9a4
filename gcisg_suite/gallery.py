"""Makes the pictures of `docs/gallery.md`: the pages of the demonstration's runs, as a browser shows them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageChops

from gcisg_core.files import replacing
from gcisg_suite.cli import main

RUNS = "runs/demo/classification"
BASELINE, GCISG = f"{RUNS}/baseline_mini", f"{RUNS}/gcisg_mini"
CONFIG = "projects/classification/gcisg_mini.py"
# Picture -> the command that writes the page, and the page. The first one is there when `gcisg demo` has ended.
PAGES: Mapping[str, tuple[Sequence[str], str]] = {
    "demo": ((), "runs/demo/report.html"),
    "report": (
        ("report", BASELINE, GCISG, "--names", "baseline", "GCISG", "--output", "runs/gallery/report.html"),
        "runs/gallery/report.html",
    ),
    "analysis": (
        ("analyze", "--config", CONFIG, "--output", "runs/gallery/analysis", "--checkpoint",
         f"baseline={BASELINE}/iter_300.pth", f"GCISG={GCISG}/iter_300.pth"),
        "runs/gallery/analysis/analysis.html",
    ),
    "selection": (("select", GCISG, "--target-labels"), f"{GCISG}/selection.html"),
}  # fmt: skip
WIDTH, HEIGHT = 1000, 12000  # of the window; the empty rest below a page is cut off
COLOURS = 128


def browser() -> str | None:
    """$CHROME, or a browser of Chromium's family on the path."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("CHROME") or next(filter(None, map(shutil.which, names)), None)


def make(folder: Path, pages: Mapping[str, tuple[Sequence[str], str]] = PAGES) -> None:
    """Write the pages and their pictures.

    Args:
        folder: Where the pictures go.
        pages: Picture -> command, without `gcisg`, and the page that it writes.

    Raises:
        ValueError: there is no browser.
        FileNotFoundError: a page does not exist.
    """
    if not browser():
        raise ValueError("no browser was found: apt-get install chromium, or set CHROME=/its/path")
    for name, (command, page) in pages.items():
        if command:
            main(command)
        if not Path(page).is_file():
            raise FileNotFoundError(f"{page}: no such file. Run gcisg demo first")
        photograph(Path(page), folder / f"{name}.png")


def photograph(page: Path, picture: Path) -> None:
    """The whole page in the light, as wide as a small window."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "page.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"]
        size = [f"--screenshot={raw}", f"--window-size={WIDTH},{HEIGHT}"]
        command = [str(browser()), *flags, "--blink-settings=preferredColorScheme=1", *size, page.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        with Image.open(raw) as image:
            whole = image.convert("RGB")
    paper = Image.new("RGB", whole.size, whole.getpixel((0, HEIGHT - 1)))
    _, _, _, end = ImageChops.difference(whole, paper).getbbox() or (0, 0, 0, HEIGHT)
    shown = whole.crop((0, 0, WIDTH, min(end + 20, HEIGHT))).quantize(COLOURS)
    with replacing(picture) as partial:
        shown.save(partial, format="PNG", optimize=True)
