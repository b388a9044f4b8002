"""Other libraries' transposed convolutions and pools, and the cases for which each is right.

As in oracles.py, arrays are float64 and in PyTorch's layouts, and `X_is_sound(case)` is false for
arguments that library X refuses or for which it is known to compute something else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import keras
import naive
import numpy as np
import onnxruntime
import tensorflow as tf
from onnx import TensorProto, helper
from oracles import AUTO_PADS, JAX_LAYOUTS, Array, Gradients, compiled, cotangent

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Transposed:
    """Shapes and parameters of one transposed convolution."""

    batch: int
    groups: int
    in_per_group: int
    out_per_group: int
    bias: bool
    sizes: Shape
    kernel: Shape
    stride: Shape
    dilation: Shape
    padding: str | tuple[naive.Pair, ...]
    #: In the SAME modes, how much smaller than n s the output is; otherwise the `output_padding`.
    change: Shape

    @property
    def dimensions(self) -> int:
        return len(self.sizes)

    @property
    def input_shape(self) -> Shape:
        return (self.batch, self.groups * self.in_per_group, *self.sizes)

    @property
    def weight_shape(self) -> Shape:
        return (self.groups * self.in_per_group, self.out_per_group, *self.kernel)

    @property
    def extents(self) -> Shape:
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def is_same(self) -> bool:
        return self.padding in ("same", "same_lower")

    @property
    def output_sizes(self) -> Shape:
        axes = zip(self.sizes, self.stride, self.change, strict=True)
        if self.is_same:
            return tuple(n * s - less for n, s, less in axes)
        cropped = [(0, 0)] * self.dimensions if isinstance(self.padding, str) else self.padding
        return tuple(
            (n - 1) * s + e - sum(pair) + more
            for (n, s, more), e, pair in zip(axes, self.extents, cropped, strict=True)
        )

    @property
    def output_shape(self) -> Shape:
        return (self.batch, self.groups * self.out_per_group, *self.output_sizes)

    @property
    def ends_in_bias(self) -> bool:
        """Whether e < s, so that the n s output elements are more than the kernels cover."""
        return any(e < s for e, s in zip(self.extents, self.stride, strict=True))


@dataclass(frozen=True)
class Pool:
    """Shapes and parameters of one pool."""

    maximum: bool
    batch: int
    channels: int
    sizes: Shape
    kernel: Shape
    stride: Shape
    dilation: Shape
    padding: str | tuple[naive.Pair, ...]
    ceil_mode: bool = False
    count_include_pad: bool = False

    @property
    def dimensions(self) -> int:
        return len(self.sizes)

    @property
    def input_shape(self) -> Shape:
        return (self.batch, self.channels, *self.sizes)

    @property
    def is_same(self) -> bool:
        return self.padding in ("same", "same_lower")

    @property
    def skips_elements(self) -> bool:
        """Whether k < s, where some libraries pad by (o - 1) s + k - n even if that is negative."""
        return any(k < s for k, s in zip(self.kernel, self.stride, strict=True))


def _channels_last(array: Array) -> Array:
    return np.moveaxis(array, 1, -1)


def _channels_first(output: Any) -> Array:
    return np.moveaxis(output.numpy(), -1, 1)


# Transposed convolutions


def _jax_transposed(case: Transposed) -> Callable[..., jax.Array]:
    padding = case.padding.upper() if isinstance(case.padding, str) else case.padding

    def convolve(image: jax.Array, weight: Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            image,
            weight,
            case.stride,
            padding,
            rhs_dilation=case.dilation,
            dimension_numbers=JAX_LAYOUTS[case.dimensions],
            feature_group_count=case.groups,
        )

    def transposed(input: Array, weight: Array, bias: Array | None) -> jax.Array:
        image = jax.numpy.zeros(case.output_shape, input.dtype)
        _, pull_back = jax.vjp(lambda image: convolve(image, weight), image)
        (output,) = pull_back(input)
        return output if bias is None else output + bias.reshape(-1, *[1] * case.dimensions)

    return transposed


def jax_transposed_and_gradients(
    case: Transposed, input: Array, weight: Array, bias: Array | None
) -> tuple[Array, Gradients]:
    """Return the gradient of lax.conv_general_dilated, and the gradients of that gradient."""

    def run(*arrays: Array | None) -> tuple[Any, Any]:
        output, pull_back = jax.vjp(_jax_transposed(case), *arrays)
        return output, pull_back(cotangent(output.shape))

    return jax.tree.map(np.asarray, compiled(run)(input, weight, bias))


def tensorflow_transposed_is_sound(case: Transposed) -> bool:
    return case.padding in ("same", "valid") and case.groups == 1 and max(case.dilation) == 1


def tensorflow_transposed(
    case: Transposed, input: Array, weight: Array, bias: Array | None
) -> Array:
    """Compute tf.nn.conv_transpose on the CPU, NHWC, with the `output_shape`.

    Out of bounds: SAME_LOWER and explicit amounts, which it does not have; dilation ("Current CPU
    implementations do not yet support dilation rates larger than 1"); groups ("Gradients for
    grouped convolutions are not supported on CPU").
    """
    shape = (case.batch, *case.output_sizes, case.groups * case.out_per_group)
    output = tf.nn.conv_transpose(
        _channels_last(input),
        # The kernel's dimensions, then O, then C.
        np.moveaxis(weight, (0, 1), (-1, -2)),
        shape,
        case.stride,
        case.padding.upper(),
        dilations=case.dilation,
    )
    return _channels_first(output if bias is None else output + bias)


def _run_onnx(
    operator: str, arrays: dict[str, Array], outputs: list[str], **attributes: Any
) -> Any:
    """Return the outputs of a model of one node, in float32."""
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    node = helper.make_node(operator, list(arrays), outputs, **attributes)
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in arrays]
    types = {"indices": TensorProto.INT64}
    results = [
        helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), None)
        for name in outputs
    ]
    # As in oracles.py, but opset 19, from which on AveragePool has dilations and rounds correctly.
    model = helper.make_model(
        helper.make_graph([node], operator, inputs, results),
        opset_imports=[helper.make_opsetid("", 19)],
        ir_version=9,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, arrays)


def _onnx_padding(padding: str | tuple[naive.Pair, ...]) -> dict[str, Any]:
    if isinstance(padding, str):
        return {"auto_pad": AUTO_PADS[padding]}
    return {"pads": [amount for side in zip(*padding, strict=True) for amount in side]}


def onnxruntime_transposed_is_sound(case: Transposed) -> bool:
    return 0 not in case.sizes


def onnxruntime_transposed(
    case: Transposed, input: Array, weight: Array, bias: Array | None
) -> Array:
    """Run ONNX Runtime's ConvTranspose on the CPU, with `auto_pad` for a mode.

    It computes in float32. Out of bounds: empty sizes ("Computed output dimension is <= 0"). If the
    extent of the kernel is less than the stride, the output of SAME without an `output_shape` ends
    after (n - 1) s + e elements rather than n s, so there the `output_shape` is given.
    """
    needs_shape = any(case.change) or case.ends_in_bias
    attributes: dict[str, Any] = {"output_padding": case.change}
    if case.is_same:
        attributes = {"output_shape": case.output_sizes} if needs_shape else {}
    arrays = {"input": input, "weight": weight, **({} if bias is None else {"bias": bias})}
    (output,) = _run_onnx(
        "ConvTranspose",
        arrays,
        ["output"],
        strides=case.stride,
        dilations=case.dilation,
        group=case.groups,
        **_onnx_padding(case.padding),
        **attributes,
    )
    return output


# Pools


def _jax_pool(case: Pool) -> Callable[[Array], jax.Array]:
    padding = (
        case.padding.upper() if isinstance(case.padding, str) else ((0, 0),) * 2 + case.padding
    )

    def reduce(input: Any, start: float, function: Any) -> Any:
        return jax.lax.reduce_window(
            input,
            start,
            function,
            (1, 1, *case.kernel),
            (1, 1, *case.stride),
            padding,
            window_dilation=(1, 1, *case.dilation),
        )

    def pool(input: Array) -> Any:
        if case.maximum:
            return reduce(input, -np.inf, jax.lax.max)
        total = reduce(input, 0.0, jax.lax.add)
        if case.count_include_pad:
            return total / math.prod(case.kernel)
        return total / reduce(np.ones(input.shape), 0.0, jax.lax.add)

    return pool


def jax_pool(case: Pool, input: Array) -> Array:
    """Compute lax.reduce_window: maxima, or sums over sums of ones. It has no `ceil_mode`."""
    return np.asarray(compiled(_jax_pool(case))(input))


def jax_pool_gradient_is_sound(case: Pool) -> bool:
    return max(case.dilation) == 1


def jax_pool_and_gradient(case: Pool, input: Array) -> tuple[Array, Array]:
    """Return the output of `jax_pool`, and the input's gradient for the output's `cotangent`.

    Out of bounds: dilation, for which JAX's maxima have no gradient.
    """

    def run(input: Array) -> tuple[Any, Any]:
        output, pull_back = jax.vjp(_jax_pool(case), input)
        return output, *pull_back(cotangent(output.shape))

    return jax.tree.map(np.asarray, compiled(run)(input))


def _is_tensorflow_pool(case: Pool) -> bool:
    plain = not case.ceil_mode and not case.count_include_pad
    return plain and case.padding in ("same", "valid")


def _for_tensorflow(case: Pool, input: Array) -> Array:
    # TensorFlow has no float64 kernel for three dimensions.
    return _channels_last(input).astype(np.float64 if case.dimensions < 3 else np.float32)


def tensorflow_pool_is_sound(case: Pool) -> bool:
    shifted = case.is_same and case.skips_elements and case.dimensions == 3
    return _is_tensorflow_pool(case) and max(case.dilation) == 1 and not shifted


def tensorflow_pool(case: Pool, input: Array) -> Array:
    """Compute tf.nn.max_pool or avg_pool on the CPU, NHWC, float32 in three dimensions.

    Out of bounds: SAME_LOWER and explicit amounts, `ceil_mode`, `count_include_pad` and dilation,
    which they do not have; SAME with k < s in three dimensions, where the padding may be negative.
    """
    pool = tf.nn.max_pool if case.maximum else tf.nn.avg_pool
    padding = str(case.padding).upper()
    return _channels_first(pool(_for_tensorflow(case, input), case.kernel, case.stride, padding))


def tensorflow_dilated_pool_is_sound(case: Pool) -> bool:
    dilated = max(case.dilation) > 1
    if case.skips_elements or (dilated and (case.is_same or max(case.stride) > 1)):
        return False
    return _is_tensorflow_pool(case)


def tensorflow_dilated_pool(case: Pool, input: Array) -> Array:
    """Compute tf.nn.pool on the CPU, NHWC, in float32 in three dimensions.

    Out of bounds: as for `tensorflow_pool`, except dilation; SAME with dilation ("pooling with
    'SAME' padding is not implemented for `dilation_rate` > 1"); a stride with a dilation ("`strides
    > 1` not supported in conjunction with `dilation_rate > 1`"); k < s ("`strides` > `window_shape`
    not supported due to inconsistency between CPU and GPU implementations").
    """
    output = tf.nn.pool(
        _for_tensorflow(case, input),
        case.kernel,
        "MAX" if case.maximum else "AVG",
        case.stride,
        str(case.padding).upper(),
        dilations=case.dilation,
    )
    return _channels_first(output)


def onnxruntime_pool_is_sound(case: Pool) -> bool:
    if 0 in case.sizes:
        return False
    if not isinstance(case.padding, str):
        axes = zip(case.kernel, case.padding, strict=True)
        return all(max(pair) < k for k, pair in axes)
    return not case.is_same or (max(case.dilation) == 1 and not case.skips_elements)


def onnxruntime_max_pool(case: Pool, input: Array) -> tuple[Array, Array]:
    """Run ONNX Runtime's MaxPool on the CPU; its indices count per channel, as PyTorch's do.

    It computes in float32. Out of bounds: SAME with dilation, which it pads as if there were none;
    SAME with k < s, where the padding may be negative; amounts of k or more ("Pad should be smaller
    than kernel", regardless of dilation); empty sizes.
    """
    values, indices = _run_onnx(
        "MaxPool",
        {"input": input},
        ["output", "indices"],
        kernel_shape=case.kernel,
        strides=case.stride,
        dilations=case.dilation,
        ceil_mode=int(case.ceil_mode),
        **_onnx_padding(case.padding),
    )
    return values, indices % math.prod(case.sizes)


def onnxruntime_avg_pool(case: Pool, input: Array) -> Array:
    """Run ONNX Runtime's AveragePool on the CPU, in float32. Out of bounds: as for MaxPool."""
    (output,) = _run_onnx(
        "AveragePool",
        {"input": input},
        ["output"],
        kernel_shape=case.kernel,
        strides=case.stride,
        dilations=case.dilation,
        ceil_mode=int(case.ceil_mode),
        count_include_pad=int(case.count_include_pad),
        **_onnx_padding(case.padding),
    )
    return output


# Keras


def run_keras(layer: keras.layers.Layer, weights: list[Array], input: Array) -> Array:
    """Return the output of a Keras layer that is built with these weights."""
    inputs = _channels_last(input)
    layer.build(inputs.shape)
    layer.set_weights(weights)
    return np.moveaxis(keras.ops.convert_to_numpy(layer(inputs)), -1, 1)


def keras_transposed_is_sound(case: Transposed) -> bool:
    longer = case.padding == "valid" and case.ends_in_bias
    return tensorflow_transposed_is_sound(case) and not any(case.change) and not longer


def keras_transposed(case: Transposed, input: Array, weight: Array, bias: Array | None) -> Array:
    """keras.layers.Conv*DTranspose.

    Out of bounds: as for TensorFlow; other output sizes, which it does not have; "valid" with k <
    s, which gives n s elements, as SAME does, rather than (n - 1) s + k.
    """
    layer = getattr(keras.layers, f"Conv{case.dimensions}DTranspose")(
        case.out_per_group,
        case.kernel,
        case.stride,
        str(case.padding),
        data_format="channels_last",
        use_bias=bias is not None,
        dtype=input.dtype.name,
    )
    kernel = np.moveaxis(weight, (0, 1), (-1, -2))
    return run_keras(layer, [kernel] if bias is None else [kernel, bias], input)
