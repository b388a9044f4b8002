"""The table of Keras's layers: each class's name with the rule that converts it to PyTorch."""

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn

import samepad
from samepad._building import UnsupportedError, one
from samepad.keras import ops
from samepad.keras.activations import activate, activation_name, relu
from samepad.keras.builder import Builder, Value, axis, computed_in, with_weights
from samepad.keras.errors import saved_model
from samepad.keras.recurrent import bidirectional, recurrent, steps
from samepad.keras.structures import is_code, is_own
from samepad.keras.weights import WEIGHTS, array
from samepad.normalization import LenientGroupNorm

#: The function of a rule. Its arguments are the builder, Keras's layer, a name and the inputs; it
#: returns the output: a value, or a node if the output has the layout of the first input.
Build = Callable[..., Any]


@dataclass(frozen=True)
class Rule:
    """How to convert a layer.

    `layout` is the layout that its inputs must have: "spatial" for channels first, "keras" for
    Keras's own order, or "any" if only all inputs have the same one. It may be a function of the
    layer and the number of dimensions.
    """

    layout: str | Callable[[Any, int], str]
    build: Build
    #: Whether `build` takes the mask of the first input, as an argument `mask`.
    masked: bool = False

    def channels_first(self, layer: Any, rank: int) -> bool | None:
        """Whether inputs must be (N, C, ...) where Keras has (N, ..., C); None if both will do."""
        layout = self.layout if isinstance(self.layout, str) else self.layout(layer, rank)
        if layout == "any":
            return None
        # If Keras has the channels first too, its order is already PyTorch's.
        return layout == "spatial" and getattr(layer, "data_format", None) != "channels_first"


def _of_dimensions(kind: str, dimensions: int) -> type[nn.Module]:
    return getattr(nn, f"{kind}{dimensions}d")  # type: ignore[no-any-return]


def _same_or_valid(kind: str, layer: Any, dimensions: int) -> tuple[Any, dict[str, Any]]:
    """Return samepad's class if Keras pads, else torch.nn's; and the arguments for padding."""
    if layer.padding == "valid":
        return _of_dimensions(kind, dimensions), {}
    made = getattr(samepad, f"SamePad{kind}{dimensions}d")
    return made, {} if layer.padding == "same" else {"padding": layer.padding}


def _options(**given: Any) -> dict[str, Any]:
    """Return only the arguments that are not 1, the default of strides, dilations and groups."""
    return {name: value for name, value in given.items() if value != 1}


def _finish(b: Builder, layer: Any, name: str, module: nn.Module, value: Value) -> Value:
    """Call the module, with the layer's weights, then the layer's activation."""
    node = b.module(name, with_weights(module, layer, value.dtype), value.node)
    return _activated(b, layer, name + "_activation", replace(value, node=node))


def _activated(b: Builder, layer: Any, name: str, value: Value) -> Value:
    """Apply the layer's `activation`, which is a function or a layer."""
    if hasattr(layer.activation, "trainable_weights"):
        return apply(b, layer.activation, name, [value])[0]
    return activate(b, activation_name(layer.activation), name, value)


def _conv(b: Builder, layer: Any, name: str, value: Value) -> Value:
    *_, inputs, outputs = layer.kernel.shape
    dimensions = value.rank - 2
    made, padding = _same_or_valid("Conv", layer, dimensions)
    options = _options(
        stride=one(layer.strides), dilation=one(layer.dilation_rate), groups=layer.groups
    )
    module = made(
        inputs * layer.groups,
        outputs,
        one(layer.kernel_size),
        bias=layer.use_bias,
        **options,
        **padding,
    )
    return _finish(b, layer, name, module, value)


def _depthwise(b: Builder, layer: Any, name: str, value: Value) -> Value:
    channels = layer.kernel.shape[-2]
    made = getattr(samepad, f"SamePadDepthwiseConv{value.rank - 2}d")
    module = made(
        channels,
        one(layer.kernel_size),
        padding=layer.padding,
        bias=layer.use_bias,
        **_options(
            stride=one(layer.strides),
            dilation=one(layer.dilation_rate),
            depth_multiplier=layer.depth_multiplier,
        ),
    )
    return _finish(b, layer, name, module, value)


def _separable(b: Builder, layer: Any, name: str, value: Value) -> Value:
    channels = layer.depthwise_kernel.shape[-2]
    made = getattr(samepad, f"SamePadSeparableConv{value.rank - 2}d")
    module = made(
        channels,
        layer.filters,
        one(layer.kernel_size),
        padding=layer.padding,
        bias=layer.use_bias,
        **_options(
            stride=one(layer.strides),
            dilation=one(layer.dilation_rate),
            depth_multiplier=layer.depth_multiplier,
        ),
    )
    return _finish(b, layer, name, module, value)


def _conv_transpose(b: Builder, layer: Any, name: str, value: Value) -> Value:
    *_, outputs, inputs = layer.kernel.shape
    dimensions = value.rank - 2
    made, options = _same_or_valid("ConvTranspose", layer, dimensions)
    options |= _options(stride=one(layer.strides), dilation=one(layer.dilation_rate))
    extents = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    extra = layer.output_padding
    if extra is not None:
        extra = (extra,) * dimensions if isinstance(extra, int) else tuple(extra)
        if layer.padding == "same":
            made, options["padding"], extra = _cropped(extents, extra)
    elif layer.padding == "valid":
        # If the kernel is shorter than the stride, Keras's output is still n times the stride.
        extra = tuple(max(s - e, 0) for s, e in zip(layer.strides, extents, strict=True))
    if extra and any(extra):
        options["output_padding"] = one(extra)
    module = made(inputs, outputs, one(layer.kernel_size), bias=layer.use_bias, **options)
    return _finish(b, layer, name, module, value)


def _cropped(extents: list[int], extra: tuple[int, ...]) -> tuple[Any, Any, tuple[int, ...]]:
    """Return class, padding and output_padding of a SAME transposed convolution, given Keras's.

    Keras's output_padding is added to the full output without e // 2 elements on each side, where e
    is the extent of the dilated kernel. What has to be cropped in all is then divided as in
    TensorFlow, with the smaller half at the start.
    """
    crops = [2 * (e // 2) - more for e, more in zip(extents, extra, strict=True)]
    pairs = tuple((max(c, 0) // 2, max(c, 0) - max(c, 0) // 2) for c in crops)
    left = tuple(max(-c, 0) for c in crops)
    dimensions = len(extents)
    if all(before == after for before, after in pairs):
        padding = one(before for before, _ in pairs)
        return _of_dimensions("ConvTranspose", dimensions), padding, left
    return getattr(samepad, f"SamePadConvTranspose{dimensions}d"), pairs, left


def _dense(b: Builder, layer: Any, name: str, value: Value) -> Value:
    inputs, outputs = layer.kernel.shape
    return _finish(b, layer, name, nn.Linear(inputs, outputs, bias=layer.use_bias), value)


def _pool(kind: str) -> Build:
    def build(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
        made, _ = _same_or_valid(kind, layer, value.rank - 2)
        return b.module(name, made(one(layer.pool_size), stride=one(layer.strides)), value.node)

    return build


def _adaptive(kind: str) -> Build:
    def build(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
        made = _of_dimensions(kind, value.rank - 2)
        return b.module(name, made(one(layer.output_size)), value.node)

    return build


def _global_pool(method: str) -> Build:
    def build(b: Builder, layer: Any, name: str, value: Value) -> Value:
        dims = tuple(range(2, value.rank))
        node = b.method(method, value.node, dims, layer.keepdims)
        return value.made(node, value.rank if layer.keepdims else 2, value.channels_first)

    return build


def _batch_normalization_layout(layer: Any, rank: int) -> str:
    return "spatial" if layer.axis % rank == rank - 1 else "keras"


def _group_normalization_layout(layer: Any, rank: int) -> str:
    if layer.axis % rank not in (1, rank - 1):
        raise UnsupportedError(f"axis={layer.axis} of a tensor of rank {rank}")
    return _batch_normalization_layout(layer, rank)


def _batch_normalization(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
    dimensions = max(value.rank - 2, 1)
    folded = dimensions > 3  # PyTorch has no such layer: fold the spatial dimensions into one
    made: Any = _of_dimensions("BatchNorm", 1 if folded else dimensions)
    if not layer.trainable:
        made = ops.FrozenBatchNorm
    size = array(layer.moving_mean).size
    module = made(size, eps=layer.epsilon, momentum=round(1 - layer.momentum, 12))
    position = axis(value, layer.axis)
    given = value.node if position == 1 else b.method("movedim", value.node, position, 1)
    node = b.method("flatten", given, 2) if folded else given
    node = b.module(name, with_weights(module, layer, value.dtype), node)
    node = b.method("reshape_as", node, given) if folded else node
    return node if position == 1 else b.method("movedim", node, 1, position)


def _normalized(layer: Any, rank: int) -> list[int]:
    """The axes that a LayerNormalization normalizes, of a tensor of a rank."""
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    return sorted(each % rank for each in axes)


def _normalizes_last(layer: Any) -> bool:
    """Whether a LayerNormalization is PyTorch's, which normalizes the last axes."""
    rank = len(layer._build_shapes_dict["input_shape"])
    axes = _normalized(layer, rank)
    return axes == list(range(rank - len(axes), rank)) and not layer.rms_scaling


def _layer_normalization(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
    positions = _normalized(layer, value.rank)
    # Without weights, the size is known only from the input's shape.
    weighted = layer.scale or layer.center
    shape = (
        array(layer.gamma if layer.scale else layer.beta).shape
        if weighted
        else tuple(layer._build_shapes_dict["input_shape"][p] for p in positions)
    )
    module = nn.LayerNorm(shape, eps=layer.epsilon, elementwise_affine=weighted)
    return b.module(name, with_weights(module, layer, value.dtype), value.node)


def _group_normalization(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
    weighted = layer.scale or layer.center
    channels = layer._build_shapes_dict["input_shape"][layer.axis]
    groups = channels if layer.groups == -1 else layer.groups
    made = LenientGroupNorm if groups == channels else nn.GroupNorm
    module = made(groups, channels, eps=layer.epsilon, affine=weighted)
    return b.module(name, with_weights(module, layer, value.dtype), value.node)


def _normalization(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
    mean = torch.from_numpy(array(layer.mean))
    deviation = torch.from_numpy(array(layer.variance)).sqrt().clamp(min=1e-7)
    if value.channels_first:
        # After adapting to data of fewer dimensions, these apply to the last dimensions.
        mean, deviation = (
            t.reshape(*[1] * (value.rank - t.dim()), *t.shape).movedim(-1, 1).contiguous()
            for t in (mean, deviation)
        )
    mean_node = b.constant(name + "_mean", mean)
    deviation_node = b.constant(name + "_deviation", deviation)
    if layer.invert:
        scaled = b.call(operator.mul, value.node, deviation_node)
        return b.call(operator.add, scaled, mean_node)
    return b.call(operator.truediv, b.call(operator.sub, value.node, mean_node), deviation_node)


def _rescaling(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
    node = value.node
    for function, amount, neutral in (
        (operator.mul, layer.scale, 1),
        (operator.add, layer.offset, 0),
    ):
        numbers = array(amount)
        if numbers.ndim == 0:
            if float(amount) != neutral:
                node = b.call(function, node, float(amount))
            continue
        if any(size != 1 for size in numbers.shape[:-1]):
            raise UnsupportedError(
                f"scale or offset of shape {numbers.shape}: neither one number nor one per channel"
            )
        tensor = torch.from_numpy(numbers).ravel().to(value.dtype)
        if value.channels_first:
            tensor = tensor.reshape(-1, *[1] * (value.rank - 2))
        node = b.call(function, node, b.constant(name + "_" + function.__name__, tensor))
    return node


def _prelu_layout(layer: Any, rank: int) -> str:
    shape = tuple(layer.alpha.shape)
    return "spatial" if rank > 2 and all(size == 1 for size in shape[:-1]) else "keras"


def _prelu(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
    shape = tuple(layer.alpha.shape)
    of_channels = value.rank == 2 or value.channels_first
    module = nn.PReLU(shape[-1]) if of_channels else ops.ElementwisePReLU(shape)
    return b.module(name, with_weights(module, layer, value.dtype), value.node)


def _softmax(b: Builder, layer: Any, name: str, value: Value, mask: Value | None = None) -> fx.Node:
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    positions = tuple(axis(value, each) for each in axes)
    if mask is not None:
        if mask.rank not in (value.rank, 0) and value.channels_first:
            raise UnsupportedError("a mask of another rank than the input, in another layout")
        held = b.held(mask, value.channels_first) if mask.rank == value.rank else mask
        return b.call(ops.softmax, value.node, positions, held.node)
    if len(positions) > 1:
        return b.call(ops.softmax, value.node, positions)
    return b.module(name, nn.Softmax(positions[0]), value.node)


def _flatten(b: Builder, layer: Any, name: str, value: Value) -> Value:
    if layer.data_format == "channels_first" and value.rank > 2:
        # Keras moves the channels to the end before it flattens.
        value = b.held(replace(value, channels_first=True), channels_first=False)
    if value.rank == 1:
        return value.made(b.method("unsqueeze", value.node, 1), 2)
    return value.made(b.module(name, nn.Flatten(), value.node), 2)


def _reshape(b: Builder, layer: Any, name: str, value: Value) -> Value:
    shape = tuple(map(int, layer.target_shape))
    if value.rank == 1:  # one number per sample
        shape = (1,) * len(shape)
    if -1 in shape:
        flat = b.method("flatten", value.node, 1) if value.rank > 2 else value.node
        return value.made(b.method("unflatten", flat, 1, shape), len(shape) + 1)
    return value.made(b.method("reshape", value.node, -1, *shape), len(shape) + 1)


def _repeat_vector(b: Builder, layer: Any, name: str, value: Value) -> Value:
    return value.made(b.method("expand", b.method("unsqueeze", value.node, 1), -1, layer.n, -1), 3)


def _up_sampling(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
    mode = getattr(layer, "interpolation", "nearest")
    if mode not in ("nearest", "bilinear"):
        height, width = map(int, layer.size)
        module = ops.Resizing(None, ops.known_interpolation(mode), (height, width))
        return b.module(name, module, value.node)
    size = layer.size if isinstance(layer.size, int) else one(layer.size)
    factor = float(size) if isinstance(size, int) else tuple(float(s) for s in size)
    return b.module(name, nn.Upsample(scale_factor=factor, mode=mode), value.node)


def _check_images(layer: Any, value: Value) -> None:
    if value.rank != 4:
        raise UnsupportedError(f"called on a tensor of rank {value.rank}")


def _resizing(b: Builder, layer: Any, name: str, value: Value) -> Value:
    _check_images(layer, value)
    for option in ("antialias", "crop_to_aspect_ratio", "pad_to_aspect_ratio"):
        if getattr(layer, option, False):
            raise UnsupportedError(f"{option}=True")
    size = (int(layer.height), int(layer.width))
    module = ops.Resizing(size, ops.known_interpolation(layer.interpolation))
    value = b.cast(value, computed_in(layer.compute_dtype))
    return replace(value, node=b.module(name, module, value.node))


def _center_crop(b: Builder, layer: Any, name: str, value: Value) -> Value:
    _check_images(layer, value)
    module = ops.CenterCrop(int(layer.height), int(layer.width))
    return replace(value, node=b.module(name, module, value.node))


#: Layers of which Keras computes nothing in inference.
_ONLY_IN_TRAINING = (
    "AugMix",
    "CutMix",
    "MixUp",
    "RandAugment",
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomContrast",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterization",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
)


def _only_in_training(b: Builder, layer: Any, name: str, value: Value) -> Value:
    value = b.cast(value, computed_in(layer.compute_dtype))
    return replace(value, node=b.module(name, ops.OnlyInTraining(type(layer).__name__), value.node))


def _einsum_dense(b: Builder, layer: Any, name: str, value: Value) -> Value:
    bias = None if layer.bias is None else tuple(layer.bias.shape)
    module = ops.EinsumDense(layer.equation, tuple(layer.kernel.shape), bias)
    made = b.module(name, with_weights(module, layer, value.dtype), value.node)
    rank = len(layer.compute_output_shape((None,) * value.rank))
    return _activated(b, layer, name + "_activation", value.made(made, rank))


def _pairs(amounts: Any) -> list[tuple[int, int]]:
    """Return (before, after) per dimension; for a single dimension Keras keeps just the pair."""
    return [tuple(amounts)] if isinstance(amounts[0], int) else [tuple(pair) for pair in amounts]


def _zero_padding(sign: int, attribute: str) -> Build:
    def build(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
        # PyTorch counts from the last dimension; a negative amount crops.
        flat = [
            sign * amount for pair in reversed(_pairs(getattr(layer, attribute))) for amount in pair
        ]
        module = _of_dimensions("ZeroPad", value.rank - 2)(tuple(flat))
        return b.module(name, module, value.node)

    return build


def _dropout(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
    shape = getattr(layer, "noise_shape", None)
    if shape is None:
        return b.module(name, nn.Dropout(layer.rate), value.node)
    batch, *others = shape
    if batch is not None or any(size != 1 for size in others):
        raise UnsupportedError(f"noise_shape={shape}")
    return b.module(name, ops.StochasticDepth(layer.rate), value.node)


def _alpha_dropout(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
    if layer.noise_shape is not None:
        raise UnsupportedError(f"noise_shape={layer.noise_shape}")
    return b.module(name, nn.AlphaDropout(layer.rate), value.node)


def _spatial_dropout(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
    return b.module(name, _of_dimensions("Dropout", value.rank - 2)(layer.rate), value.node)


def _masking(b: Builder, layer: Any, name: str, value: Value) -> Value:
    module = ops.Masking(float(layer.mask_value))
    return replace(value, node=b.module(name, module, value.node))


def _embedding(b: Builder, layer: Any, name: str, value: Value) -> Value:
    module = nn.Embedding(layer.input_dim, layer.output_dim)
    dtype = computed_in(layer.compute_dtype)
    # Keras casts the indices, so they may be floats.
    node = b.module(name, with_weights(module, layer, dtype), b.method("long", value.node))
    return Value(node, value.rank + 1, dtype)


def _widened(b: Builder, value: Value, rank: int, channels_first: bool) -> Value:
    """Add dimensions of size 1 after the batch, as Keras does when it merges different ranks."""
    if value.rank == rank:
        return value
    if value.rank == 2 and channels_first:
        index = (slice(None), slice(None), *[None] * (rank - 2))
        return value.made(b.item(value.node, index), rank, channels_first=True)
    held = b.held(value, channels_first=False)
    return value.made(b.item(held.node, (slice(None), *[None] * (rank - value.rank))), rank)


def _merge(combine: Callable[..., Any]) -> Build:
    def build(b: Builder, layer: Any, name: str, *values: Value) -> Value:
        rank = max(value.rank for value in values)
        first = any(value.channels_first and value.rank == rank for value in values)
        nodes = [b.held(_widened(b, value, rank, first), first).node for value in values]
        node = functools.reduce(lambda left, right: b.call(combine, left, right), nodes)
        if type(layer).__name__ == "Average":
            node = b.call(operator.truediv, node, len(values))
        return values[0].made(node, rank, first)

    return build


def _concatenate(b: Builder, layer: Any, name: str, *values: Value) -> fx.Node:
    dim = axis(values[0], layer.axis)
    return b.call(torch.cat, [value.node for value in values], dim=dim)


def _identity(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
    return value.node


def _module(make: Callable[[Any], nn.Module]) -> Build:
    """Make the function of a rule for a layer without weights."""

    def build(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
        return b.module(name, make(layer), value.node)

    return build


def _custom_scale(b: Builder, layer: Any, name: str, left: Value, right: Value) -> fx.Node:
    return b.call(operator.add, left.node, b.call(operator.mul, right.node, float(layer.scale)))


def _layer_scale(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
    module = ops.LayerScale(layer.projection_dim)
    return b.module(name, with_weights(module, layer, value.dtype), value.node)


def _permute(b: Builder, layer: Any, name: str, value: Value) -> fx.Node:
    return b.permute(value.node, (0, *layer.dims))


def _time_distributed(
    b: Builder, layer: Any, name: str, value: Value, mask: Value | None = None
) -> Value:
    """Fold the time steps into the batch, (N T, ...), and apply the inner layer."""
    if mask is not None and "mask" in inspect.signature(layer.layer.call).parameters:
        raise UnsupportedError("a mask of each step")
    node: Any = value.node
    if node.target == "unflatten" and node.args[1] == 0:  # the output of such a layer
        node, _, (_, steps) = node.args
    else:
        steps = b.method("size", node, 1)
        node = b.method("flatten", node, 0, 1)
    folded = value.made(node, value.rank - 1)
    outputs = apply(b, layer.layer, name, [folded])
    if len(outputs) != 1:
        raise UnsupportedError("a layer of several outputs at each step")
    inner = b.held(outputs[0], channels_first=False)
    node = b.method("unflatten", inner.node, 0, (-1, steps))
    return inner.made(node, inner.rank + 1)


def _each(names: str, dimensions: Sequence[int], rule: Rule) -> dict[str, Rule]:
    return {names.format(d): rule for d in dimensions}


ALL = (1, 2, 3)

RULES: dict[str, Rule] = {
    **_each("Conv{}D", ALL, Rule("spatial", _conv)),
    **_each("Conv{}DTranspose", ALL, Rule("spatial", _conv_transpose)),
    **_each("DepthwiseConv{}D", (1, 2), Rule("spatial", _depthwise)),
    **_each("SeparableConv{}D", (1, 2), Rule("spatial", _separable)),
    **_each("MaxPooling{}D", ALL, Rule("spatial", _pool("MaxPool"))),
    **_each("AveragePooling{}D", ALL, Rule("spatial", _pool("AvgPool"))),
    **_each("GlobalMaxPooling{}D", ALL, Rule("spatial", _global_pool("amax"))),
    **_each("GlobalAveragePooling{}D", ALL, Rule("spatial", _global_pool("mean"))),
    **_each("UpSampling{}D", ALL, Rule("spatial", _up_sampling)),
    **_each("ZeroPadding{}D", ALL, Rule("spatial", _zero_padding(1, "padding"))),
    **_each("Cropping{}D", ALL, Rule("spatial", _zero_padding(-1, "cropping"))),
    **_each("SpatialDropout{}D", ALL, Rule("spatial", _spatial_dropout)),
    **_each("AdaptiveAveragePooling{}D", ALL, Rule("spatial", _adaptive("AdaptiveAvgPool"))),
    **_each("AdaptiveMaxPooling{}D", ALL, Rule("spatial", _adaptive("AdaptiveMaxPool"))),
    **dict.fromkeys(_ONLY_IN_TRAINING, Rule("any", _only_in_training)),
    "Resizing": Rule("spatial", _resizing),
    "CenterCrop": Rule("spatial", _center_crop),
    "Dense": Rule("keras", _dense),
    "EinsumDense": Rule("keras", _einsum_dense),
    "Flatten": Rule("keras", _flatten),
    "Reshape": Rule("keras", _reshape),
    "Permute": Rule("keras", _permute),
    "RepeatVector": Rule("keras", _repeat_vector),
    "BatchNormalization": Rule(_batch_normalization_layout, _batch_normalization),
    "LayerNormalization": Rule("keras", _layer_normalization),
    "GroupNormalization": Rule(_group_normalization_layout, _group_normalization),
    "Normalization": Rule("any", _normalization),
    "Rescaling": Rule("any", _rescaling),
    "Activation": Rule("any", _activated),
    "ReLU": Rule("any", relu),
    "LeakyReLU": Rule("any", _module(lambda layer: nn.LeakyReLU(float(layer.negative_slope)))),
    "ELU": Rule("any", _module(lambda layer: nn.ELU(float(layer.alpha)))),
    "PReLU": Rule(_prelu_layout, _prelu),
    "Softmax": Rule("any", _softmax, masked=True),
    "Dropout": Rule("any", _dropout),
    "GaussianNoise": Rule("any", _module(lambda layer: ops.GaussianNoise(layer.stddev))),
    "GaussianDropout": Rule("any", _module(lambda layer: ops.GaussianDropout(layer.rate))),
    "AlphaDropout": Rule("any", _alpha_dropout),
    "ActivityRegularization": Rule("any", _identity),
    "Identity": Rule("any", _identity),
    "Embedding": Rule("keras", _embedding),
    "Masking": Rule("keras", _masking),
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN"), Rule("keras", recurrent, masked=True)),
    **dict.fromkeys(("RNN", *(f"ConvLSTM{d}D" for d in ALL)), Rule("keras", steps, masked=True)),
    "Bidirectional": Rule("keras", bidirectional, masked=True),
    "TimeDistributed": Rule("keras", _time_distributed, masked=True),
    "Add": Rule("any", _merge(operator.add)),
    "Subtract": Rule("any", _merge(operator.sub)),
    "Multiply": Rule("any", _merge(operator.mul)),
    "Average": Rule("any", _merge(operator.add)),
    "Maximum": Rule("any", _merge(torch.maximum)),
    "Minimum": Rule("any", _merge(torch.minimum)),
    "Concatenate": Rule("any", _concatenate),
    # Layers that only keras.applications uses.
    "CustomScaleLayer": Rule("any", _custom_scale),
    "LayerScale": Rule("keras", _layer_scale),
    "StochasticDepth": Rule(
        "any", _module(lambda layer: ops.StochasticDepth(layer.drop_path_rate))
    ),
}


def is_model(operation: Any) -> bool:
    """Whether an operation is a model, nested in another one."""
    return hasattr(operation, "layers") and hasattr(operation, "inputs")


def is_followed(layer: Any, masked: bool = False) -> bool:
    """Whether a layer is converted by following its code.

    Args:
        layer: A layer or a model.
        masked: Whether it is called on a tensor that has a mask. Masks reach the layers in a model,
            whose graph does not show them.
    """
    if is_model(layer) and not is_code(layer):
        return masked
    kind = type(layer).__name__
    # Rules are for other settings than these.
    averages_masked = kind == "GlobalAveragePooling1D" and masked
    other_axes = kind == "LayerNormalization" and not _normalizes_last(layer)
    return is_own(layer) or averages_masked or other_axes


def of_images(layer: Any) -> bool:
    """Whether a layer prepares images, of which Keras says training=True unless a model denies."""
    return type(layer).__name__ in (*_ONLY_IN_TRAINING, "Resizing", "CenterCrop")


def takes_indices(layer: Any) -> bool:
    """Whether a layer takes indices, which are not cast to the type that it computes in."""
    return type(layer).__name__ == "Embedding"


_LAMBDA = (
    "it holds code of its own, which may be anything: write it as a layer of your own, whose call "
    "uses keras.ops, or as these functions between layers"
)


def rule_of(layer: Any) -> Rule:
    """Return the rule for a layer.

    Raises:
        UnsupportedError: There is none, or the class is not Keras's own.
    """
    kind = type(layer)
    if kind.__name__ == "Lambda":
        raise UnsupportedError(_LAMBDA)
    if kind.__module__.split(".")[0] != "keras":
        raise UnsupportedError(f"a class of {kind.__module__}, not of Keras: it is code")
    if kind.__name__ not in RULES:
        raise UnsupportedError(saved_model(layer) or "no counterpart")
    return RULES[kind.__name__]


#: Layers that use a mask in training only.
_WITHOUT_MASK = ("BatchNormalization",)


def apply(
    b: Builder, layer: Any, name: str, values: list[Value], mask: Value | None = None
) -> list[Value]:
    """Convert a layer of Keras, or a model with one input, and return its outputs.

    `mask` is the mask of the first input, if it has one.

    Raises:
        UnsupportedError: PyTorch has no counterpart for the layer, or for one of its arguments.
    """
    if is_model(layer):
        return b.nested(b, layer, name, values)
    rule = rule_of(layer)
    if not takes_indices(layer):
        values = [b.cast_for(value, layer) for value in values]
    if type(layer).__name__ in WEIGHTS and not layer.built:
        raise UnsupportedError("not built: call the model once, which makes its weights")
    channels_first = rule.channels_first(layer, values[0].rank)
    if channels_first is None:
        values = b.alike(values)
    else:
        values = [b.held(value, channels_first) for value in values]
    b.layer = layer
    options = {} if mask is None else {"mask": mask}
    if options and not rule.masked:
        if type(layer).__name__ not in _WITHOUT_MASK:
            raise UnsupportedError("called with a mask")
        options = {}
    try:
        inspect.signature(rule.build).bind(b, layer, name, *values, **options)
    except TypeError:
        raise UnsupportedError(f"called on {len(values)} tensors") from None
    result = rule.build(b, layer, name, *values, **options)
    if isinstance(result, fx.Node):
        result = replace(values[0], node=result)
    return result if isinstance(result, list) else [result]
