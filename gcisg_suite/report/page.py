"""One self-contained HTML page of what was trained or evaluated: no external resource is needed to read it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from gcisg_core.files import write_text


@dataclass
class Picture:
    """A figure and the sentence below it; a ``chart`` has no photographs, so it may turn dark with the page."""

    figure: Figure
    caption: str
    chart: bool = False

    @property
    def source(self) -> str:
        """The picture as a `data:` address."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", transparent=self.chart)
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
        settings: Rows of the settings' table: a name, then the setting of each method, in the order of ``configs``.
        configs: Method -> the text of its config.
    """

    title: str
    text: Sequence[str]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    pictures: Sequence[Picture] = field(default_factory=list)
    commands: Sequence[str] = field(default_factory=list)
    settings: Sequence[Sequence[str]] = field(default_factory=list)
    configs: Mapping[str, str] = field(default_factory=dict)


def compare(
    results: Mapping[str, Mapping[str, float]], metrics: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a table: a row a metric, a column a method, and beside each but the first its gain over that.

    Args:
        results: Method -> metric -> number.
        metrics: Metric -> how it is called.
    """
    first, *others = results
    columns = ["metric", first]
    for name in others:
        columns += [name, "gain" if len(others) == 1 else f"gain of {name}"]
    rows = []
    for key, label in metrics.items():
        row = [label, f"{results[first][key]:.2f}"]
        for name in others:
            row += [f"{results[name][key]:.2f}", f"{results[name][key] - results[first][key]:+.2f}"]
        rows.append(row)
    return columns, rows


def write_report(path: Path, title: str, sections: Sequence[Section]) -> Path:
    """Write the page; returns its path."""
    return write_text(path, _PAGE.render(title=title, sections=sections))


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
p, figcaption { overflow-wrap: anywhere; }
summary { cursor: pointer; margin: 1rem 0 .5rem; }
.settings td, .settings th { text-align: left; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  th, td { padding: .3rem; font-size: .85rem; overflow-wrap: anywhere; }
  figure img { max-width: none; width: 42rem; }
}
@media (prefers-color-scheme: dark) {
  figure img.chart { background: none; filter: invert(1) hue-rotate(180deg); }
}
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
<div class="scroll">
<img{% if picture.chart %} class="chart"{% endif %} src="{{ picture.source }}" alt="{{ picture.caption }}">
</div>
<figcaption>{{ picture.caption }}</figcaption>
</figure>
{% endfor %}
{% if section.settings %}
<details open><summary>Settings</summary>
<div class="scroll"><table class="settings">
<thead><tr><th></th>{% for name in section.configs %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in section.settings %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table></div></details>
{% endif %}
{% for name, text in section.configs.items() %}
<details><summary>Whole config of {{ name }}</summary><code>{{ text }}</code></details>
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
