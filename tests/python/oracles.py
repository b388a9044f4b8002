"""Other libraries' convolutions on NumPy arrays, and the cases for which each is right.

Every `X_conv` takes (conv, input, weight, bias), float64 and in PyTorch's layouts, and returns the
output in PyTorch's layout. `X_is_sound(conv)` is false for arguments that library X refuses or for
which it is known to compute something else. The docstrings call these arguments "out of bounds". If
a library is missing, the import fails, so that no test is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import keras
import naive
import numpy as np
import onnxruntime
import tensorflow as tf
from numpy.typing import NDArray
from onnx import TensorProto, helper

jax.config.update("jax_enable_x64", True)

Array = NDArray[Any]
Gradients = tuple[Array, Array, Array | None]


@dataclass(frozen=True)
class Conv:
    """Shapes and parameters of one convolution."""

    batch: int
    groups: int
    in_per_group: int
    out_per_group: int
    bias: bool
    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: str | tuple[naive.Pair, ...]

    @property
    def dimensions(self) -> int:
        return len(self.sizes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.batch, self.groups * self.in_per_group, *self.sizes)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.groups * self.out_per_group, self.in_per_group, *self.kernel)

    @property
    def pads(self) -> tuple[naive.Pair, ...]:
        """Return (before, after) in each dimension."""
        if not isinstance(self.padding, str):
            return self.padding
        axes = zip(self.sizes, self.kernel, self.stride, self.dilation, strict=True)
        return tuple(naive.pads(self.padding, *axis) for axis in axes)

    @property
    def skips_elements(self) -> bool:
        """Whether k < s, where some libraries pad by (o - 1) s + k - n even if that is negative."""
        return any(k < s for k, s in zip(self.kernel, self.stride, strict=True))


def _channels_last(input: Array, weight: Array) -> tuple[Array, Array]:
    return np.moveaxis(input, 1, -1), np.moveaxis(weight, (0, 1), (-1, -2))


def _strides_and_dilates(conv: Conv) -> bool:
    return max(conv.stride) > 1 and max(conv.dilation) > 1


def tensorflow_is_sound(conv: Conv) -> bool:
    if conv.padding not in ("same", "valid") or _strides_and_dilates(conv):
        return False
    shifted = conv.padding == "same" and conv.skips_elements
    return conv.dimensions < 3 or (conv.groups == 1 and not shifted)


def tensorflow_conv(conv: Conv, input: Array, weight: Array, bias: Array | None) -> Array:
    """Compute tf.nn.convolution on the CPU, NHWC.

    Out of bounds: SAME_LOWER, causal and explicit pads, which it does not have; a stride with a
    dilation, in any two dimensions ("`strides > 1` not supported in conjunction with `dilation_rate
    > 1`"); groups in 3-D ("Number of channels in filter must match last dimension of input"); SAME
    with k < s in 3-D, where the padding may be negative; float32, in which oneDNN's kernels leave
    some outputs unwritten (one input channel, a batch, a stride) and return wrong sizes for empty
    input. tf.nn.depthwise_conv2d is wrong for a stride with a dilation, so it is not used.
    """
    output = tf.nn.convolution(
        *_channels_last(input, weight), conv.stride, conv.padding.upper(), dilations=conv.dilation
    )
    return np.moveaxis(output.numpy() if bias is None else (output + bias).numpy(), -1, 1)


def keras_is_sound(conv: Conv) -> bool:
    return conv.padding == "causal" and not _strides_and_dilates(conv) and 0 not in conv.sizes


def keras_conv(conv: Conv, input: Array, weight: Array, bias: Array | None) -> Array:
    """Compute keras.layers.Conv1D(padding="causal").

    Out of bounds: every other padding, and more than one dimension; a stride with a dilation
    ("`strides > 1` not supported in conjunction with `dilation_rate > 1`"); empty sizes (an
    exception in `_conv_xla`).
    """
    inputs, kernel = _channels_last(input, weight)
    layer = keras.layers.Conv1D(
        len(weight),
        conv.kernel,
        conv.stride,
        "causal",
        data_format="channels_last",
        dilation_rate=conv.dilation,
        groups=conv.groups,
        use_bias=bias is not None,
        dtype=input.dtype.name,
    )
    layer.build(inputs.shape)
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    return np.moveaxis(keras.ops.convert_to_numpy(layer(inputs)), -1, 1)


JAX_LAYOUTS = {
    1: ("NCH", "OIH", "NCH"),
    2: ("NCHW", "OIHW", "NCHW"),
    3: ("NCDHW", "OIDHW", "NCDHW"),
}


def _jax_function(conv: Conv) -> Callable[..., jax.Array]:
    # lax has no causal padding, so it gets the amounts.
    padding = conv.pads if conv.padding == "causal" else conv.padding

    def convolve(input: Array, weight: Array, bias: Array | None) -> jax.Array:
        output = jax.lax.conv_general_dilated(
            input,
            weight,
            conv.stride,
            padding.upper() if isinstance(padding, str) else padding,
            rhs_dilation=conv.dilation,
            dimension_numbers=JAX_LAYOUTS[conv.dimensions],
            feature_group_count=conv.groups,
        )
        return output if bias is None else output + bias.reshape(-1, *[1] * conv.dimensions)

    return convolve


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    # Every case has its own shapes and runs once, so that compiling takes nearly all of the time.
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def jax_is_sound(conv: Conv) -> bool:
    return all(
        n + before + after >= 0 for n, (before, after) in zip(conv.sizes, conv.pads, strict=True)
    )


def jax_conv(conv: Conv, input: Array, weight: Array, bias: Array | None) -> Array:
    """Compute lax.conv_general_dilated, for every padding.

    Out of bounds: cropping more elements than there are ("Negative padding is larger than the size
    of the corresponding dimension"). A kernel that does not fit the padded input gives an empty
    output here, an error in PyTorch.
    """
    return np.asarray(compiled(_jax_function(conv))(input, weight, bias))


def cotangent(shape: tuple[int, ...]) -> Array:
    """Return factors, all different: gradients are of the sum of the output times these."""
    return np.cos(np.arange(np.prod(shape), dtype=np.float64)).reshape(shape)


def jax_conv_and_gradients(
    conv: Conv, input: Array, weight: Array, bias: Array | None
) -> tuple[Array, Gradients]:
    """Return `jax_conv` and the gradients of input, weight and bias for its `cotangent`.

    Out of bounds: as for `jax_conv`.
    """

    def run(*arrays: Array | None) -> tuple[Any, Any]:
        output, pull_back = jax.vjp(_jax_function(conv), *arrays)
        return output, pull_back(cotangent(output.shape))

    return jax.tree.map(np.asarray, compiled(run)(input, weight, bias))


AUTO_PADS = {"same": "SAME_UPPER", "same_lower": "SAME_LOWER", "valid": "VALID"}


def onnxruntime_is_sound(conv: Conv) -> bool:
    if conv.padding == "causal" or 0 in conv.sizes:
        return False
    return conv.padding not in ("same", "same_lower") or (
        max(conv.dilation) == 1 and not conv.skips_elements
    )


def onnxruntime_conv(conv: Conv, input: Array, weight: Array, bias: Array | None) -> Array:
    """Run ONNX Runtime's Conv on the CPU, with `auto_pad` for a mode and `pads` for amounts.

    It computes and returns float32, because it has no float64 ("Could not find an implementation
    for Conv(11)"). Out of bounds: causal, which it does not have; SAME with dilation ("Dilation not
    supported for AutoPadType::SAME_UPPER or AutoPadType::SAME_LOWER"); SAME with k < s, where the
    padding may be negative; empty sizes ("Invalid input shape").
    """
    if isinstance(conv.padding, str):
        padding: dict[str, Any] = {"auto_pad": AUTO_PADS[conv.padding]}
    else:
        padding = {"pads": [amount for side in zip(*conv.padding, strict=True) for amount in side]}
    arrays = {
        name: array.astype(np.float32)
        for name, array in (("input", input), ("weight", weight), ("bias", bias))
        if array is not None
    }
    node = helper.make_node(
        "Conv",
        list(arrays),
        ["output"],
        strides=conv.stride,
        dilations=conv.dilation,
        group=conv.groups,
        **padding,
    )
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in arrays]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    # Every ONNX Runtime of the last years reads these versions, whereas the newest may be too new
    # for it.
    model = helper.make_model(
        helper.make_graph([node], "conv", values, [output]),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, arrays)[0]
