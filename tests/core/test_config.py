from dataclasses import dataclass, fields

import pytest

from gcisg_core.config import Settings, parse_settings, per_stage
from gcisg_core.regularizers.gcisg import GCISGSettings


def test_defaults_are_the_papers():
    settings = parse_settings(GCISGSettings, {})
    assert (settings.tau, settings.tau_momentum, settings.decay) == (0.12, 0.04, 0.996)
    assert (settings.queue_length, settings.embedding_dim) == (65536, 128)
    assert settings.stages_guidance == settings.stages_ci == (3, 4)


def test_lists_and_whole_numbers_are_taken_for_what_they_mean():
    settings = parse_settings(GCISGSettings, {"stages_ci": [1, 2], "lambda_ci": 2, "patches": [8, 8]})
    assert settings.stages_ci == (1, 2)
    assert isinstance(settings.lambda_ci, float)
    assert settings.patches == (8, 8)


def test_a_preset_changes_defaults_and_given_values_win():
    official = parse_settings(GCISGSettings, {"preset": "official"})
    assert official.guidance_reduction == "frobenius"
    assert official.sequential_enqueue
    assert official.task_view == 1
    assert official.momentum_update == "before_step"
    assert (official.lambda_guidance, official.lambda_ci) == (1, 1)
    assert parse_settings(GCISGSettings, {"preset": "official", "task_view": 0}).task_view == 0


def test_presets_name_only_real_fields():
    names = {field.name for field in fields(GCISGSettings)}
    assert all(names.issuperset(preset) for preset in GCISGSettings.presets.values())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tau_taget": 0.1}, "unknown setting 'tau_taget'. Did you mean 'tau_momentum'"),
        ({"preset": "oficial"}, "unknown preset 'oficial'. Did you mean 'official'"),
        ({"tau": "hot"}, "tau must be a float, got 'hot'"),
        ({"tau": -1.0}, "tau, tau_momentum must be above 0"),
        ({"queue_length": 2.5}, "queue_length must be a int, got 2.5"),
        ({"sequential_enqueue": 1}, "sequential_enqueue must be a bool, got 1"),
        ({"queue_length": True}, "queue_length must be a int, got True"),
        ({"stages_ci": 3}, "stages_ci must be a list"),
        ({"stages_ci": [3, 3]}, "stages_ci must be distinct stages 0 to 4"),
        ({"patches": [8]}, "patches must be two numbers"),
        ({"pooling": "sap"}, "unknown pooling 'sap'"),
        ({"task_view": 2}, "task_view must be 0 or 1, got 2"),
        ({"momentum_update": "before"}, "momentum_update must be 'after_step' or 'before_step', got 'before'"),
    ],
)
def test_what_is_wrong_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        parse_settings(GCISGSettings, values)


def test_a_method_of_ones_own_needs_only_a_dataclass():
    @dataclass(frozen=True)
    class Mine(Settings):
        strength: float = 2.0

    assert parse_settings(Mine, {"strength": 3}).strength == 3.0


class TestPerStage:
    def test_one_weight_serves_all_stages_and_zeros_leave(self):
        assert per_stage("w", 2.0, (3, 4)) == {3: 2.0, 4: 2.0}
        assert per_stage("w", (1.0, 0.0), (3, 4)) == {3: 1.0}
        assert per_stage("w", 0.0, (3, 4)) == {}

    @pytest.mark.parametrize("weight", [(1.0,), -1.0])
    def test_refuses_other_numbers(self, weight):
        with pytest.raises(ValueError, match="w must be"):
            per_stage("w", weight, (3, 4))
