"""Rules for convolutions, pools and matrix products, which become layers where possible."""

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
    """Return an attribute that is a list of `count` numbers.

    Raises:
        UnsupportedError: It has more or fewer numbers.
    """
    found = list(c.get(name, [default] * count))
    if len(found) != count:
        raise UnsupportedError(f"{name}={found}, expected {count} numbers")
    return found


def _padding(c: Call, dimensions: int, kernel: Any = None) -> Any:
    """Return the node's padding as samepad's layers take it: a mode, amounts or pairs.

    Args:
        c: The node.
        dimensions: The number of spatial dimensions.
        kernel: The kernel size of a pool. PyTorch limits a pool's amounts to half of it, so larger
            ones become (before, after) pairs, which samepad does not limit so.

    Raises:
        UnsupportedError: auto_pad is not one of ONNX's values, or there are not two pads for each
            dimension.
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
    """Whether a padding needs samepad's layers: torch.nn's take neither modes nor pairs."""
    return isinstance(padding, str) or (isinstance(padding, tuple) and type(padding[0]) is tuple)


def _steps(c: Call, dimensions: int) -> dict[str, Any]:
    return {
        "stride": one(_numbers(c, "strides", dimensions, 1)),
        "dilation": one(_numbers(c, "dilations", dimensions, 1)),
    }


def loaded(module: nn.Module, **weights: Tensor | None) -> nn.Module:
    """Copy weights into a module, which gets their type, and return the module.

    Raises:
        UnsupportedError: The shape of a weight is not the one in the module.
    """
    present = {name: value for name, value in weights.items() if value is not None}
    module.to(next(iter(present.values())).dtype)
    own = module.state_dict()
    with torch.no_grad():
        for name, value in present.items():
            if own[name].shape != value.shape:  # copy_ would broadcast
                shapes = f"{tuple(value.shape)}, expected {tuple(own[name].shape)}"
                raise UnsupportedError(f"{name} has shape {shapes}")
            own[name].copy_(value)
    return module


def _dimensions(c: Call) -> int:
    """Return the number of spatial dimensions of a convolution.

    If neither the inputs nor the attributes tell, this is 1, because then no attribute has a number
    for each dimension.

    Raises:
        UnsupportedError: The input and the weight have different numbers of dimensions, or PyTorch
            has no such layer.
    """
    rank = c.rank(1) or c.rank(0)
    if rank is not None:
        return _checked(c, rank - 2)
    return (
        len(c.get("kernel_shape", ())) or len(c.get("pads", ())) // 2 or len(c.get("strides", (1,)))
    )


def _checked(c: Call, dimensions: int) -> int:
    """Check that PyTorch has layers for this number of spatial dimensions and the input has it.

    Raises:
        UnsupportedError: That is not the case.
    """
    if dimensions not in (1, 2, 3):
        raise UnsupportedError(f"{dimensions} spatial dimensions, expected 1, 2 or 3")
    rank = c.rank(0)
    if rank not in (None, dimensions + 2):
        raise UnsupportedError(f"input 0 has {rank} dimensions, expected {dimensions + 2}")
    return dimensions


def _kernel(c: Call) -> list[int]:
    """Return a pool's kernel size for each spatial dimension.

    Raises:
        UnsupportedError: The input has another number of dimensions, or PyTorch has no such pool.
    """
    kernel = list(c.get("kernel_shape"))
    _checked(c, len(kernel))
    return kernel


def conv_options(c: Call, input: int, weight: int) -> dict[str, Any]:
    """Return padding, stride, dilation and groups of a convolution that becomes a function.

    Raises:
        UnsupportedError: The attributes or sizes do not fit each other.
    """
    rank = c.rank(weight) or c.rank(input)
    if rank is None:
        raise UnsupportedError("a weight of unknown rank")
    if rank not in (3, 4, 5) or c.rank(input) not in (None, rank):
        raise UnsupportedError(f"{rank - 2} spatial dimensions, expected 1, 2 or 3, of both inputs")
    groups, channels = c.get("group", 1), c.size(weight, 1)
    c.expect(input, 1, channels and channels * groups)
    padding = _padding(c, rank - 2)
    return {"padding": padding, "groups": groups, **_steps(c, rank - 2)}


def conv(c: Call) -> Any:
    """Conv: becomes a layer, or a function if the model computes the weight."""
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
    """ConvTranspose: a layer, or a function if the weight is computed or a size is given."""
    dimensions = _dimensions(c)
    padding, groups = _padding(c, dimensions), c.get("group", 1)
    extra = _numbers(c, "output_padding", dimensions, 0)
    steps = _steps(c, dimensions)
    inputs, outputs = c.size(1, 0), c.size(1, 1)
    c.expect(0, 1, inputs)
    c.expect(2, 0, outputs and outputs * groups)
    weights = c.weights(1, 2)
    sizes = c.get("output_shape")
    # With auto_pad, the output's size does not depend on output_padding, but the pads do.
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
    """MaxPool: as in ONNX, indices are positions in the whole flattened tensor."""
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
    """AveragePool: becomes a layer."""
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


def lp_pool(c: Call) -> Any:
    """LpPool: a function; before opset 18 it had no dilation."""
    c.refuse(ceil_mode=0)
    kernel = _kernel(c)
    return c.b.call(
        ops.lp_pool,
        c[0],
        tuple(kernel),
        float(c.get("p", 2)),
        padding=_padding(c, len(kernel)),
        **_steps(c, len(kernel)),
    )


def gemm(c: Call) -> Any:
    """Gemm, alpha A B + beta C: becomes nn.Linear if it computes nothing else."""
    alpha, beta = c.get("alpha", 1.0), c.get("beta", 1.0)
    weights = c.weights(1, 2)
    c.expect(0, 0 if c.get("transA", 0) else 1, c.size(1, 1 if c.get("transB", 0) else 0))
    bias_is_plain = c[2] is None or (isinstance(c[2], Tensor) and c[2].dim() == 1)
    floating = c.is_floating(1)  # nn.Linear does not multiply integers, as ONNX does
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
    """Add: becomes the bias of the nn.Linear before it if it is one; exporters split these."""
    for product, bias in (c.given[:2], c.given[1::-1]):
        if c.b.repeated is not None:  # the iterations of a loop share the layer
            break
        if isinstance(product, fx.Node) and isinstance(bias, Tensor) and product.meta.get("once"):
            layer = product.op == "call_module" and c.b.root.get_submodule(str(product.target))
            if isinstance(layer, nn.Linear) and layer.bias is None and _is_bias(bias, layer):
                layer.bias = nn.Parameter(bias.clone())
                return product
    return c.b.call(operator.add, c[0], c[1])


def _is_bias(bias: Tensor, layer: nn.Linear) -> bool:
    return bias.shape == (layer.out_features,) and bias.dtype == layer.weight.dtype


def mat_mul(c: Call) -> Any:
    """MatMul: becomes nn.Linear if the second input is a constant matrix of floats."""
    weight = c[1]
    c.expect(0, -1, c.size(1, 0 if c.rank(1) == 1 else -2))
    if isinstance(weight, Tensor) and weight.dim() == 2 and weight.is_floating_point():
        return _linear(c, weight.T, None)
    return c.b.call(operator.matmul, c[0], c[1])
