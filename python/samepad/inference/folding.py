"""Folds batch normalization into the layers before it, in double precision."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def scale_and_shift(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return the factor and the summand, in float64, by which a normalization maps each channel.

    It must have running statistics and be in eval mode.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    shift = torch.zeros_like(scale)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    if norm.bias is not None:
        shift = norm.bias.double()
    return scale, shift - norm.running_mean.double() * scale


def folded_tensors(layer: Any, norm: _BatchNorm | None) -> tuple[Tensor, Tensor | None]:
    """Return the weight and bias with which a layer alone computes what it and `norm` compute.

    Args:
        layer: A convolution, a transposed convolution or a linear layer.
        norm: The normalization of its output's channels, or None for none.

    Returns:
        Tensors of the layer's type, detached; without a normalization, they share the layer's
        memory.
    """
    weight, bias = layer.weight.detach(), layer.bias
    bias = None if bias is None else bias.detach()
    if norm is None:
        return weight, bias
    scale, shift = scale_and_shift(norm)
    if getattr(layer, "transposed", False):  # (in, out / groups, ...): each group has its filters
        groups = layer.groups
        split = weight.double().unflatten(0, (groups, -1))
        factors = scale.view(groups, 1, -1, *[1] * (weight.dim() - 2))
        scaled = (split * factors).flatten(0, 1)
    else:
        scaled = weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))
    if bias is not None:
        shift = bias.double() * scale + shift
    return scaled.to(weight.dtype), shift.to(weight.dtype)


def folded(layer: Any, norm: _BatchNorm) -> nn.Module:
    """Return a copy of a layer that computes what the layer and the normalization compute."""
    new = copy.copy(layer)
    new._parameters = dict(layer._parameters)
    weight, bias = folded_tensors(layer, norm)
    new.weight = nn.Parameter(weight, requires_grad=False)
    new.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    return new  # type: ignore[no-any-return]
