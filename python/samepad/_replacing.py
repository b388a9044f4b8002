"""Replaces layers of a model by other layers."""

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

Layer = TypeVar("Layer", bound=nn.Module)


def become(cls: type[Layer], layer: nn.Module, **changes: Any) -> Layer:
    """Make a layer of class `cls` with the attributes of `layer`, except those in `changes`.

    Parameters, buffers, hooks and attributes that users have added are the same objects as in
    `layer`, which must not be used any more. `cls` has to keep the same attributes as the class of
    `layer`, as samepad's layers and torch.nn's do.
    """
    new = cls.__new__(cls)
    new.__dict__ = {
        # The dictionaries of hooks are shared, because the handles that remove hooks refer to them.
        key: value.copy() if key in ("_parameters", "_buffers", "_modules") else value
        for key, value in {**vars(layer), **changes}.items()
    }
    return new


def has_own_computation(layer: nn.Module) -> bool:
    """Whether a layer's class overrides the computation of its base in samepad or torch.nn.

    A changed constructor, as samepad.nn's classes have, does not count.
    """
    known = next(
        cls
        for cls in type(layer).__mro__
        if cls.__module__.startswith(("samepad.modules.", "torch.nn.modules."))
    )
    return any(
        name in vars(layer) or getattr(type(layer), name, None) is not getattr(known, name, None)
        for name in ("forward", "_conv_forward")
    )


def replace(model: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Replace layers in `model` and in the new layers, at every place where they occur."""
    for parent in [*model.modules(), *replacements.values()]:
        for name, child in parent._modules.items():
            if child is not None and child in replacements:
                parent._modules[name] = replacements[child]
    return replacements.get(model, model)
