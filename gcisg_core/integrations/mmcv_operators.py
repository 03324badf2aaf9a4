"""Operators of mmcv in plain PyTorch, under the names and arguments of its compiled extension `mmcv._ext`.

Deformable attention (mmdetection's DETR family, Mask2Former's pixel decoder) calls the extension on a GPU; on a CPU
mmcv has :func:`mmcv.ops.multi_scale_deform_attn.multi_scale_deformable_attn_pytorch`, which runs on any device and is
what these call. It is slower than the compiled operator and takes more memory.
"""

from __future__ import annotations

import torch
from torch import Tensor


def ms_deform_attn_forward(
    value: Tensor, shapes: Tensor, start_index: Tensor, locations: Tensor, weights: Tensor, im2col_step: int
) -> Tensor:
    """Multi-scale deformable attention.

    Args:
        value: (B, keys, heads, channels of a head); the keys are the pixels of all levels, one level after another.
        shapes: (levels, 2), height and width of each.
        start_index: Of each level among the keys; not needed.
        locations: (B, queries, heads, levels, points, 2), x and y in [0, 1].
        weights: (B, queries, heads, levels, points).
        im2col_step: Of the compiled operator; not needed.

    Returns:
        (B, queries, heads * channels of a head).
    """
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    output: Tensor = multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
    return output


def ms_deform_attn_backward(
    value: Tensor, shapes: Tensor, start_index: Tensor, locations: Tensor, weights: Tensor, grad_output: Tensor,
    grad_value: Tensor, grad_locations: Tensor, grad_weights: Tensor, im2col_step: int,
) -> None:  # fmt: skip
    """Its gradients, written into ``grad_value``, ``grad_locations`` and ``grad_weights``."""
    inputs = [tensor.detach().requires_grad_() for tensor in (value, locations, weights)]
    with torch.enable_grad():
        output = ms_deform_attn_forward(inputs[0], shapes, start_index, inputs[1], inputs[2], im2col_step)
    gradients = torch.autograd.grad(output, inputs, grad_output)
    for into, gradient in zip((grad_value, grad_locations, grad_weights), gradients, strict=True):
        into.copy_(gradient)
