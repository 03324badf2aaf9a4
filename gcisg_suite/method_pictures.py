"""Draws `docs/methods/*.svg`: the networks of a method, their stages, and what its losses compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

from gcisg_core.files import write_text
from gcisg_core.mixstyle import MixStyle
from gcisg_core.regularizers.asg import ASGSettings
from gcisg_core.regularizers.csg import CSGSettings
from gcisg_core.regularizers.drpc import DRPCSettings
from gcisg_core.regularizers.feature_l2 import FeatureL2Settings
from gcisg_core.regularizers.gcisg import GCISGSettings
from gcisg_core.regularizers.guided import GuidedSettings
from gcisg_core.regularizers.isw import ISWSettings

STAGES = ("stem", "1", "2", "3", "4")
STYLE = """\
:root {
  --ink: #1f2328; --soft: #59636e; --line: #8c959f; --box: #f6f8fa;
  --trained: #dafbe1; --green: #1a7f37; --blue: #0969da; --red: #bc4c00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6edf3; --soft: #9198a1; --line: #6e7681; --box: #21262d;
    --trained: #12331d; --green: #3fb950; --blue: #58a6ff; --red: #f0883e;
  }
}
text { fill: var(--ink); }
.small { font-size: 12px; fill: var(--soft); }
.mid { text-anchor: middle; }
rect { fill: var(--box); stroke: var(--line); }
.trained { fill: var(--trained); stroke: var(--green); }
.flow { stroke: var(--line); }
.a { stroke: var(--blue); stroke-width: 3; fill: none; }
.b { stroke: var(--red); stroke-width: 3; fill: none; stroke-dasharray: 5 3; }
text.a { fill: var(--blue); stroke: none; }
text.b { fill: var(--red); stroke: none; }
"""


class Network(NamedTuple):
    """A row of the picture: what runs, on what, and whether its weights learn from this pass."""

    name: str
    input: str
    trained: bool = False
    end: str = ""


class Link(NamedTuple):
    """What a loss compares: two neighbouring rows, or marks in one, at some stages."""

    upper: int
    lower: int
    stages: Sequence[int]
    label: str


class Picture(NamedTuple):
    """A method."""

    title: str
    networks: Sequence[Network]
    links: Sequence[Link]


TASK = Network("student", "view 1", True, "task head, task loss")
REFERENCE = Network("pretrained, frozen", "view 1")
ALL = range(len(STAGES))


def pictures() -> Mapping[str, Picture]:
    """Page -> picture; the stages are those of the settings' defaults."""
    guidance = Link(0, 1, GCISGSettings.stages_guidance, "guidance")
    momentum = Network("momentum encoder", "view 2", end="queue")
    invariance = [momentum, Network("student", "view 2", True), momentum._replace(input="view 1")]
    return {
        "none": Picture("Plain fine-tuning", [TASK], []),
        "oracle": Picture("Only the head is trained", [TASK._replace(name="pretrained, frozen", trained=False)], []),
        "weight_l2": Picture("All weights are compared", [Network("pretrained, frozen", "not run"), TASK],
                             [Link(0, 1, ALL, "distance of the weights")]),
        "si": Picture("All weights are compared", [Network("pretrained, frozen", "not run"), TASK],
                      [Link(0, 1, ALL, "weighted distance")]),
        "feature_l2": Picture("The features of one view are compared", [REFERENCE, TASK],
                              [Link(0, 1, FeatureL2Settings.stages, "distance of the features")]),
        "asg": Picture("The predictions of the pretrained classifier are compared",
                       [REFERENCE._replace(end="ImageNet's classifier"), TASK],
                       [Link(0, 1, (ASGSettings.stage,), "KL divergence")]),
        "csg": Picture("Pull to the pretrained network, push other images apart",
                       [TASK, Network("pretrained, frozen", "view 2", end="queue"),
                        Network("student", "view 2, no gradient")],
                       [Link(0, 1, CSGSettings.stages, "InfoNCE"), Link(1, 2, CSGSettings.stages, "pooling weights")]),
        "guidance": Picture("The pooled features of one view are compared", [REFERENCE, TASK], [guidance]),
        "causal_invariance": Picture("Relations to the queue agree across styles", [TASK, *invariance],
                                     [Link(0, 1, GCISGSettings.stages_ci, "causal invariance"),
                                      Link(2, 3, GCISGSettings.stages_ci, "causal invariance")]),
        "gcisg": Picture("Guidance and causal invariance", [REFERENCE, TASK, *invariance],
                         [guidance, Link(1, 2, GCISGSettings.stages_ci, "causal invariance"),
                          Link(3, 4, GCISGSettings.stages_ci, "causal invariance")]),
        "guided": Picture("Another network guides", [Network("guide, frozen", "view 1"), TASK, *invariance],
                          [Link(0, 1, GuidedSettings.stages_guidance, "guidance, by an adapter"),
                           Link(1, 2, GCISGSettings.stages_ci, "causal invariance"),
                           Link(3, 4, GCISGSettings.stages_ci, "causal invariance")]),
        "isw": Picture("Covariances that change with the style are suppressed",
                       [TASK, Network("student", "view 2, warm-up only")],
                       [Link(0, 0, ISWSettings.stages, "whitening"), Link(0, 1, ISWSettings.stages, "statistics")]),
        "drpc": Picture("Pooled features of two styles, and of a crop, agree",
                        [Network("student", "view 2", True), TASK, Network("student", "crop of view 1", True)],
                        [Link(0, 1, DRPCSettings.stages, "across styles"),
                         Link(1, 2, DRPCSettings.stages, "within the image")]),
        "ibn": Picture("IBN-Net a: half of the channels are instance normalised", [TASK],
                       [Link(0, 0, (1, 2, 3), "instance normalisation")]),
        "mixstyle": Picture("Statistics are mixed between images", [TASK],
                            [Link(0, 0, MixStyle.stages, "mixed statistics")]),
    }  # fmt: skip


# Narrow, so that a phone shows all of it; SHOWN is the width on a page that has the room.
WIDTH, SHOWN, TOP, LEFT, BOX, GAP, ROW = 500, 600, 30, 142, 40, 8, 80
LETTERS = 14  # in a line at the right


def draw(picture: Picture) -> str:
    """The SVG, for light and dark pages."""
    height = TOP + ROW * len(picture.networks)
    parts = [f'<title id="t">{escape(picture.title)}</title>', f"<style>\n{STYLE}</style>"]
    for row, network in enumerate(picture.networks):
        parts += _network(network, TOP + ROW * row)
    labels: set[str] = set()
    for link in picture.links:
        kind = "ab"[[*dict.fromkeys(other.label for other in picture.links)].index(link.label) % 2]
        parts += _link(link, kind)
        if link.label not in labels:
            labels.add(link.label)
            y = TOP + ROW * link.upper + ((BOX + ROW) / 2 if link.upper != link.lower else -14)
            parts += _right(link.label, y, f' class="{kind}"')
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{SHOWN}" '
        f'font-family="system-ui, \'Segoe UI\', Roboto, \'DejaVu Sans\', sans-serif" font-size="13" role="img" '
        f'aria-labelledby="t">\n{body}\n</svg>\n'
    )


def _x(stage: int) -> int:
    return LEFT + stage * (BOX + GAP)


def _network(network: Network, top: int) -> list[str]:
    kind = ' class="trained"' if network.trained else ""
    middle = top + BOX / 2
    parts = [
        f'<text x="4" y="{middle}">{escape(network.name)}</text>',
        f'<text class="small" x="4" y="{middle + 17}">{escape(network.input)}</text>',
    ]
    for stage, name in enumerate(STAGES):
        x = _x(stage)
        if stage:
            parts.append(f'<path class="flow" d="M{x - GAP} {middle}h{GAP}"/>')
        parts.append(f'<rect{kind} x="{x}" y="{top}" width="{BOX}" height="{BOX}" rx="6"/>')
        parts.append(f'<text class="mid" x="{x + BOX // 2}" y="{middle + 5}">{name}</text>')
    if network.end:
        x = _x(4) + BOX
        parts.append(f'<path class="flow" d="M{x} {middle}h10"/>')
        parts += _right(network.end, middle)
    return parts


def _right(label: str, middle: float, attributes: str = "") -> list[str]:
    """A label beside the last stage, in as many lines as it needs."""
    lines = wrap(label, LETTERS)
    top = middle + 5 - 8 * (len(lines) - 1)
    return [
        f'<text{attributes} x="{_x(4) + BOX + 16}" y="{top + 16 * number}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    ]


def _link(link: Link, kind: str) -> list[str]:
    top = TOP + ROW * link.upper
    if link.upper == link.lower:
        return [f'<path class="{kind}" d="M{_x(stage)} {top - 8}h{BOX}"/>' for stage in link.stages]
    return [f'<path class="{kind}" d="M{_x(stage) + BOX // 2} {top + BOX}v{ROW - BOX}"/>' for stage in link.stages]


def write(folder: Path) -> None:
    """Draw every picture into a folder."""
    for name, picture in pictures().items():
        write_text(folder / f"{name}.svg", draw(picture))
