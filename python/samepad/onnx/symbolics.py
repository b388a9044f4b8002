"""Exports samepad's operators by torch.onnx.export(dynamo=False), with explicit padding.

Where the export leaves sizes open (dynamic_axes), the graph computes the padding, from opset 11 on.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.onnx import errors, symbolic_helper
from torch.onnx._internal.torchscript_exporter import symbolic_opset9
from torch.onnx._internal.torchscript_exporter._globals import GLOBALS
from torch.onnx._internal.torchscript_exporter.utils import register_custom_op_symbolic

from samepad import same_padding

#: A known number, or a value of the graph, a tensor with that one number.
Number = Any
#: How much to add before and after one dimension.
Pair = tuple[Number, Number]

_FILLS = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _opset() -> int:
    return int(GLOBALS.export_onnx_opset_version)


class _Graph:
    """Writes the operators of the graph for one call of an operator of samepad."""

    def __init__(self, g: Any, input: Any, dimensions: int) -> None:
        """Begin with an input, and add a batch dimension to it if it has none."""
        self.g = g
        sizes = symbolic_helper._get_tensor_sizes(input)
        if sizes is None:
            raise errors.SymbolicValueError(
                "samepad has to know how many dimensions its input has: export a traced module, or "
                "give torch.jit.trace an example",
                input,
            )
        self.batched = len(sizes) == dimensions + 2
        self.input = input if self.batched else symbolic_helper._unsqueeze_helper(g, input, [0])
        self.sizes: list[int | None] = list(sizes[-dimensions:])
        self.first = 2

    def constant(self, value: Any, dtype: torch.dtype = torch.int64) -> Any:
        """Write a constant tensor."""
        return self.g.op("Constant", value_t=torch.tensor(value, dtype=dtype))

    def number(self, value: Number) -> Any:
        """Return a number as a tensor with one element."""
        return self.constant([value]) if isinstance(value, int) else value

    def size(self, tensor: Any, axis: int) -> Any:
        """Write the size of a tensor along an axis, as a tensor with one element."""
        return self.g.op("Gather", self.g.op("Shape", tensor), self.constant([axis]), axis_i=0)

    def output(self, value: Any) -> Any:
        """Return the result, without the batch dimension if the input had none."""
        return value if self.batched else symbolic_helper._squeeze_helper(self.g, value, [0])

    def pairs(
        self,
        padding: Any,
        kernel: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
    ) -> list[Pair]:
        """Return the amounts for each dimension, from a mode or from amounts of any form."""
        count = len(kernel)
        if not isinstance(padding, str):
            if len(padding) == 2 * count and len(padding) > count:
                return list(zip(padding[::2], padding[1::2], strict=True))
            each = list(padding) * (count // len(padding))
            return [(amount, amount) for amount in each]
        return [
            self._pair(mode, axis, kernel[axis], stride[axis], dilation[axis])
            for axis, mode in enumerate(_modes(padding, count))
        ]

    def _pair(self, mode: str, axis: int, kernel: int, stride: int, dilation: int) -> Pair:
        size = self.sizes[axis]
        if size is not None or stride == 1 or mode in ("valid", "causal"):
            # With stride 1 the amounts do not depend on the size.
            ((before, after),) = same_padding((size or 1,), kernel, stride, dilation, mode)
            return before, after
        extent = (kernel - 1) * dilation + 1
        last = self.g.op("Sub", self.size(self.input, self.first + axis), self.constant([1]))
        rest = self.g.op("Mod", last, self.constant([stride]))
        total = self.g.op("Sub", self.constant([extent - 1]), rest)
        if extent < stride:  # max(total, 0), for which Max takes no integers before opset 12
            floats = self.g.op("Cast", total, to_i=torch.onnx.TensorProtoDataType.FLOAT)
            total = self.g.op(
                "Cast", self.g.op("Relu", floats), to_i=torch.onnx.TensorProtoDataType.INT64
            )
        less = self.g.op("Div", total, self.constant([2]))
        more = self.g.op("Sub", total, less)
        return (more, less) if mode == "same_lower" else (less, more)

    def pad(self, pairs: list[Pair], fill: str, value: float | None = 0.0) -> Any:
        """Write the input padded by `pairs` in its last dimensions."""
        if all(pair == (0, 0) for pair in pairs):
            return self.input
        known = all(isinstance(amount, int) for pair in pairs for amount in pair)
        if not known and _opset() < 11:
            raise errors.SymbolicValueError(
                "samepad computes pads for sizes that are left open from opset 11 on: export with "
                "opset_version=11 or later, or without dynamic_axes for spatial dimensions",
                self.input,
            )
        if fill == "circular" and _opset() < 19:
            if not known:
                raise errors.SymbolicValueError(
                    "circular padding for sizes that are left open takes opset_version=19 or later",
                    self.input,
                )
            flat = [amount for pair in reversed(pairs) for amount in pair]
            return symbolic_opset9._pad_circular(self.g, self.input, self.constant(flat))
        unpadded = [0] * self.first
        amounts = [*unpadded, *(p[0] for p in pairs), *unpadded, *(p[1] for p in pairs)]
        mode = _FILLS[fill]
        if _opset() < 11:
            return self.g.op("Pad", self.input, pads_i=amounts, mode_s=mode, value_f=value or 0.0)
        pads = (
            self.constant(amounts)
            if known
            else self.g.op("Concat", *map(self.number, amounts), axis_i=0)
        )
        if mode != "constant":
            return self.g.op("Pad", self.input, pads, mode_s=mode)
        dtype = _dtype(self.input)
        filled = self.constant(0 if value is None else value, dtype)
        return self.g.op("Pad", self.input, pads, filled, mode_s=mode)


def _dtype(value: Any) -> torch.dtype:
    """Return a value's type, or float32 if the exporter does not know it."""
    name = value.type().scalarType()
    names = {"Float": "float32", "Double": "float64", "Half": "float16", "Long": "int64"}
    names |= {"Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8"}
    return getattr(torch, names.get(name, "bfloat16" if name == "BFloat16" else "float32"))  # type: ignore[no-any-return]


def _numbers(value: Any, dimensions: int) -> list[int]:
    """Return a constant argument as one number per dimension; a single one is repeated."""
    found: list[int] = symbolic_helper._parse_arg(value, "is")
    return found * dimensions if len(found) == 1 else found


def _modes(text: str, dimensions: int) -> list[str]:
    """Return the mode of each dimension from the text that the operators take."""
    modes = text.split(", ")
    return modes * dimensions if len(modes) == 1 else modes


def _rounds_up(padding: Any) -> bool:
    """Whether ceil_mode changes sizes, which those of the SAME modes do not depend on."""
    return not isinstance(padding, str) or "valid" in padding.split(", ")


def _padding(value: Any) -> Any:
    """Return the argument `padding`: the text of modes, or a list of amounts."""
    node = value.node()
    is_mode = node.kind() == "onnx::Constant" and node.kindOf("value") == "s"
    return symbolic_helper._parse_arg(value, "s" if is_mode else "is")


def _flag(value: Any) -> bool:
    return bool(symbolic_helper._parse_arg(value, "b"))


def _extents(kernel: list[int], dilation: list[int]) -> list[int]:
    return [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]


def _flat(pairs: list[Pair]) -> list[int]:
    """Return ONNX's order: the amounts before all dimensions, then those after them."""
    return [*(pair[0] for pair in pairs), *(pair[1] for pair in pairs)]


def _is_plain(pairs: list[Pair]) -> bool:
    """Whether the attribute `pads` of ONNX's operators can hold the amounts."""
    return all(isinstance(amount, int) and amount >= 0 for pair in pairs for amount in pair)


def _kernel(weight: Any) -> list[int]:
    sizes = symbolic_helper._get_tensor_sizes(weight)
    if sizes is None or None in sizes:
        raise errors.SymbolicValueError("samepad has to know the size of its weight", weight)
    return list(sizes[2:])


def _inputs(input: Any, weight: Any, bias: Any) -> list[Any]:
    return [input, weight] if symbolic_helper._is_none(bias) else [input, weight, bias]


def _conv(
    dimensions: int,
    g: Any,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    padding_mode: Any,
) -> Any:
    graph, kernel = _Graph(g, input, dimensions), _kernel(weight)
    strides, dilations = _numbers(stride, dimensions), _numbers(dilation, dimensions)
    pairs = graph.pairs(_padding(padding), kernel, strides, dilations)
    fill = symbolic_helper._parse_arg(padding_mode, "s")
    own = fill == "zeros" and _is_plain(pairs)
    padded = graph.input if own else graph.pad(pairs, "constant" if fill == "zeros" else fill)
    result = g.op(
        "Conv",
        *_inputs(padded, weight, bias),
        kernel_shape_i=kernel,
        strides_i=strides,
        dilations_i=dilations,
        pads_i=_flat(pairs) if own else [0] * 2 * dimensions,
        group_i=symbolic_helper._parse_arg(groups, "i"),
    )
    return graph.output(result)


def _conv_transpose(
    dimensions: int,
    g: Any,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
    output_size: Any,
) -> Any:
    graph, kernel = _Graph(g, input, dimensions), _kernel(weight)
    strides, dilations = _numbers(stride, dimensions), _numbers(dilation, dimensions)
    extents, mode = _extents(kernel, dilations), _padding(padding)
    extra = _numbers(output_padding, dimensions)
    sizes = None if symbolic_helper._is_none(output_size) else _numbers(output_size, dimensions)
    if isinstance(mode, str) and set(_modes(mode, dimensions)) != {"valid"}:
        pairs = []
        each = zip(strides, extents, _modes(mode, dimensions), strict=True)
        for axis, (s, e, own) in enumerate(each):
            if own == "valid":
                extra[axis] = extra[axis] if sizes is None else (sizes[axis] - e) % s
                pairs.append((0, 0))
                continue
            # A given output size implies the input's, so the latter may be open.
            more = 0 if sizes is None else -sizes[axis] % s
            cropped, extra[axis] = max(e - s + more, 0), max(s - e - more, 0)
            less = cropped // 2
            pairs.append((cropped - less, less) if own == "same_lower" else (less, cropped - less))
    else:
        pairs = graph.pairs(mode, kernel, strides, dilations)
        if sizes is not None:
            extra = [
                (m - e + before + after) % s
                for m, e, s, (before, after) in zip(sizes, extents, strides, pairs, strict=True)
            ]
    result = g.op(
        "ConvTranspose",
        *_inputs(graph.input, weight, bias),
        kernel_shape_i=kernel,
        strides_i=strides,
        dilations_i=dilations,
        pads_i=_flat(pairs),
        output_padding_i=extra,
        group_i=symbolic_helper._parse_arg(groups, "i"),
    )
    return graph.output(result)


def _with_ceil(
    graph: _Graph, pairs: list[Pair], extents: list[int], strides: list[int]
) -> list[Pair]:
    """Extend the amounts so that ONNX, which rounds sizes down, gives PyTorch's ceil_mode.

    PyTorch leaves out a window that would start in the padding after the input.
    """
    result = []
    for size, (before, after), e, s in zip(graph.sizes, pairs, extents, strides, strict=True):
        if size is None:
            raise errors.SymbolicValueError(
                "ceil_mode with amounts takes sizes that are known: export without dynamic_axes "
                "for spatial dimensions, or pool with padding='same'",
                graph.input,
            )
        count = -((e - size - before - after) // s) + 1
        if (count - 1) * s >= size + before:
            count -= 1
        result.append((before, (count - 1) * s + e - size - before))
    return result


def _max_pool(
    dimensions: int,
    indices: bool,
    g: Any,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: Any,
) -> Any:
    graph, kernel = _Graph(g, input, dimensions), _numbers(kernel_size, dimensions)
    strides = _numbers(stride, dimensions) or kernel
    dilations, mode = _numbers(dilation, dimensions), _padding(padding)
    pairs, extents = graph.pairs(mode, kernel, strides, dilations), _extents(kernel, dilations)
    if _flag(ceil_mode) and _rounds_up(mode):
        pairs = _with_ceil(graph, pairs, extents, strides)
    # ONNX Runtime accepts only amounts smaller than the kernel.
    own = _is_plain(pairs) and all(max(p) < k for p, k in zip(pairs, kernel, strict=True))
    dtype = _dtype(graph.input)
    lowest = -math.inf if dtype.is_floating_point else torch.iinfo(dtype).min
    padded = graph.input if own else graph.pad(pairs, "constant", lowest)
    options: dict[str, Any] = {"dilations_i": dilations} if _opset() >= 10 else {}
    if _opset() < 10 and max(dilations) > 1:
        raise errors.SymbolicValueError("dilation takes opset_version=10 or later", input)
    pooled = g.op(
        "MaxPool",
        padded,
        outputs=2 if indices else 1,
        kernel_shape_i=kernel,
        strides_i=strides,
        pads_i=_flat(pairs) if own else [0] * 2 * dimensions,
        **options,
    )
    if not indices:
        return graph.output(pooled)
    values, places = pooled
    places = _in_plane(graph, places, padded, pairs if not own else [(0, 0)] * dimensions)
    return graph.output(values), graph.output(places)


def _in_plane(graph: _Graph, places: Any, padded: Any, pairs: list[Pair]) -> Any:
    """Convert ONNX's indices, which count over batch and channels, to positions in a plane."""
    g, total, weight = graph.g, None, graph.constant([1])
    for axis in reversed(range(len(pairs))):
        size = graph.size(padded, graph.first + axis)
        place = g.op("Mod", places, size)
        place = g.op("Sub", place, graph.number(pairs[axis][0]))
        place = g.op("Mul", place, weight)
        total = place if total is None else g.op("Add", total, place)
        weight = g.op("Mul", weight, graph.size(graph.input, graph.first + axis))
        places = g.op("Div", places, size)
    return total


def _avg_pool(
    dimensions: int,
    g: Any,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: Any,
    count_include_pad: Any,
    divisor_override: Any = None,
) -> Any:
    graph, kernel = _Graph(g, input, dimensions), _numbers(kernel_size, dimensions)
    strides, mode = _numbers(stride, dimensions) or kernel, _padding(padding)
    ones, nothing = [1] * dimensions, [(0, 0)] * dimensions
    pairs = graph.pairs(mode, kernel, strides, ones)
    counts = not isinstance(mode, str)
    if not symbolic_helper._is_none(count_include_pad):
        counts = _flag(count_include_pad)
    rounded = pairs
    if _flag(ceil_mode) and _rounds_up(mode):
        rounded = _with_ceil(graph, pairs, kernel, strides)

    def pooled(tensor: Any, around: list[Pair]) -> Any:
        return g.op(
            "AveragePool",
            tensor,
            kernel_shape_i=kernel,
            strides_i=strides,
            pads_i=_flat(around),
            count_include_pad_i=0,
        )

    if divisor_override is not None and not symbolic_helper._is_none(divisor_override):
        divisor = symbolic_helper._parse_arg(divisor_override, "i")
        mean = pooled(graph.pad(rounded, "constant"), nothing)
        factor = graph.constant(math.prod(kernel) / divisor, _dtype(graph.input))
        return graph.output(g.op("Mul", mean, factor))
    if counts and rounded is pairs:
        return graph.output(pooled(graph.pad(pairs, "constant"), nothing))
    if counts:
        # Elements that ceil_mode adds beyond the given padding do not count.
        ends = [(p[1], r[1]) for p, r in zip(pairs, rounded, strict=True)]
        real = [(p[0], min(end)) for p, end in zip(pairs, ends, strict=True)]
        beyond = [(0, max(end[1] - end[0], 0)) for end in ends]
        return graph.output(pooled(graph.pad(real, "constant"), beyond))
    if _is_plain(rounded) and all(max(p) < k for p, k in zip(rounded, kernel, strict=True)):
        return graph.output(pooled(graph.input, rounded))
    sums = pooled(graph.pad(rounded, "constant"), nothing)
    sizes = [graph.size(graph.input, graph.first + axis) for axis in range(dimensions)]
    shape = g.op("Concat", graph.constant([1, 1]), *sizes, axis_i=0)
    graph.input = g.op("ConstantOfShape", shape, value_t=torch.ones(1, dtype=_dtype(graph.input)))
    share = pooled(graph.pad(rounded, "constant"), nothing)
    return graph.output(g.op("Div", sums, share))


def _pad(
    g: Any,
    input: Any,
    kernel_size: Any,
    stride: Any,
    dilation: Any,
    padding: Any,
    mode: Any,
    value: Any,
) -> Any:
    sizes = symbolic_helper._get_tensor_sizes(input)
    rank = 3 if sizes is None else len(sizes)
    kernel = _numbers(kernel_size, max(rank - 2, 1))
    graph = _Graph(g, input, len(kernel))
    graph.batched, graph.input, graph.first = True, input, rank - len(kernel)
    strides, dilations = _numbers(stride, len(kernel)), _numbers(dilation, len(kernel))
    pairs = graph.pairs(_padding(padding), kernel, strides, dilations)
    fill = symbolic_helper._parse_arg(mode, "s")
    filled = None
    if not symbolic_helper._is_none(value):
        filled = symbolic_helper._parse_arg(value, "f")
    return graph.pad(pairs, fill, filled)


@functools.cache
def register() -> None:
    """Register all operators of samepad for torch.onnx.export(dynamo=False)."""
    symbolics: dict[str, Callable[..., Any]] = {"pad": _pad}
    for d in (1, 2, 3):
        symbolics |= {
            f"conv{d}d": functools.partial(_conv, d),
            f"conv_transpose{d}d": functools.partial(_conv_transpose, d),
            f"max_pool{d}d": functools.partial(_max_pool, d, False),
            f"max_pool{d}d_with_indices": functools.partial(_max_pool, d, True),
            f"avg_pool{d}d": functools.partial(_avg_pool, d),
        }
    for name, symbolic in symbolics.items():
        register_custom_op_symbolic(f"samepad::{name}", symbolic, 9)
