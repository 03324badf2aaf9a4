"""One self-contained HTML page of what was trained or measured: no external resource is needed to read it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from matplotlib.figure import Figure


@dataclass
class Picture:
    """A figure and the sentence below it."""

    figure: Figure
    caption: str

    @property
    def source(self) -> str:
        """The picture as a `data:` address."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@dataclass
class Section:
    """A part of a report.

    Attributes:
        title: The task, or what is shown.
        text: What was done, a paragraph each.
        columns: Heads of the table; the first column holds the names of the rows.
        rows: Its rows, as text; none for no table.
        pictures: Figures, in order.
        commands: How to repeat it.
    """

    title: str
    text: Sequence[str]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    pictures: Sequence[Picture] = field(default_factory=list)
    commands: Sequence[str] = field(default_factory=list)


def compare(
    results: Mapping[str, Mapping[str, float]], measures: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a table: a row a method, then the last method's gain over the first.

    Args:
        results: Method -> measure -> number.
        measures: Measure -> its column's head.
    """
    first, *_, last = results.values()
    rows = [[name, *(f"{result[key]:.2f}" for key in measures)] for name, result in results.items()]
    gain = ["gain", *(f"{last[key] - first[key]:+.2f}" for key in measures)]
    return ["method", *measures.values()], [*rows, gain]


def write_report(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write the page under a temporary name and rename it; returns its path."""
    page = _PAGE.render(title=title, sections=sections)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(page, encoding="utf-8")
    return temporary.replace(path)


_PAGE = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --line: #8886; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1, h2 { line-height: 1.2; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.5rem 0; }
figure img { max-width: 100%; background: white; border-radius: .4rem; }
figcaption { font-size: .9rem; opacity: .85; }
code { display: block; overflow-x: auto; white-space: pre; padding: .4rem .6rem; border: 1px solid var(--line); }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% for section in sections %}
<section>
<h2>{{ section.title }}</h2>
{% for paragraph in section.text %}
<p>{{ paragraph }}</p>
{% endfor %}
{% if section.rows %}
<div class="scroll"><table>
<thead><tr>{% for column in section.columns %}<th>{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in section.rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table></div>
{% endif %}
{% for picture in section.pictures %}
<figure>
<img src="{{ picture.source }}" alt="{{ picture.caption }}">
<figcaption>{{ picture.caption }}</figcaption>
</figure>
{% endfor %}
{% if section.commands %}
<p>To repeat it:</p>
{% for command in section.commands %}
<code>{{ command }}</code>
{% endfor %}
{% endif %}
</section>
{% endfor %}
</body>
</html>
""")
