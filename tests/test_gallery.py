"""The gallery: its pictures are those of the command, which photographs whole pages."""

from pathlib import Path

import pytest
from PIL import Image

from gcisg_suite import gallery
from gcisg_suite.cli import app
from tests.documents import ROOT

PAGE = """<body style="margin: 0; background: white"><dl style="margin: 0"><dt>Date</dt><dd>today</dd></dl>
<div style="height: 700px; background: #123456"></div></body>"""


def test_the_page_shows_each_picture_and_says_which_command_wrote_it():
    text = (ROOT / "docs/gallery.md").read_text()
    assert {path.stem for path in (ROOT / "docs/gallery").iterdir()} == gallery.PAGES.keys()
    for name, (commands, _) in gallery.PAGES.items():
        assert f"](gallery/{name}.png)" in text
        assert all(f"`gcisg {command[0]}`" in text for command in commands)


@pytest.mark.parametrize("command", [command for commands, _ in gallery.PAGES.values() for command in commands])
def test_each_command_is_one_of_gcisg(command):
    function, bound, _ = app.parse_args([*command], exit_on_error=False, print_error=False)
    assert function.__name__ == command[0]
    assert bound.arguments


@pytest.mark.browser
def test_a_picture_is_as_long_as_its_page(tmp_path):
    (tmp_path / "a page.html").write_text(PAGE)
    gallery.make(tmp_path / "pictures", {"one": ((), str(tmp_path / "a page.html"))})
    with Image.open(tmp_path / "pictures/one.png") as picture:
        assert picture.size == (gallery.WIDTH, 720)
        assert picture.convert("RGB").getpixel((500, 300)) == (0x12, 0x34, 0x56)
    with pytest.raises(FileNotFoundError, match="Run gcisg demo first"):
        gallery.make(tmp_path, {"one": ((), str(tmp_path / "none.html"))})


def test_without_a_browser_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(gallery, "browser", lambda: None)
    with pytest.raises(ValueError, match="apt-get install chromium"):
        gallery.make(Path("anywhere"))
