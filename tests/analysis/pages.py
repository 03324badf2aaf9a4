"""Reads what an analysis wrote."""

from __future__ import annotations

import base64
import io
import json
import math
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from gcisg_suite.cli import main

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """The tables' cells and the pictures of a page, and whatever it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.titles: list[str] = []
        self.pictures: list[np.ndarray] = []
        self.external: list[str] = []
        self.tag = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tag = tag
        address = dict(attributes).get("src") or dict(attributes).get("href") or ""
        if address.startswith("data:image/png;base64,"):
            with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
                self.pictures.append(np.asarray(image.convert("RGB")))
        elif address:
            self.external.append(address)

    def handle_data(self, data):
        if data.strip() and self.tag in ("td", "th"):
            self.cells.append(data.strip())
        if data.strip() and self.tag == "h2":
            self.titles.append(data.strip())


def analyze(*arguments) -> None:
    """`gcisg analyze` with these arguments, in this process."""
    main(["analyze", *map(str, arguments)])


def read(out: Path) -> tuple[dict, Page]:
    """The file and the page, after what holds of any of them."""
    content = json.loads((out / "analysis.json").read_text(), parse_constant=refuse)
    page = Page((out / "analysis.html").read_text())
    assert not page.external
    assert all(len(np.unique(picture[..., 0])) > 20 for picture in page.pictures)  # none is empty
    assert not list(out.glob("*.partial*"))
    for checkpoint in content["checkpoints"]:
        for name, value in checkpoint["metrics"].items():
            assert isinstance(value, str) or math.isfinite(value), name
    return content, page


def below_failures(monkeypatch) -> list[str]:
    """A list that gets what stands below each failure of the pages that are made from now on."""
    from gcisg_suite.analysis import analyze as module

    found: list[str] = []
    draw = module.failures_figure

    def failures_figure(*arguments):
        figure = draw(*arguments)
        found.extend(filter(None, (axis.get_xlabel() for axis in figure.axes)))
        return figure

    monkeypatch.setattr(module, "failures_figure", failures_figure)
    return found


def refuse(constant):
    raise AssertionError(f"{constant} is not valid JSON")
