"""Makes the pictures of `docs/gallery.md`: the pages of the demonstration's runs, as a browser shows them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageChops

from gcisg_core.files import replacing
from gcisg_suite.cli import main

CONFIG = "projects/classification/gcisg_mini.py"
RUNS, MANY = "runs/demo/classification", "runs/gallery/gcisg_mini"
BASELINE, GCISG = (f"{name}={RUNS}/{folder}/iter_210.pth" for name, folder in
                   (("baseline", "baseline_mini"), ("GCISG", "gcisg_mini")))  # fmt: skip
KEEP = ("default_hooks.checkpoint.interval=30", "default_hooks.checkpoint.max_keep_ckpts=-1")
Pages = Mapping[str, tuple[Sequence[Sequence[str]], str]]
# Picture -> the commands that write the page, and the page. The first one is there when `gcisg demo` has ended.
PAGES: Pages = {
    "demo": ((), "runs/demo/report.html"),
    "analysis": (
        (("analyze", "--config", CONFIG, "--output", "runs/gallery/analysis", "--checkpoint", BASELINE, GCISG),),
        "runs/gallery/analysis/analysis.html",
    ),
    "selection": (
        (("train", "--config", CONFIG, "--output", MANY, "--fresh", *KEEP), ("select", MANY, "--target-labels")),
        f"{MANY}/selection.html",
    ),
}
WIDTH, HEIGHT = 1000, 12000  # of the window; the empty rest below a page is cut off
COLOURS = 128
DATE = re.compile(r"<dt>Date</dt><dd>.*?</dd>")


def browser() -> str | None:
    """$CHROME, or a browser of Chromium's family on the path."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("CHROME") or next(filter(None, map(shutil.which, names)), None)


def make(folder: Path, pages: Pages | None = None) -> None:
    """Write the pages and their pictures.

    Args:
        folder: Where the pictures go.
        pages: Picture -> commands, without `gcisg`, and the page that they write; by default :data:`PAGES`.

    Raises:
        ValueError: there is no browser.
        FileNotFoundError: a page does not exist.
    """
    if not browser():
        raise ValueError("no browser was found: apt-get install chromium, or set CHROME=/its/path")
    for name, (commands, page) in (PAGES if pages is None else pages).items():
        for command in commands:
            main(command)
        if not Path(page).is_file():
            raise FileNotFoundError(f"{page}: no such file. Run gcisg demo first")
        photograph(Path(page), folder / f"{name}.png")


def photograph(page: Path, picture: Path) -> None:
    """The whole page in the light, as wide as a small window, without the date."""
    with tempfile.TemporaryDirectory() as folder:
        raw, copy = Path(folder) / "page.png", Path(folder) / "page.html"
        copy.write_text(DATE.sub("", page.read_text(encoding="utf-8")), encoding="utf-8")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"]
        size = [f"--screenshot={raw}", f"--window-size={WIDTH},{HEIGHT}"]
        command = [str(browser()), *flags, "--blink-settings=preferredColorScheme=1", *size, copy.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        with Image.open(raw) as image:
            whole = image.convert("RGB")
    paper = Image.new("RGB", whole.size, whole.getpixel((0, HEIGHT - 1)))
    _, _, _, end = ImageChops.difference(whole, paper).getbbox() or (0, 0, 0, HEIGHT)
    shown = whole.crop((0, 0, WIDTH, min(end + 20, HEIGHT))).quantize(COLOURS)
    with replacing(picture) as partial:
        shown.save(partial, format="PNG", optimize=True)
