"""Operators of mmcv in plain PyTorch, under the names and arguments of its compiled extension `mmcv._ext`.

Two operators for which frameworks have Python code on a CPU, but not on a GPU: deformable attention (mmdetection's DETR
family, Mask2Former's pixel decoder), which calls mmcv's function for a CPU, and focal loss (MaskFormer), which calls
torchvision's. The third is PSANet's masks, which frameworks have in no other form. All run on any device; they are
slower than compiled operators and need more memory.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss


def ms_deform_attn_forward(
    value: Tensor, shapes: Tensor, start_index: Tensor, locations: Tensor, weights: Tensor, im2col_step: int
) -> Tensor:
    """Multi-scale deformable attention.

    Args:
        value: (B, keys, heads, channels of a head); the keys are the pixels of all levels, one level after another.
        shapes: (levels, 2), height and width of each.
        start_index: Index of each level's first key; not used.
        locations: (B, queries, heads, levels, points, 2), x and y in [0, 1].
        weights: (B, queries, heads, levels, points).
        im2col_step: Argument of the compiled operator; not used.

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
    """Write the gradients into ``grad_value``, ``grad_locations`` and ``grad_weights``."""
    inputs = [tensor.detach().requires_grad_() for tensor in (value, locations, weights)]
    with torch.enable_grad():
        output = ms_deform_attn_forward(inputs[0], shapes, start_index, inputs[1], inputs[2], im2col_step)
    gradients = torch.autograd.grad(output, inputs, grad_output)
    for into, gradient in zip((grad_value, grad_locations, grad_weights), gradients, strict=True):
        into.copy_(gradient)


def _focal_loss(logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    classes = logits.shape[1]
    labels = functional.one_hot(target, classes + 1)[:, :classes].to(logits)
    loss: Tensor = sigmoid_focal_loss(logits, labels, alpha, gamma)
    return loss * weight[target][:, None] if weight.numel() else loss


def sigmoid_focal_loss_forward(
    logits: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Focal loss of each logit, written into ``output``.

    Args:
        logits: (N, C).
        target: (N,), C is the background.
        weight: (C,), or empty.
        output: (N, C).
        gamma: Exponent.
        alpha: Weight of positives.
    """
    output.copy_(_focal_loss(logits, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    logits: Tensor, target: Tensor, weight: Tensor, grad_logits: Tensor, gamma: float, alpha: float
) -> None:
    """Write the gradient of the sum into ``grad_logits``."""
    inputs = logits.detach().requires_grad_()
    with torch.enable_grad():
        loss = _focal_loss(inputs, target, weight, gamma, alpha).sum()
    grad_logits.copy_(torch.autograd.grad(loss, inputs)[0])


def psamask_forward(masks: Tensor, output: Tensor, psa_type: int, **sizes: int) -> None:
    """PSANet's attention of each position over all others, written into ``output``.

    Args:
        masks: (B, cells, H, W), at each position a mask of ``h_mask`` x ``w_mask`` cells around it, row by row.
        output: (B, H * W, H, W): the attention from the first axis' position to the last's, or in reverse.
        psa_type: 0 collects, 1 distributes.
        **sizes: ``h_mask`` and ``w_mask``; mmcv's other sizes follow from the tensors.

    Source: PSANet (Zhao et al., ECCV 2018), Section 3.2.
    """
    output.copy_(_psa_mask(masks, psa_type, sizes["h_mask"], sizes["w_mask"]))


def psamask_backward(grad_output: Tensor, grad_masks: Tensor, psa_type: int, **sizes: int) -> None:
    """Write the gradient into ``grad_masks``."""
    masks = grad_masks.detach().clone().requires_grad_()  # any values: the attention is linear in them
    with torch.enable_grad():
        output = _psa_mask(masks, psa_type, sizes["h_mask"], sizes["w_mask"])
    grad_masks.copy_(torch.autograd.grad(output, masks, grad_output)[0])


def _psa_mask(masks: Tensor, psa_type: int, rows: int, columns: int) -> Tensor:
    height, width = masks.shape[2:]
    # The cell of the mask at one position (last axis) that lies on another (first axis).
    row, column = (
        torch.arange(edge, device=masks.device)[:, None] - torch.arange(edge, device=masks.device) + (cells - 1) // 2
        for edge, cells in ((height, rows), (width, columns))
    )
    inside = ((row >= 0) & (row < rows))[:, None, :, None] & ((column >= 0) & (column < columns))[None, :, None, :]
    cell = (row[:, None, :, None] * columns + column[None, :, None, :]).where(inside, 0).flatten(0, 1)
    collected = masks.gather(1, cell.expand(len(masks), -1, -1, -1)) * inside.flatten(0, 1)
    return collected if psa_type == 0 else collected.flatten(2).transpose(1, 2).unflatten(2, (height, width))
