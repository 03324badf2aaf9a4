"""`gcisg doctor --config`: where stages are, and what each method reads, for each task."""

from pathlib import Path

import pytest

from gcisg_suite.cli import main

ROOT = Path(__file__).parents[2]

SETR = """
_base_ = "{base}"
model = dict(
    backbone=dict(
        _delete_=True, type="VisionTransformer", img_size=(64, 64), embed_dims=8, num_layers=6, num_heads=2,
        out_indices=(2, 5), with_cls_token=True,
    ),
)
"""


def said(capsys, *words):
    main(["doctor", "--config", *map(str, words)])
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("config", "stage", "method"),
    [
        ("projects/classification/csg_mini.py", "3 layer3 8 96", "csg stages 3 layer3, 4 layer4"),
        ("projects/segmentation/gcisg_mini.py", "4 layer4 16 192", "gcisg stages_ci 3 layer3, 4 layer4"),
        ("projects/detection/gcisg_mini.yaml", "3 layer3 8 96", "gcisg stages_guidance 3 layer3, 4 layer4"),
    ],
)
def test_shows_the_stages_and_what_each_method_reads(capsys, config, stage, method):
    lines = said(capsys, config)
    assert any(line.endswith("stages found:") for line in lines)
    assert {stage, method, "none no features"} <= {*lines}
    assert any(line.startswith("isw stages 0 ") for line in lines)


def test_a_plain_vit_by_depth_and_the_places_of_the_config(capsys, tmp_path):

    config = tmp_path / "a vit.py"
    config.write_text(SETR.format(base=ROOT / "projects/segmentation/gcisg_mini.py"))
    lines = said(capsys, config)
    assert {"2 tokens(layers.1) 16 8", "3 tokens(layers.3) 16 8", "4 tokens(layers.5) 16 8"} <= {*lines}
    config.write_text(config.read_text() + "model.update(regularizer=dict(stage_locations={3: 0, 4: 1}))")
    lines = said(capsys, config)
    assert any(line.endswith("stages by stage_locations:") for line in lines)
    assert {"3 output 0 16 8", "isw stages 0 (no such stage), 1 (no such stage), 2 (no such stage)"} <= {*lines}


def test_overrides_need_a_config(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "a=b"])
    assert stop.value.code == 2
    assert "a=b: overrides need --config" in capsys.readouterr().err
