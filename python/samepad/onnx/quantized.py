"""Functions for ONNX's operators on quantized tensors, which compute integers exactly.

A quantized tensor q stands for scale * (q - zero point).
"""

from typing import Any

import torch
from torch import Tensor

import samepad

#: Up to this number of products of 8-bit integers, their sum is exact in float32.
_EXACT_IN_SINGLE = 2**24 // 255**2


def along(values: Tensor, axis: int, input: Tensor, block: int = 0) -> Tensor:
    """Reshape scales or zero points so that they broadcast to an input.

    Args:
        values: One number; a vector with one number for each position along `axis`; or as many
            dimensions as the input.
        axis: A dimension of the input.
        input: The input.
        block: If not 0, how many positions along `axis` share a number.

    Returns:
        The values, of a shape that broadcasts to the input's.
    """
    if block:
        return values.repeat_interleave(block, axis).narrow(axis, 0, input.shape[axis])
    if values.dim() != 1:
        return values
    return values.reshape([-1 if dim == axis % input.dim() else 1 for dim in range(input.dim())])


def quantize(
    input: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    axis: int,
    dtype: torch.dtype | None,
    block: int = 0,
) -> Tensor:
    """QuantizeLinear, with one scale, or one for each position or block along an axis.

    The result has `dtype` or, if that is None, the zero point's type, or uint8 if there is none.
    """
    if dtype is None:
        dtype = torch.uint8 if zero is None else zero.dtype
    values = (input / along(scale, axis, input, block)).round()
    if zero is not None:
        values = values + along(zero, axis, input, block).to(values.dtype)
    return _saturated(values, dtype)


def dequantize(
    input: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    axis: int,
    dtype: torch.dtype | None = None,
    block: int = 0,
) -> Tensor:
    """DequantizeLinear, the inverse of QuantizeLinear; of the scale's type if `dtype` is None."""
    values = input.to(scale.dtype)
    if zero is not None:
        values = values - along(zero, axis, input, block).to(scale.dtype)
    result = values * along(scale, axis, input, block)
    return result if dtype is None else result.to(dtype)


def _saturated(values: Tensor, dtype: torch.dtype) -> Tensor:
    limits = torch.iinfo(dtype)
    return values.clamp(limits.min, limits.max).to(dtype)


def dynamic_quantize(input: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """DynamicQuantizeLinear: the quantized input in uint8, the scale and the zero point."""
    zero = torch.zeros((), dtype=input.dtype, device=input.device)
    low, high = torch.minimum(input.amin(), zero), torch.maximum(input.amax(), zero)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    point = _saturated((-low / scale).round(), torch.uint8)
    return quantize(input, scale, point, 0, torch.uint8), scale, point


def _centered(values: Tensor, zero: Tensor | None, axis: int, products: int) -> Tensor:
    """Subtract the zero point, in a type in which sums of so many products are exact."""
    exact = torch.float32 if products <= _EXACT_IN_SINGLE else torch.float64
    result = values.to(exact)
    return result if zero is None else result - along(zero, axis, values).to(exact)


def _total(a: Tensor, b: Tensor, a_zero: Tensor | None, b_zero: Tensor | None) -> Tensor:
    count = a.shape[-1]
    # One zero point for each row of `a`, and one for each column of `b`.
    left = _centered(a, a_zero, max(a.dim() - 2, 0), count)
    return left @ _centered(b, b_zero, b.dim() - 1, count)


def mat_mul_integer(a: Tensor, b: Tensor, a_zero: Tensor | None, b_zero: Tensor | None) -> Tensor:
    """MatMulInteger: the product of two tensors of 8-bit integers, in int32."""
    return _total(a, b, a_zero, b_zero).to(torch.int32)


def mat_mul(
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    bias: Tensor | None,
    scale: Tensor | None,
    zero: Tensor | None,
) -> Tensor:
    """QLinearMatMul, and QGemm: the product of two quantized matrices.

    Args:
        a: Quantized, (..., M, K).
        a_scale: Of `a`: one number, or one for each row.
        a_zero: Of `a`, in the same shape.
        b: Quantized, (..., K, N).
        b_scale: Of `b`: one number, or one for each column.
        b_zero: Of `b`, in the same shape.
        bias: Integers that are added to the sums of products, or None.
        scale: Of the result; None for a result that is not quantized.
        zero: Of the result; its type is the result's.

    Returns:
        The quantized product, (..., M, N), or one of floats.
    """
    total = _total(a, b, a_zero, b_zero)
    total = total if bias is None else total + bias
    factor = along(a_scale, max(total.dim() - 2, 0), total) * along(b_scale, total.dim() - 1, total)
    return _rescaled(total, factor, scale, zero)


def _rescaled(total: Tensor, factor: Tensor, scale: Tensor | None, zero: Tensor | None) -> Tensor:
    """Quantize sums of products of integers, which stand for `factor` times themselves."""
    single = total.to(torch.float32)
    if scale is None:
        return single * factor
    values = (single * (factor.float() / scale.float())).round()
    if zero is None:
        return _saturated(values, torch.uint8)
    return _saturated(values + zero.float(), zero.dtype)


def dynamic_mat_mul(
    a: Tensor, b: Tensor, b_scale: Tensor, b_zero: Tensor | None, bias: Tensor | None = None
) -> Tensor:
    """DynamicQuantizeMatMul: quantizes `a` as DynamicQuantizeLinear does; returns floats."""
    quantized, scale, zero = dynamic_quantize(a)
    total = _total(quantized, b, zero, b_zero)
    result = total.to(a.dtype) * (scale * along(b_scale, total.dim() - 1, total))
    return result if bias is None else result + bias


def _convolved(
    input: Tensor, weight: Tensor, input_zero: Tensor | None, zero: Tensor | None, **options: Any
) -> Tensor:
    count = weight[0].numel()
    function = getattr(samepad.functional, f"conv{weight.dim() - 2}d")
    left, right = _centered(input, input_zero, 1, count), _centered(weight, zero, 0, count)
    return function(left, right, **options)  # type: ignore[no-any-return]


def conv_integer(
    input: Tensor, weight: Tensor, input_zero: Tensor | None, zero: Tensor | None, **options: Any
) -> Tensor:
    """ConvInteger: a convolution of 8-bit integers, in int32; `options` are those of `conv`."""
    return _convolved(input, weight, input_zero, zero, **options).to(torch.int32)


def conv(
    input: Tensor,
    input_scale: Tensor,
    input_zero: Tensor,
    weight: Tensor,
    weight_scale: Tensor,
    weight_zero: Tensor,
    scale: Tensor,
    zero: Tensor,
    bias: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """QLinearConv: a convolution of quantized tensors.

    Args:
        input: Quantized, (N, C, ...).
        input_scale: Of the input: one number.
        input_zero: Of the input: one number.
        weight: Quantized, as torch.nn's convolutions have it.
        weight_scale: Of the weight: one number, or one for each output channel.
        weight_zero: Of the weight, in the same shape.
        scale: Of the result: one number.
        zero: Of the result; its type is the result's.
        bias: Integers that are added to the sums of products, one for each output channel.
        **options: padding, stride, dilation and groups of samepad.functional.conv1d to conv3d.

    Returns:
        The quantized result.
    """
    total = _convolved(input, weight, input_zero, weight_zero, **options)
    total = total if bias is None else total + along(bias, 1, total).to(total.dtype)
    return _rescaled(total, input_scale * along(weight_scale, 1, total), scale, zero)
