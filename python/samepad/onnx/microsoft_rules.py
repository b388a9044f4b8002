"""Rules for the operators of the domain com.microsoft that ONNX Runtime's optimizer writes."""

import operator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from samepad._building import UnsupportedError
from samepad.onnx import layers, ops, quantized_rules, recurrent
from samepad.onnx.call import Call, Rule

#: For each activation the attributes that its parameters are, in order.
_ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "Relu": (),
    "Tanh": (),
    "Sigmoid": (),
    "LeakyRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "Clip": ("min", "max"),
}


def _activated(c: Call, value: Any, name: str | None, parameters: list[float]) -> Any:
    """Apply the activation of a fused operator, which may be none.

    Raises:
        UnsupportedError: There is no such activation.
    """
    from samepad.onnx.operators import OPERATORS  # which contains what this module makes

    if not name:
        return value
    if name not in _ACTIVATIONS:
        raise UnsupportedError(f"activation={name!r}, expected one of {list(_ACTIVATIONS)}")
    attributes = dict(zip(_ACTIVATIONS[name], parameters, strict=False))
    call = replace(
        c, name=f"{c.name}.{name}", kind=name, given=[value], attributes=attributes, outputs=1
    )
    return OPERATORS[name](call)


def _fused_conv(c: Call) -> Any:
    """FusedConv: a convolution, a sum with the fourth input, and an activation."""
    result = layers.conv(replace(c, given=c.given[:3], kind="Conv"))
    if c[3] is not None:
        result = c.b.call(operator.add, result, c[3])
    return _activated(c, result, c.get("activation"), c.get("activation_params", []))


def _fused_gemm(c: Call) -> Any:
    """FusedGemm: Gemm and an activation."""
    result = layers.gemm(replace(c, kind="Gemm"))
    names = ("activation_alpha", "activation_beta")
    parameters = [c.get(name) for name in names if name in c.attributes]
    return _activated(c, result, c.get("activation"), parameters)


def _fused_mat_mul(c: Call) -> Any:
    """FusedMatMul: alpha A B, where A and B may be transposed."""
    c.refuse(transBatchA=0, transBatchB=0)
    a, b = (
        c.b.call(torch.transpose, c[position], -1, -2) if c.get(name, 0) else c[position]
        for position, name in enumerate(("transA", "transB"))
    )
    result = layers.mat_mul(replace(c, given=[a, b], kind="MatMul"))
    alpha = c.get("alpha", 1.0)
    return result if alpha == 1 else c.b.call(operator.mul, result, alpha)


def _bias_gelu(c: Call) -> Any:
    value = c[0] if c[1] is None else c.b.call(operator.add, c[0], c[1])
    return c.b.module(c.name, nn.GELU(), value)


def _skip_layer_normalization(c: Call) -> Any:
    """SkipLayerNormalization of a sum; the outputs are the result, mean, deviation and the sum."""
    total = c.b.call(operator.add, c[0], c[1])
    if c[4] is not None:
        total = c.b.call(operator.add, total, c[4])
    results = c.b.call(ops.layer_norm, total, c[2], c[3], -1, c.get("epsilon", 1e-12))
    return [*(c.b.call(operator.getitem, results, i) for i in range(3)), total][: c.outputs]


RULES: dict[str, Rule] = {
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_mat_mul,
    "Gelu": _bias_gelu,
    "BiasGelu": _bias_gelu,
    "QuickGelu": lambda c: c.b.call(ops.swish, c[0], c.get("alpha", 1.702)),
    "SkipLayerNormalization": _skip_layer_normalization,
    "DynamicQuantizeLSTM": recurrent.dynamic_quantize_lstm,
    **quantized_rules.MICROSOFT,
}
