import pytest
import torch

from gcisg_core.precision import full_precision


@pytest.mark.parametrize(
    ("given", "result"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_becomes_float32_and_the_rest_stays(given, result):
    assert full_precision(torch.ones(2, dtype=given)).dtype == result
