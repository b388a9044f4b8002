"""The table of ONNX's operators: each name with the rule that converts it to PyTorch."""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from samepad._building import UnsupportedError
from samepad.onnx import (
    control_rules,
    detection_rules,
    layers,
    microsoft_rules,
    normalization,
    ops,
    quantized_rules,
    recurrent,
    resizing,
    signals,
    tensors,
)
from samepad.onnx.call import Call, Rule
from samepad.onnx.shape_rules import RULES


def _function(function: Callable[..., Any]) -> Rule:
    """Make a rule that calls a function with all inputs."""
    return lambda c: c.b.call(function, *c.inputs)


def _layer(make: Callable[[Call], nn.Module]) -> Rule:
    """Make a rule that calls a layer without weights."""
    return lambda c: c.b.module(c.name, make(c), c[0])


def _fold(function: Callable[..., Any]) -> Rule:
    """Make a rule that combines any number of inputs by a function of two."""
    return lambda c: functools.reduce(lambda a, b: c.b.call(function, a, b), c.inputs)


def _mean(c: Call) -> Any:
    return c.b.call(torch.div, _fold(torch.add)(c), len(c.inputs))


def _cast(c: Call) -> Any:
    return c.b.call(ops.cast, c[0], tensors.dtype(c.get("to")))


def _constant(c: Call) -> Any:
    (name,) = c.attributes
    value = c.attributes[name]
    if name == "value":
        return c.b.fold.keep(tensors.tensor(value))
    if name == "sparse_value":
        return c.b.fold(tensors.dense, value)
    kinds = {"int": torch.int64, "ints": torch.int64, "float": None, "floats": None}
    if name.removeprefix("value_") not in kinds:
        raise UnsupportedError(f"{name}, expected numbers")
    return torch.tensor(value, dtype=kinds[name.removeprefix("value_")])


def _clip(c: Call) -> Any:
    limits = [c.number(1, "min"), c.number(2, "max")]
    if limits == [None, None]:
        return c[0]
    if limits == [0, 6]:
        return c.b.module(c.name, nn.ReLU6(), c[0])
    # If the lower limit is above the upper one, both ONNX and PyTorch give the upper one.
    return c.b.call(torch.clamp, c[0], *limits)


def _softmax(log: bool) -> Rule:
    def rule(c: Call) -> Any:
        axis, rank = c.get("axis", 1 if c.opset < 13 else -1), c.rank(0)
        # Before opset 13, Softmax is over all dimensions from the axis on. The two are the same if
        # the axis is the last one.
        if c.opset < 13 and (rank is None or axis % rank != rank - 1):
            return c.b.call(ops.softmax_2d, c[0], axis, log)
        return c.b.module(c.name, (nn.LogSoftmax if log else nn.Softmax)(dim=axis), c[0])

    return rule


def _reduce(kind: str) -> Rule:
    def rule(c: Call) -> Any:
        axes, keep = c.integers(1, "axes"), bool(c.get("keepdims", 1))
        if kind == "Mean" and isinstance(axes, list) and axes and c.is_floating(0):
            return c.b.call(torch.mean, c[0], axes, keep)
        noop = bool(c.get("noop_with_empty_axes", 0))
        return c.b.call(ops.reduce, c[0], kind, axes, keep, noop)

    return rule


def _extreme(function: Callable[..., Any]) -> Rule:
    def rule(c: Call) -> Any:
        options = c.get("axis", 0), bool(c.get("keepdims", 1))
        if c.get("select_last_index", 0):
            return c.b.call(ops.last_extreme, c[0], function.__name__, *options)
        return c.b.call(function, c[0], *options)

    return rule


def _prelu(c: Call) -> Any:
    """PRelu: becomes a layer if there is one slope, or one for each channel."""
    slope, rank = c[1], c.rank(0)
    one = isinstance(slope, Tensor) and slope.numel() == 1
    if one or (
        isinstance(slope, Tensor)
        and rank
        and slope.dim() == rank - 1
        and slope.dim() > 0
        and slope.numel() == slope.shape[0]
    ):
        c.expect(0, 1, None if one else slope.numel())
        module = layers.loaded(nn.PReLU(slope.numel()), weight=slope.reshape(-1))
        return c.b.module(c.name, module, c[0])
    return c.b.call(ops.prelu, c[0], slope)


def _dropout(c: Call) -> Any:
    training = c.number(2)
    if training not in (None, False):
        c.b.note(f"{c.description}: computed as in inference, so that nothing is dropped")
    if c.outputs == 1:
        return c[0]
    dtype = torch.bool if c.opset >= 10 else None
    return [c[0], c.b.call(torch.ones_like, c[0], dtype=dtype)]


def _global(layer: str, method: str) -> Rule:
    def rule(c: Call) -> Any:
        rank = c.rank(0)
        if rank is None or not 3 <= rank <= 5:
            return c.b.call(ops.global_pool, c[0], method)
        return c.b.module(c.name, getattr(nn, f"{layer}{rank - 2}d")(1), c[0])

    return rule


def _selu(c: Call) -> Any:
    # The defaults are PyTorch's constants, rounded to float32.
    constants = (c.get("alpha", 1.6732632), c.get("gamma", 1.0507010))
    if np.allclose(constants, (1.6732632423543772, 1.0507009873554805), rtol=1e-7):
        return c.b.module(c.name, nn.SELU(), c[0])
    return c.b.call(ops.selu, c[0], *constants)


def _hard_sigmoid(c: Call) -> Any:
    alpha, beta = c.get("alpha", 0.2), c.get("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return c.b.module(c.name, nn.Hardsigmoid(), c[0])
    return c.b.call(ops.hard_sigmoid, c[0], alpha, beta)


def _swish(c: Call) -> Any:
    alpha = c.get("alpha", 1.0)
    if alpha == 1:
        return c.b.module(c.name, nn.SiLU(), c[0])
    return c.b.call(ops.swish, c[0], alpha)


def _hardmax(c: Call) -> Any:
    if c.opset < 13:
        raise UnsupportedError(f"opset {c.opset}, expected at least 13")
    return c.b.call(ops.hardmax, c[0], c.get("axis", -1))


def _accumulate(kind: str) -> Rule:
    def rule(c: Call) -> Any:
        options = bool(c.get("exclusive", 0)), bool(c.get("reverse", 0))
        return c.b.call(ops.accumulate, c[0], c.number(1), kind, *options)

    return rule


_INTERPOLATIONS = {"linear": "bilinear", "cubic": "bicubic"}


def _grid_sample(c: Call) -> Any:
    mode = c.get("mode", "bilinear" if c.opset < 20 else "linear")
    return c.b.call(
        ops.grid_sample,
        c[0],
        c[1],
        _INTERPOLATIONS.get(mode, mode),
        c.get("padding_mode", "zeros"),
        bool(c.get("align_corners", 0)),
    )


def _dft(c: Call) -> Any:
    axis = c.get("axis", 1) if c.opset < 20 else c.number(2)
    inverse, onesided = bool(c.get("inverse", 0)), bool(c.get("onesided", 0))
    axis = -2 if axis is None else axis
    return c.b.call(signals.dft, c[0], c.number(1), axis, inverse, onesided)


def _stft(c: Call) -> Any:
    onesided = bool(c.get("onesided", 1))
    return c.b.call(signals.stft, c[0], c.number(1), c[2], c.number(3), onesided)


def _window(c: Call) -> Any:
    dtype = tensors.dtype(c.get("output_datatype", 1))
    return c.b.call(signals.window, c.number(0), c.kind, bool(c.get("periodic", 1)), dtype)


_COMPARED = {
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
}

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseNot": torch.bitwise_not,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
    "CastLike": ops.cast_like,
    "Det": torch.det,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Div": ops.divide,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Mul": operator.mul,
    "Neg": operator.neg,
    "Not": torch.logical_not,
    "Pow": ops.power,
    "Reciprocal": torch.reciprocal,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Sub": operator.sub,
    "Tan": torch.tan,
    "Where": ops.where,
    **_COMPARED,
}

_LAYERS: dict[str, Callable[[Call], nn.Module]] = {
    "Celu": lambda c: nn.CELU(c.get("alpha", 1.0)),
    "Elu": lambda c: nn.ELU(c.get("alpha", 1.0)),
    "Gelu": lambda c: nn.GELU(c.get("approximate", "none")),
    "HardSwish": lambda _: nn.Hardswish(),
    "LeakyRelu": lambda c: nn.LeakyReLU(c.get("alpha", 0.01)),
    "Mish": lambda _: nn.Mish(),
    "Relu": lambda _: nn.ReLU(),
    "Sigmoid": lambda _: nn.Sigmoid(),
    "Softplus": lambda _: nn.Softplus(),
    "Softsign": lambda _: nn.Softsign(),
    "Tanh": lambda _: nn.Tanh(),
    "ThresholdedRelu": lambda c: nn.Threshold(c.get("alpha", 1.0), 0.0),
}

_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

OPERATORS: dict[str, Rule] = {
    **{name: _function(function) for name, function in _FUNCTIONS.items()},
    **{name: _layer(make) for name, make in _LAYERS.items()},
    **{f"Reduce{kind}": _reduce(kind) for kind in _REDUCTIONS},
    "Identity": lambda c: c.given[0],
    "Max": _fold(torch.maximum),
    "Min": _fold(torch.minimum),
    "Sum": _fold(torch.add),
    "Mean": _mean,
    "Conv": layers.conv,
    "ConvTranspose": layers.conv_transpose,
    "MaxPool": layers.max_pool,
    "AveragePool": layers.average_pool,
    "LpPool": layers.lp_pool,
    "GlobalAveragePool": _global("AdaptiveAvgPool", "mean"),
    "GlobalMaxPool": _global("AdaptiveMaxPool", "amax"),
    "BatchNormalization": normalization.batch_normalization,
    "InstanceNormalization": normalization.instance_normalization,
    "GroupNormalization": normalization.group_normalization,
    "LayerNormalization": normalization.layer_normalization,
    "RMSNormalization": normalization.rms_normalization,
    "MeanVarianceNormalization": normalization.mean_variance_normalization,
    "LpNormalization": normalization.lp_normalization,
    "LRN": normalization.local_response_normalization,
    "LSTM": recurrent.recurrent,
    "GRU": recurrent.recurrent,
    "RNN": recurrent.recurrent,
    "Add": layers.add,
    "Gemm": layers.gemm,
    "MatMul": layers.mat_mul,
    "PRelu": _prelu,
    "HardSigmoid": _hard_sigmoid,
    "Clip": _clip,
    "Softmax": _softmax(log=False),
    "LogSoftmax": _softmax(log=True),
    "ArgMax": _extreme(torch.argmax),
    "ArgMin": _extreme(torch.argmin),
    "Cast": _cast,
    "Constant": _constant,
    "Resize": resizing.resize,
    "Upsample": resizing.resize,
    "Dropout": _dropout,
    "Selu": _selu,
    "Swish": _swish,
    "Shrink": lambda c: c.b.call(ops.shrink, c[0], c.get("bias", 0.0), c.get("lambd", 0.5)),
    "Hardmax": _hardmax,
    "IsInf": lambda c: c.b.call(
        ops.is_infinite,
        c[0],
        bool(c.get("detect_negative", 1)),
        bool(c.get("detect_positive", 1)),
    ),
    "CumSum": _accumulate("cumsum"),
    "CumProd": _accumulate("cumprod"),
    "Mod": lambda c: c.b.call(torch.fmod if c.get("fmod", 0) else torch.remainder, c[0], c[1]),
    "Einsum": lambda c: c.b.call(torch.einsum, c.get("equation"), *c.inputs),
    "GridSample": _grid_sample,
    "AffineGrid": lambda c: c.b.call(
        ops.affine_grid, c[0], c.integers(1), bool(c.get("align_corners", 0))
    ),
    "DFT": _dft,
    "STFT": _stft,
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow"), _window),
    **RULES,
    **control_rules.RULES,
    **quantized_rules.RULES,
    **detection_rules.RULES,
}

#: The tables of operators by domain; that of ONNX's own operators is empty.
TABLES: dict[str, dict[str, Rule]] = {"": OPERATORS, "com.microsoft": microsoft_rules.RULES}
