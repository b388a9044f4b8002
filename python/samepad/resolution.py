"""SAME layers as plain torch.nn layers, for one size of input."""

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

#: Elements before and after, to add or to take away.
Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class _Call:
    """The sizes that a layer met in one call."""

    input_size: tuple[int, ...]
    output_size: tuple[int, ...]
    #: Whether the call asked for the output's size.
    sized: bool
    #: Whether the input was of integers.
    integral: bool


@dataclass(frozen=True)
class _Plan:
    """How plain layers compute what a SAME layer computes for some sizes."""

    #: The plain layer's attributes that differ from the SAME layer's.
    changes: tuple[tuple[str, Any], ...]
    #: What to add to its input, and to take from its output.
    pads: tuple[Pair, ...] = ()
    crops: tuple[Pair, ...] = ()


class _UnresolvableError(Exception):
    """Why plain layers can't compute what a SAME layer computes."""


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
    # nn.Conv*d keeps the amounts of its other padding modes a second time.
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
    """Layers in turn, for calls with an `output_size`, which is built into them."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:  # noqa: ARG002
        return super().forward(input)  # type: ignore[no-any-return, no-untyped-call]


def _pad_layer(mode: str, value: float, pairs: Sequence[Pair]) -> nn.Module:
    """torch.nn's layer that adds `pairs`, or takes away what is negative in them."""
    amounts = [amount for pair in reversed(pairs) for amount in pair]
    name = {"reflect": "Reflection", "replicate": "Replication", "circular": "Circular"}.get(mode)
    if name:
        return getattr(nn, f"{name}Pad{len(pairs)}d")(amounts)  # type: ignore[no-any-return]
    if value == 0:
        return getattr(nn, f"ZeroPad{len(pairs)}d")(amounts)  # type: ignore[no-any-return]
    return getattr(nn, f"ConstantPad{len(pairs)}d")(amounts, value)  # type: ignore[no-any-return]


def _plain(layer: Any, plan: _Plan, sized: bool) -> nn.Module:
    """The layers that `plan` describes, with the parameters of `layer`.

    `sized` calls give an `output_size`, as nn.ConvTranspose*d takes it and nn.Sequential does not.
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
    # nn.ConvTranspose*d takes no output_size that needs an output_padding of the stride or more.
    lengthened = extra is not None and any(map(operator.ge, extra, layer.stride))
    if len(layers) == 1 and not (sized and lengthened):
        return layers["layer"]
    if getattr(layer, "return_indices", False):
        raise _UnresolvableError("no plain pool has its windows, and indices can't be cut")
    return (_Resized if sized else nn.Sequential)(layers)


def _run(model: nn.Module, example_inputs: tuple[Any, ...]) -> dict[Padded, list[_Call]]:
    """The sizes that each SAME layer meets, without a trace in the model's state."""
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

    Tools that know nn.Conv2d and so on by their exact type work on the result: FX and PT2E
    quantization, conv-BN fusion, TensorRT, mobile. A SAME layer becomes the torch.nn layer of its
    kind where that has such a padding (symmetric for a convolution, `ceil_mode` for a pool,
    `output_padding` for a transposed convolution), and otherwise an nn.Sequential of `pad`,
    `layer` and `crop`, as far as each is needed. Its parameters keep their values; in an
    nn.Sequential their names gain "layer.". The model runs once, as it is (train or eval), to see
    the sizes; its buffers and the random state are then as before.

    Calls of samepad.functional in a `forward` are not layers, and stay.

    Args:
        model: Any module; it is not changed.
        example_inputs: What to call it with. Spatial sizes are what matters, not the batch.

    Returns:
        The copy. For inputs of the example's sizes it computes what `model` computes; for others
        it is wrong or raises.

    Raises:
        TypeError: `model` is no module, or there are no example inputs.
        ValueError: A layer, which the message names, meets two sizes that need different pads, or
            has no plain equivalent: it is parametrized, a subclass that computes something else,
            its input is empty, it returns indices of windows that no plain pool has, no plain
            average pool leaves its padding out, or it pads integers for a maximum.

    Warns:
        UserWarning: The example inputs do not reach a layer, which is left as it is.

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
