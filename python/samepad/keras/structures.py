"""The structures that Keras takes and returns, and the layers in a layer."""

from collections.abc import Callable, Iterator
from typing import Any


def leaves(structure: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """What is in a structure, in the order in which Keras flattens it, after the keys to it."""
    if isinstance(structure, dict):
        keys: Any = sorted(structure)
    elif isinstance(structure, (list, tuple)):
        keys = range(len(structure))
    else:
        yield path, structure
        return
    for key in keys:
        yield from leaves(structure[key], (*path, key))


def flat(structure: Any) -> list[Any]:
    """What is in a structure, in the order in which Keras flattens it."""
    return [leaf for _, leaf in leaves(structure)]


def mapped(structure: Any, leaf: Callable[[Any], Any]) -> Any:
    """The structure of what a function returns for each thing that is in one."""
    if isinstance(structure, dict):
        return {key: mapped(value, leaf) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)(mapped(value, leaf) for value in structure)
    return leaf(structure)


#: Layers of Keras whose code is followed, as that of custom layers is: it consists of layers and
#: functions that have counterparts.
FOLLOWED = frozenset(
    {
        "AdditiveAttention",
        "ConvLSTMCell",
        "GRUCell",
        "LSTMCell",
        "SimpleRNNCell",
        "StackedRNNCells",
        "Attention",
        "Dot",
        "GroupedQueryAttention",
        "MultiHeadAttention",
        "RMSNormalization",
        "ReversibleEmbedding",
        "UnitNormalization",
    }
)


#: Layers that hold one whose code is followed.
_HOLDERS = ("RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")


def is_own(layer: Any) -> bool:
    """Whether a layer's code is followed: it is of someone's own class, or one of those above."""
    kind = type(layer)
    return not kind.__module__.startswith("keras.") or kind.__name__ in FOLLOWED


def sublayers(layer: Any) -> list[Any]:
    """The layers that a model has, or one whose code is followed, in order of registration."""
    if hasattr(layer, "layers"):
        return list(layer.layers)
    own = is_own(layer) or type(layer).__name__ in _HOLDERS
    return list(layer._flatten_layers(include_self=False, recursive=False)) if own else []


def own_weights(layer: Any) -> list[Any]:
    """The weights that a layer has beside those of the layers in it."""
    inner = {
        id(weight)
        for child in layer._flatten_layers(include_self=False, recursive=False)
        for weight in child.weights
    }
    return [weight for weight in layer.weights if id(weight) not in inner]


def is_code(layer: Any) -> bool:
    """Whether code that is not Keras's computes a layer or a model."""
    return not getattr(type(layer).call, "__module__", "").startswith("keras.")


def is_custom(operation: Any) -> bool:
    """Whether code of someone's own calls the layers that an operation holds."""
    return is_code(operation) and bool(sublayers(operation))


def all_layers(layer: Any) -> list[Any]:
    """A layer, or those of a model or a custom layer and of such in them, in order: each once, and
    those that are called at each step of a sequence as if they were not. What has weights beside
    those of its layers is there itself too."""
    while type(layer).__name__ == "TimeDistributed":
        layer = layer.layer
    inner = sublayers(layer)
    if not inner and not hasattr(layer, "layers"):
        return [layer]
    itself = [layer] if own_weights(layer) else []
    found = [*itself, *(below for child in inner for below in all_layers(child))]
    return list({id(each): each for each in found}.values())
