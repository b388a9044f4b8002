"""Replaces SAME layers by plain torch.nn layers, for one size of the input."""

import copy
import operator
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from samepad import _C
from samepad._replacing import become, has_own_computation, replace
from samepad.modules.conv import _SamePadConvNd
from samepad.modules.conv_transpose import _SamePadConvTransposeNd
from samepad.modules.padded import Padded
from samepad.modules.pooling import _SamePadAvgPoolNd, _SamePadMaxPoolNd

__all__ = ["resolve_static"]

#: How many elements to add, or to crop, before and after one dimension.
Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class _Call:
    """The sizes of a layer's input and output in one call."""

    input_size: tuple[int, ...]
    output_size: tuple[int, ...]
    #: Whether the call passed an `output_size`.
    sized: bool
    #: Whether the input was not of a floating-point type.
    integral: bool


@dataclass(frozen=True)
class _Plan:
    """How plain layers compute the same as a SAME layer for given sizes."""

    #: Names and values of the plain layer's attributes that differ from the SAME layer's.
    changes: tuple[tuple[str, Any], ...]
    #: What to add to the plain layer's input, and to crop from its output.
    pads: tuple[Pair, ...] = ()
    crops: tuple[Pair, ...] = ()


class _UnresolvableError(Exception):
    """Plain layers can't compute the same as a SAME layer; the message says why."""


def _each(value: Any, dimensions: int) -> tuple[Any, ...]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return values * dimensions if len(values) == 1 else values


def _conv(layer: _SamePadConvNd, call: _Call) -> _Plan:
    settings, pads, _ = _C._static_conv(
        call.input_size,
        layer.kernel_size,
        layer.stride,
        layer.dilation,
        layer.padding,
        layer.padding_mode,
    )
    own = settings["padding"]
    # nn.Conv*d keeps the amounts in this attribute too, and uses it for padding modes other than
    # "zeros".
    settings["_reversed_padding_repeated_twice"] = tuple(p for p in reversed(own) for _ in range(2))
    if any(map(any, pads)):
        settings["padding_mode"] = "zeros"
    return _Plan(tuple(settings.items()), pads=pads)


def _conv_transpose(layer: _SamePadConvTransposeNd, call: _Call) -> _Plan:
    settings, _, crops = _C._static_conv_transpose(
        call.input_size,
        call.output_size,
        layer.kernel_size,
        layer.stride,
        layer.dilation,
        layer.padding,
    )
    return _Plan(tuple(settings.items()), crops=crops)


def _max_pool(layer: Any, call: _Call) -> _Plan:
    settings, pads, crops = _C._static_max_pool(
        call.input_size,
        _each(layer.kernel_size, layer._dimensions),
        _each(layer.stride, layer._dimensions),
        _each(layer.dilation, layer._dimensions),
        layer.padding,
        layer.ceil_mode,
    )
    if pads and call.integral:
        raise _UnresolvableError("no plain layer pads integers by what a maximum ignores")
    return _Plan(tuple(settings.items()), pads, crops)


def _avg_pool(layer: Any, call: _Call) -> _Plan:
    divided = bool(getattr(layer, "divisor_override", None))
    settings, pads, crops = _C._static_avg_pool(
        call.input_size,
        _each(layer.kernel_size, layer._dimensions),
        _each(layer.stride, layer._dimensions),
        layer.padding,
        layer.ceil_mode,
        layer.count_include_pad,
        divided,
    )
    if pads and not layer.count_include_pad and not divided:
        raise _UnresolvableError("no plain pool leaves such a padding out of its means")
    return _Plan(tuple(settings.items()), pads, crops)


_PLANS: dict[type[nn.Module], Callable[[Any, _Call], _Plan]] = {
    _SamePadConvNd: _conv,
    _SamePadConvTransposeNd: _conv_transpose,
    _SamePadMaxPoolNd: _max_pool,
    _SamePadAvgPoolNd: _avg_pool,
}


def _plan(layer: Padded, call: _Call) -> _Plan:
    if parametrize.is_parametrized(layer):
        raise _UnresolvableError("it is parametrized: remove_parametrizations first")
    if has_own_computation(layer):
        raise _UnresolvableError(f"this {type(layer).__name__} has a computation of its own")
    if 0 in call.input_size:
        raise _UnresolvableError("plain layers refuse an empty input")
    plan = next(plan for cls, plan in _PLANS.items() if isinstance(layer, cls))
    return plan(layer, call)


class _Resized(nn.Sequential):
    """An nn.Sequential that accepts `output_size` and ignores it: its layers are made for it."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:  # noqa: ARG002
        return super().forward(input)  # type: ignore[no-any-return, no-untyped-call]


def _pad_layer(mode: str, value: float, pairs: Sequence[Pair]) -> nn.Module:
    """Make torch.nn's layer that pads by `pairs`; negative amounts crop."""
    amounts = [amount for pair in reversed(pairs) for amount in pair]
    name = {"reflect": "Reflection", "replicate": "Replication", "circular": "Circular"}.get(mode)
    if name:
        return getattr(nn, f"{name}Pad{len(pairs)}d")(amounts)  # type: ignore[no-any-return]
    if value == 0:
        return getattr(nn, f"ZeroPad{len(pairs)}d")(amounts)  # type: ignore[no-any-return]
    return getattr(nn, f"ConstantPad{len(pairs)}d")(amounts, value)  # type: ignore[no-any-return]


def _plain(layer: Any, plan: _Plan, sized: bool) -> nn.Module:
    """Make the layers that `plan` describes, with the parameters of `layer`.

    `sized` says that the layer is called with an `output_size`, which nn.ConvTranspose*d accepts
    and nn.Sequential does not.
    """
    cls = next(cls for cls in type(layer).__mro__ if cls.__module__.startswith("torch.nn.modules."))
    layers = OrderedDict[str, nn.Module]()
    if any(map(any, plan.pads)):
        is_max = isinstance(layer, _SamePadMaxPoolNd)
        mode = getattr(layer, "padding_mode", "zeros")
        layers["pad"] = _pad_layer(mode, float("-inf") if is_max else 0.0, plan.pads)
    layers["layer"] = become(cls, layer, **dict(plan.changes))
    if any(map(any, plan.crops)):
        layers["crop"] = _pad_layer(
            "zeros", 0.0, [(-before, -after) for before, after in plan.crops]
        )
    extra = dict(plan.changes).get("output_padding")
    # nn.ConvTranspose*d refuses an output_size for which output_padding would be at least the
    # stride.
    lengthened = extra is not None and any(map(operator.ge, extra, layer.stride))
    if len(layers) == 1 and not (sized and lengthened):
        return layers["layer"]
    if getattr(layer, "return_indices", False):
        raise _UnresolvableError("no plain pool has its windows, and indices can't be cut")
    return (_Resized if sized else nn.Sequential)(layers)


def _run(model: nn.Module, example_inputs: tuple[Any, ...]) -> dict[Padded, list[_Call]]:
    """Run the model to record each SAME layer's sizes; its state is as before afterwards."""
    calls: dict[Padded, list[_Call]] = {
        layer: [] for layer in model.modules() if isinstance(layer, Padded)
    }

    def note(layer: Any, inputs: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        def size(tensor: Tensor) -> tuple[int, ...]:
            return tuple(tensor.shape[-layer._dimensions :])

        input = inputs[0] if inputs else kwargs["input"]
        wanted = inputs[1] if len(inputs) > 1 else kwargs.get("output_size")
        result = output[0] if isinstance(output, tuple) else output
        call = _Call(size(input), size(result), wanted is not None, not input.is_floating_point())
        if call not in calls[layer]:
            calls[layer].append(call)

    hooks = [layer.register_forward_hook(note, with_kwargs=True) for layer in calls]
    before = {name: buffer.clone() for name, buffer in model.named_buffers() if buffer is not None}
    try:
        with torch.no_grad(), torch.random.fork_rng():
            model(*example_inputs)
            for name, buffer in before.items():
                model.get_buffer(name).copy_(buffer)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def resolve_static(model: nn.Module, *example_inputs: Any) -> nn.Module:
    """Copy `model` with each SAME layer turned into plain torch.nn layers, for these input sizes.

    Tools that recognize nn.Conv2d and other layers by their exact type work on the result: FX and
    PT2E quantization, conv-BN fusion, TensorRT, mobile. A SAME layer becomes torch.nn's layer of
    its kind if that can pad in the same way (symmetrically for a convolution, by `ceil_mode` for a
    pool, by `output_padding` for a transposed convolution). Otherwise it becomes an nn.Sequential
    of `pad`, `layer` and `crop`, of which only those that are needed are there. Parameters keep
    their values; in an nn.Sequential their names gain "layer.". The model runs once in its current
    mode (train or eval) to find the sizes; its buffers and the random state are restored
    afterwards.

    Calls of samepad.functional in a `forward` are not layers, and are not replaced.

    Args:
        model: Any module; it is not changed.
        example_inputs: Arguments for a call of it. Their spatial sizes matter, the batch does not.

    Returns:
        The copy. For inputs of the example's sizes it computes the same as `model`; for other sizes
        it gives wrong results or raises an error.

    Raises:
        TypeError: `model` is not a module, or there are no example inputs.
        ValueError: A layer sees inputs of two sizes that need different padding, or has no plain
            equivalent; the message names it. There is no equivalent for a layer that is
            parametrized, for a subclass with another computation, for an empty input, for a pool
            whose windows no plain pool has and that returns indices or leaves the padding out of
            its means, and for a max pool that has to pad integers.

    Warns:
        UserWarning: The example inputs do not reach a layer, which is then left as it is.

    Example:
        >>> model = nn.Sequential(samepad.SamePadConv2d(3, 8, 3, stride=2))
        >>> samepad.resolve_static(model, torch.randn(1, 3, 225, 225))
        Sequential(
          (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
        )
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    if not example_inputs:
        raise TypeError("resolve_static needs example inputs, whose sizes the pads are for")
    model = copy.deepcopy(model)
    calls = _run(model, example_inputs)
    names = {layer: name or "(the model)" for name, layer in model.named_modules()}
    replacements: dict[nn.Module, nn.Module] = {}
    for layer, seen in calls.items():
        if not seen:
            warnings.warn(
                f"resolve_static leaves {names[layer]!r} as it is: the example inputs do not "
                "reach it",
                stacklevel=2,
            )
            continue
        try:
            plans = {_plan(layer, call): call for call in seen}
            if len(plans) > 1:
                sizes = " and ".join(
                    f"{call.input_size} to {call.output_size}" for call in plans.values()
                )
                raise _UnresolvableError(f"it meets sizes {sizes}, which need different pads")
            sized = any(call.sized for call in seen)
            replacements[layer] = _plain(layer, next(iter(plans)), sized)
        except _UnresolvableError as reason:
            raise ValueError(f"resolve_static can't resolve {names[layer]!r}: {reason}") from None
    return replace(model, replacements)
