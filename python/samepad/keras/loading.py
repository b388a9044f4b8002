"""Keras's weights into PyTorch modules that someone has written."""

from typing import Any, Literal

import torch
from torch import nn

from samepad.keras.graph import all_layers, is_model
from samepad.keras.weights import WEIGHTS, load_state, mismatch, state_of


def _weighted(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules that hold weights, in order of registration; a separable convolution is one."""
    if any(True for _ in module.parameters(recurse=False)) or hasattr(module, "pointwise"):
        return [("", module)]
    return [
        (f"{name}.{inner}".rstrip("."), found)
        for name, child in module.named_children()
        for inner, found in _weighted(child)
    ]


def _described(layer: Any) -> str:
    return f"{layer.name!r} ({type(layer).__name__})"


def _unwrapped(layer: Any) -> Any:
    return layer.layer if type(layer).__name__ == "TimeDistributed" else layer


def _images_to_flatten(layers: list[Any]) -> dict[int, tuple[int, ...]]:
    """For each Dense after a Flatten of more than one dimension: the shape before, (..., C)."""
    shapes: dict[int, tuple[int, ...]] = {}
    shape: tuple[int, ...] | None = None
    for layer in layers:
        kind = type(layer).__name__
        if kind == "Flatten":
            before = tuple(layer.input.shape[1:])
            last = layer.data_format == "channels_last"
            shape = before if len(before) > 1 and last and None not in before else None
        elif kind == "Dense":
            if shape is not None:
                shapes[id(layer)] = shape
            shape = None
        elif layer.weights:
            shape = None
    return shapes


def load_weights(
    module: nn.Module, keras_layer_or_model: Any, flatten: Literal["torch", "keras"] = "torch"
) -> nn.Module:
    """Copy the weights of a Keras layer or model into a PyTorch module.

    A layer's go into its counterpart, Conv2D's into an nn.Conv2d or SamePadConv2d and so on. A
    model's go into a module that has the counterparts of its layers in the same order: those that
    have weights are paired in the order in which the model has its layers and the module has
    registered its own. Layouts, gates and names are translated (docs/porting-from-keras.md).

    Args:
        module: Where the weights go; types and devices stay as they are.
        keras_layer_or_model: A built layer or model of Keras 3.
        flatten: Which order the module flattens an image in, before a linear layer: "torch",
            (C, H, W), or "keras", (H, W, C). Only with the first are a Dense layer's rows reordered
            where the model has a Flatten directly before it.

    Returns:
        `module`.

    Raises:
        TypeError: `module` is no nn.Module.
        ValueError: A layer is not built, has no counterpart, or the pairs do not fit: then nothing
            has been copied, and the message names both.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be an nn.Module, not {type(module).__name__}")
    if flatten not in ("torch", "keras"):
        raise ValueError(f"flatten must be 'torch' or 'keras', but got {flatten!r}")
    given = keras_layer_or_model
    if not getattr(given, "built", False):
        raise ValueError(f"{getattr(given, 'name', given)!r} is not built: it has no weights yet")
    layers = [_unwrapped(layer) for layer in (all_layers(given) if is_model(given) else [given])]
    unknown = [
        layer
        for layer in layers
        if layer.weights
        and type(layer).__name__ not in WEIGHTS
        and any("seed" not in weight.path for weight in layer.weights)
    ]
    if unknown:
        raise ValueError(
            "no counterpart is known for the weights of " + ", ".join(map(_described, unknown))
        )
    sources = [layer for layer in layers if state_of(layer)]
    targets = _weighted(module)
    if len(sources) != len(targets):
        raise ValueError(
            f"{len(sources)} layers of Keras have weights, but {len(targets)} of the module:\n  "
            + "\n  ".join(map(_described, sources))
            + "\nand\n  "
            + "\n  ".join(f"{name or 'the module'!s} ({type(t).__name__})" for name, t in targets)
        )
    images = _images_to_flatten(layers) if flatten == "torch" else {}
    states = []
    for layer, (name, target) in zip(sources, targets, strict=True):
        state = state_of(layer)
        if type(layer).__name__ == "PReLU":
            state = (
                {"weight": state["weight"].reshape(-1)} if isinstance(target, nn.PReLU) else state
            )
        if id(layer) in images:
            *sizes, channels = images[id(layer)]
            rows = torch.arange(state["weight"].shape[1]).reshape(*sizes, channels)
            state["weight"] = state["weight"][:, rows.movedim(-1, 0).reshape(-1)]
        problem = mismatch(target, state)
        if problem:
            raise ValueError(
                f"the weights of {_described(layer)} do not fit "
                f"{name or 'the module'} ({type(target).__name__}), which {problem}"
            )
        states.append((target, state))
    for target, state in states:
        load_state(target, state)
    return module
