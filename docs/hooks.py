"""Called by MkDocs: pages that lie elsewhere in the repository, links between them, and formulas without a script."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
# Page -> the file of the repository that it is.
PAGES = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "zoo.md": "MODEL_ZOO.md",
    **{f"projects/{path.parent.name}.md": str(path.relative_to(ROOT)) for path in ROOT.glob("projects/*/README.md")},
}
# The theme loads this script, which search from a disk needs, from the net; the pages have a copy.
WORKER = re.compile(r'src="https://[^"]*/iframe-worker/shim"')
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")

FORMULA = re.compile(r"^```math\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def on_config(config: Any) -> Any:
    """Add the projects that the navigation does not list."""
    (listed,) = (entry["Projects"] for entry in config.nav if "Projects" in entry)
    known = {page for entry in listed for page in entry.values()}
    new = sorted(page for page in PAGES if page.startswith("projects/") and page not in known)
    listed += [{Path(page).stem.capitalize(): page} for page in new]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are files elsewhere."""
    for page, source in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links of the repository into links of the site, and ```math blocks into MathML."""
    uri = page.file.src_uri
    if uri == "zoo.md":  # its tables need the room
        page.meta["hide"] = ["toc"]
    here = Path(PAGES.get(uri, f"docs/{uri}")).parent
    pages = {source: name for name, source in PAGES.items()}

    def link(match: re.Match[str]) -> str:
        picture, text, target, anchor = match.groups()
        path = Path(os.path.normpath(here / target)).as_posix()
        if path in pages or path.startswith("docs/"):
            goal = pages.get(path) or path.removeprefix("docs/")
            return f"{picture}[{text}]({Path(os.path.relpath(goal, Path(uri).parent)).as_posix()}{anchor or ''})"
        if (ROOT / path).exists():  # a source file, which is no page
            return text if Path(text).name in path else f"{text}: `{path}`"
        return match.group()  # MkDocs will warn

    markdown = LINK.sub(link, markdown)
    markdown = FORMULA.sub(lambda m: f'<div class="formula">{convert(m[1].strip(), display="block")}</div>', markdown)
    # In a span: a line that begins with <math> would end its paragraph.
    return re.sub(r"\$`([^`\n]+)`\$", lambda m: f"<span>{convert(m[1])}</span>", markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Take the script for the search from the pages' own folder."""
    return _own_worker(output, page.url)


def on_post_template(output: str, template_name: str, **_: Any) -> str:
    """The same for pages without a source, such as `404.html`."""
    return _own_worker(output, template_name)


def _own_worker(output: str, url: str) -> str:
    script = Path(os.path.relpath("assets/iframe_worker.js", Path(url).parent))
    return WORKER.sub(f'src="{script.as_posix()}"', output)
