"""The site of the documents: built strictly, complete, and readable without a network."""

import html.parser
import re
import runpy
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.documents import ROOT

LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}


class Resources(html.parser.HTMLParser):
    """The addresses of what a page loads by itself."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag in LOADS and attributes.get("rel") != "canonical" and attributes.get(LOADS[tag]):
            self.found.append(attributes[LOADS[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    goal = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(goal)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return goal


def test_nothing_is_fetched_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        for address in Resources(page.read_text()).found:
            assert not address.startswith(("http:", "https:", "//")), (page, address)
            if not address.startswith(("data:", "/")):
                assert (page.parent / address.partition("#")[0].partition("?")[0]).exists(), (page, address)


def test_formulas_and_docstrings_are_in_the_pages(site):
    method = (site / "method.html").read_text()
    assert method.count('display="block"') == 6
    assert "```" not in method
    whitening = (site / "methods/isw.html").read_text()  # a line of its paragraph begins with a formula
    assert re.search(r"<p><span><math[^\n]*</math></span> is the covariance", whitening)
    losses = (site / "api/losses.html").read_text()
    assert "causal_invariance_loss" in losses
    assert "self_attention_pool" in losses
    assert "Eq. 6 and 7" in losses


def test_the_repositorys_own_files_are_pages(site):
    assert "miniature" in (site / "index.html").read_text()
    assert 'href="projects/segmentation.html"' in (site / "index.html").read_text()
    assert 'href="../methods.html"' in (site / "projects/segmentation.html").read_text()


def test_a_project_that_the_navigation_does_not_list_is_added():
    hooks = runpy.run_path(str(ROOT / "docs/hooks.py"))
    page = {"Classification": "projects/classification.md"}
    config = SimpleNamespace(nav=[{"Home": "index.md"}, {"Projects": [page]}, "start.md"])
    assert hooks["on_config"](config).nav[1]["Projects"] == [
        page, {"Detection": "projects/detection.md"}, {"Segmentation": "projects/segmentation.md"},
    ]  # fmt: skip
