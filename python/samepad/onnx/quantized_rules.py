"""Rules for ONNX's operators on quantized tensors, and ONNX Runtime's, in tables by name."""

import operator
from dataclasses import replace
from typing import Any

import torch

from samepad._building import UnsupportedError
from samepad.onnx import layers, quantized, tensors
from samepad.onnx.call import Call, Rule


def _dtype(c: Call, name: str) -> torch.dtype | None:
    number = c.get(name, 0)
    return tensors.dtype(number) if number else None


def _expect_integers(dtype: torch.dtype | None) -> None:
    """Refuse other types than integers.

    Raises:
        UnsupportedError: The type is one of 8-bit floats.
    """
    if dtype is not None and dtype.is_floating_point:
        raise UnsupportedError(f"type {dtype}, expected integers")


def _block(c: Call) -> int:
    """Return the block size; 0 for scales that are not by blocks."""
    return int(c.get("block_size", 0))


def _quantize(c: Call) -> Any:
    c.refuse(precision=0)
    dtype = _dtype(c, "output_dtype")
    _expect_integers(dtype if c[2] is None else c.dtype(2))
    return c.b.call(quantized.quantize, c[0], c[1], c[2], c.get("axis", 1), dtype, _block(c))


def _dequantize(c: Call) -> Any:
    dtype = _dtype(c, "output_dtype")
    return c.b.call(quantized.dequantize, c[0], c[1], c[2], c.get("axis", 1), dtype, _block(c))


def _dynamic_quantize(c: Call) -> Any:
    results = c.b.call(quantized.dynamic_quantize, c[0])
    return [c.b.call(operator.getitem, results, i) for i in range(3)]


def _conv(c: Call) -> Any:
    """QLinearConv."""
    options = layers.conv_options(c, 0, 3)
    return c.b.call(quantized.conv, *(c[i] for i in range(9)), **options)


def _conv_integer(c: Call) -> Any:
    options = layers.conv_options(c, 0, 1)
    return c.b.call(quantized.conv_integer, *(c[i] for i in range(4)), **options)


def _mat_mul_integer(c: Call) -> Any:
    return c.b.call(quantized.mat_mul_integer, *(c[i] for i in range(4)))


def _mat_mul(c: Call) -> Any:
    """QLinearMatMul."""
    return c.b.call(quantized.mat_mul, *(c[i] for i in range(6)), None, c[6], c[7])


RULES: dict[str, Rule] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "QLinearConv": _conv,
    "QLinearMatMul": _mat_mul,
    "ConvInteger": _conv_integer,
    "MatMulInteger": _mat_mul_integer,
}


def _gemm(c: Call) -> Any:
    """QGemm, A B + C, whose result may be floats."""
    c.refuse(alpha=1.0)
    a, b = (
        c.b.call(torch.t, c[position]) if c.get(name, 0) else c[position]
        for position, name in ((0, "transA"), (3, "transB"))
    )
    return c.b.call(quantized.mat_mul, a, c[1], c[2], b, c[4], c[5], c[6], c[7], c[8])


def _dynamic_mat_mul(c: Call) -> Any:
    return c.b.call(quantized.dynamic_mat_mul, *(c[i] for i in range(5)))


def _in_floats(kind: str, result_first: bool = False) -> Rule:
    """Make a rule that dequantizes the inputs, computes an operator, and quantizes its result.

    Args:
        kind: The name of the operator.
        result_first: Whether the scale and zero point of the result are the first inputs, not the
            last. Each other input comes with its scale and zero point.
    """

    def rule(c: Call) -> Any:
        from samepad.onnx.operators import OPERATORS  # which contains what this module makes

        count = (len(c.given) - 1) // 3
        first, last = (2, 0) if result_first else (0, 3 * count)
        values = [
            c.b.call(quantized.dequantize, c[i], c[i + 1], c[i + 2], 0)
            for i in range(first, first + 3 * count, 3)
        ]
        to_last = bool(c.get("channels_last", 0))
        if to_last:
            values = [c.b.call(torch.movedim, value, -1, 1) for value in values]
        result = OPERATORS[kind](replace(c, given=values, kind=kind))
        result = c.b.call(torch.movedim, result, 1, -1) if to_last else result
        return c.b.call(quantized.quantize, result, c[last], c[last + 1], 0, None)

    return rule


MICROSOFT: dict[str, Rule] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "QGemm": _gemm,
    "DynamicQuantizeMatMul": _dynamic_mat_mul,
    "QLinearAdd": _in_floats("Add"),
    "QLinearMul": _in_floats("Mul"),
    "QLinearConcat": _in_floats("Concat", result_first=True),
    "QLinearAveragePool": _in_floats("AveragePool"),
    "QLinearGlobalAveragePool": _in_floats("GlobalAveragePool"),
    "QLinearLeakyRelu": _in_floats("LeakyRelu"),
    "QLinearSigmoid": _in_floats("Sigmoid"),
}
