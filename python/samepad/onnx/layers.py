"""Convolutions, pools, normalizations and products: what becomes a layer of torch.nn or samepad."""

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

import samepad
from samepad._building import UnsupportedError, one
from samepad.onnx import ops
from samepad.onnx.call import Call

_MODES = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": 0}


def _numbers(c: Call, name: str, count: int, default: int) -> list[int]:
    """An attribute of as many numbers.

    Raises:
        UnsupportedError: It has more or fewer.
    """
    found = list(c.get(name, [default] * count))
    if len(found) != count:
        raise UnsupportedError(f"{name}={found}, expected {count} numbers")
    return found


def _padding(c: Call, dimensions: int, kernel: Any = None) -> Any:
    """What samepad calls the node's padding: a mode, amounts or (before, after) pairs.

    Args:
        c: The node.
        dimensions: How many spatial ones there are.
        kernel: Of a pool, whose amounts PyTorch limits to half of it; pairs have no limit.

    Raises:
        UnsupportedError: auto_pad is none that ONNX has, or pads are not two for each dimension.
    """
    mode = c.get("auto_pad", "NOTSET")
    if mode != "NOTSET":
        if mode not in _MODES:
            raise UnsupportedError(f"auto_pad={mode!r}")
        return _MODES[mode]
    pads = _numbers(c, "pads", 2 * dimensions, 0)
    before, after = pads[:dimensions], pads[dimensions:]
    fits = kernel is None or all(2 * p <= k for p, k in zip(before, kernel, strict=True))
    if before == after and fits:
        return one(before)
    return tuple(zip(before, after, strict=True))


def _is_same(padding: Any) -> bool:
    """Whether it takes samepad's layers: torch.nn's have neither modes nor pairs."""
    return isinstance(padding, str) or (isinstance(padding, tuple) and type(padding[0]) is tuple)


def _steps(c: Call, dimensions: int) -> dict[str, Any]:
    return {
        "stride": one(_numbers(c, "strides", dimensions, 1)),
        "dilation": one(_numbers(c, "dilations", dimensions, 1)),
    }


def loaded(module: nn.Module, **weights: Tensor | None) -> nn.Module:
    """The module with these weights, in their type.

    Raises:
        UnsupportedError: Their shapes are not the module's.
    """
    present = {name: value for name, value in weights.items() if value is not None}
    module.to(next(iter(present.values())).dtype)
    own = module.state_dict()
    with torch.no_grad():
        for name, value in present.items():
            if own[name].shape != value.shape:  # copying would broadcast
                shapes = f"{tuple(value.shape)}, expected {tuple(own[name].shape)}"
                raise UnsupportedError(f"{name} has shape {shapes}")
            own[name].copy_(value)
    return module


def _dimensions(c: Call) -> int:
    """Spatial dimensions of a convolution, as far as they are known; 1 where every number is one
    for all of them.

    Raises:
        UnsupportedError: The input has others than the weight, or PyTorch has no such layer.
    """
    rank = c.rank(1) or c.rank(0)
    if rank is not None:
        return _checked(c, rank - 2)
    return (
        len(c.get("kernel_shape", ())) or len(c.get("pads", ())) // 2 or len(c.get("strides", (1,)))
    )


def _checked(c: Call, dimensions: int) -> int:
    """The spatial dimensions, which PyTorch has layers for and the input has too.

    Raises:
        UnsupportedError: It is not so.
    """
    if dimensions not in (1, 2, 3):
        raise UnsupportedError(f"{dimensions} spatial dimensions, expected 1, 2 or 3")
    rank = c.rank(0)
    if rank not in (None, dimensions + 2):
        raise UnsupportedError(f"input 0 has {rank} dimensions, expected {dimensions + 2}")
    return dimensions


def _kernel(c: Call) -> list[int]:
    """A pool's kernel, one size for each spatial dimension.

    Raises:
        UnsupportedError: The input has others, or PyTorch has no such pool.
    """
    kernel = list(c.get("kernel_shape"))
    _checked(c, len(kernel))
    return kernel


def conv(c: Call) -> Any:
    """Conv: a layer, or a function where the model computes the weight."""
    dimensions = _dimensions(c)
    padding, groups = _padding(c, dimensions), c.get("group", 1)
    inputs, outputs = c.size(1, 1), c.size(1, 0)
    c.expect(0, 1, inputs and inputs * groups)
    c.expect(2, 0, outputs)
    weights = c.weights(1, 2)
    if weights is None:
        steps = _steps(c, dimensions)
        return c.b.call(ops.convolve, "conv", *c.inputs, padding=padding, groups=groups, **steps)
    weight, bias = weights
    assert weight is not None
    c.refuse(kernel_shape=list(weight.shape[2:]))
    made = getattr(samepad if _is_same(padding) else nn, _class(padding, "Conv", dimensions))
    module = made(
        weight.shape[1] * groups,
        weight.shape[0],
        one(list(weight.shape[2:])),
        padding=padding,
        groups=groups,
        bias=bias is not None,
        **_steps(c, dimensions),
    )
    return c.b.module(c.name, loaded(module, weight=weight, bias=bias), c[0])


def _class(padding: Any, kind: str, dimensions: int) -> str:
    return ("SamePad" if _is_same(padding) else "") + f"{kind}{dimensions}d"


def conv_transpose(c: Call) -> Any:
    """ConvTranspose: a layer, or a function where the model computes the weight or gives a size."""
    dimensions = _dimensions(c)
    padding, groups = _padding(c, dimensions), c.get("group", 1)
    extra = _numbers(c, "output_padding", dimensions, 0)
    steps = _steps(c, dimensions)
    inputs, outputs = c.size(1, 0), c.size(1, 1)
    c.expect(0, 1, inputs)
    c.expect(2, 0, outputs and outputs * groups)
    weights = c.weights(1, 2)
    sizes = c.get("output_shape")
    # The pads of auto_pad depend on output_padding, which the size that they lead to does not.
    if sizes is not None or (any(extra) and isinstance(padding, str)):
        return c.b.call(
            ops.conv_transpose_to,
            *(c[i] for i in range(3)),
            sizes=None if sizes is None else tuple(sizes[-dimensions:]),
            lower=c.get("auto_pad", "NOTSET") != "SAME_UPPER",
            output_padding=tuple(extra),
            groups=groups,
            **steps,
        )
    options: dict[str, Any] = {}
    if any(extra):
        options["output_padding"] = one(extra)
    if weights is None:
        options |= {"padding": padding, "groups": groups, **steps}
        return c.b.call(ops.convolve, "conv_transpose", *c.inputs, **options)
    weight, bias = weights
    assert weight is not None
    c.refuse(kernel_shape=list(weight.shape[2:]))
    made = getattr(
        samepad if _is_same(padding) else nn, _class(padding, "ConvTranspose", dimensions)
    )
    module = made(
        weight.shape[0],
        weight.shape[1] * groups,
        one(list(weight.shape[2:])),
        padding=padding,
        groups=groups,
        bias=bias is not None,
        **options,
        **steps,
    )
    return c.b.module(c.name, loaded(module, weight=weight, bias=bias), c[0])


def max_pool(c: Call) -> Any:
    """MaxPool, of floats and 8-bit integers; indices count over the whole tensor, as ONNX's."""
    c.refuse(storage_order=0)
    kernel = _kernel(c)
    options: dict[str, Any] = {
        **_steps(c, len(kernel)),
        "padding": _padding(c, len(kernel), kernel),
        "ceil_mode": bool(c.get("ceil_mode", 0)),
    }
    if c.outputs == 1:
        made = getattr(samepad, f"SamePadMaxPool{len(kernel)}d")
        return c.b.module(c.name, made(one(kernel), **options), c[0])
    pooled = c.b.call(ops.max_pool_with_indices, c[0], tuple(kernel), **options)
    return [c.b.call(operator.getitem, pooled, i) for i in range(2)]


def average_pool(c: Call) -> Any:
    """AveragePool."""
    kernel = _kernel(c)
    if any(d != 1 for d in c.get("dilations", [1])):
        raise UnsupportedError(f"dilations={c.get('dilations')}, which PyTorch's pools have not")
    made = getattr(samepad, f"SamePadAvgPool{len(kernel)}d")
    module = made(
        one(kernel),
        stride=one(_numbers(c, "strides", len(kernel), 1)),
        padding=_padding(c, len(kernel), kernel),
        ceil_mode=bool(c.get("ceil_mode", 0)),
        count_include_pad=bool(c.get("count_include_pad", 0)),
    )
    return c.b.module(c.name, module, c[0])


def gemm(c: Call) -> Any:
    """Gemm: alpha A B + beta C, nn.Linear where it is one."""
    alpha, beta = c.get("alpha", 1.0), c.get("beta", 1.0)
    weights = c.weights(1, 2)
    c.expect(0, 0 if c.get("transA", 0) else 1, c.size(1, 1 if c.get("transB", 0) else 0))
    bias_is_plain = c[2] is None or (isinstance(c[2], Tensor) and c[2].dim() == 1)
    floating = c.is_floating(1)  # ONNX multiplies integers too, nn.Linear does not
    plain = alpha == 1 and beta == 1 and not c.get("transA", 0) and bias_is_plain
    if weights and floating and plain:
        weight, bias = weights
        assert weight is not None
        weight = weight if c.get("transB", 0) else weight.T
        if bias is None or bias.shape[0] == weight.shape[0]:
            return _linear(c, weight, bias)
    a = c.b.call(torch.t, c[0]) if c.get("transA", 0) else c[0]
    b = c.b.call(torch.t, c[1]) if c.get("transB", 0) else c[1]
    product = c.b.call(torch.matmul, a, b)
    if alpha != 1:
        product = c.b.call(torch.mul, product, alpha)
    if c[2] is None:
        return product
    added = c[2] if beta == 1 else c.b.call(torch.mul, c[2], beta)
    return c.b.call(torch.add, product, added)


def _linear(c: Call, weight: Tensor, bias: Tensor | None) -> Any:
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    return c.b.module(c.name, loaded(module, weight=weight, bias=bias), c[0])


def add(c: Call) -> Any:
    """Add: the bias of the nn.Linear before it, which exporters write as two nodes, where it is."""
    for product, bias in (c.given[:2], c.given[1::-1]):
        if isinstance(product, fx.Node) and isinstance(bias, Tensor) and product.meta.get("once"):
            layer = product.op == "call_module" and c.b.root.get_submodule(str(product.target))
            if isinstance(layer, nn.Linear) and layer.bias is None and _is_bias(bias, layer):
                layer.bias = nn.Parameter(bias.clone())
                return product
    return c.b.call(operator.add, c[0], c[1])


def _is_bias(bias: Tensor, layer: nn.Linear) -> bool:
    return bias.shape == (layer.out_features,) and bias.dtype == layer.weight.dtype


def mat_mul(c: Call) -> Any:
    """MatMul: nn.Linear where the second is a constant matrix of floats."""
    weight = c[1]
    c.expect(0, -1, c.size(1, 0 if c.rank(1) == 1 else -2))
    if isinstance(weight, Tensor) and weight.dim() == 2 and weight.is_floating_point():
        return _linear(c, weight.T, None)
    return c.b.call(operator.matmul, c[0], c[1])
