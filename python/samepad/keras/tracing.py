"""Follows the code of custom layers and models.

The code runs on symbolic tensors, which have no values; the calls of its layers make a graph.
"""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from samepad.keras.graph import all_layers, flat

#: Layers whose weights depend on the size of the last dimension, the features.
_OF_FEATURES = ("Dense", "BatchNormalization", "LayerNormalization", "PReLU")


@dataclass(frozen=True)
class Traced:
    """The graph of one call."""

    #: The tensors of the call's arguments, each with the symbolic tensor that replaces it.
    inputs: list[tuple[Any, Any]]
    outputs: list[Any]
    #: The calls of layers and operations, each after the calls whose outputs it takes.
    nodes: list[Any]


def _node(tensor: Any) -> Any:
    operation, call, _ = tensor._keras_history
    return operation._inbound_nodes[call]


def _nodes_to(tensors: list[Any]) -> Iterator[Any]:
    """Yield all calls that the tensors depend on, each after the calls that it depends on."""
    seen: set[int] = set()
    stack = [(_node(tensor), False) for tensor in reversed(tensors)]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif id(node) not in seen and not node.is_input:
            seen.add(id(node))
            stack.append((node, True))
            stack += [(_node(tensor), False) for tensor in reversed(node.input_tensors)]


def _is_shape(value: Any) -> TypeGuard[Sequence[int | None]]:
    return isinstance(value, (list, tuple)) and all(
        size is None or isinstance(size, int) for size in value
    )


def _example(layer: Any) -> tuple[list[Any], dict[str, Any]]:
    """Make arguments for a call, of the shapes for which a layer or a model was built.

    Raises:
        ValueError: These shapes are not known.
    """
    import keras

    def tensors(shapes: Any) -> Any:
        if _is_shape(shapes):
            return keras.Input(batch_shape=tuple(shapes))
        if isinstance(shapes, dict):
            return {name: tensors(shape) for name, shape in shapes.items()}
        return [tensors(shape) for shape in shapes]

    built = layer._build_shapes_dict
    if not built:
        raise ValueError("the shapes of its inputs are not known: call it once")
    if len(built) == 1:
        return [tensors(shapes) for shapes in built.values()], {}
    return [], {name.removesuffix("_shape"): tensors(shapes) for name, shapes in built.items()}


def traced(layer: Any, arguments: Any = None) -> Traced:
    """Return the graph of a call of a layer or a model.

    Args:
        layer: A layer or a model of a custom class.
        arguments: The arguments of the call, with attributes `args` and `kwargs`, which contain
            Keras's tensors; None for tensors of the shapes for which it was built.

    Raises:
        Exception: Its code cannot run on symbolic tensors; the error may be of any class.
    """
    import keras

    args, kwargs = (arguments.args, arguments.kwargs) if arguments else _example(layer)
    inputs: list[tuple[Any, Any]] = []

    def stand_in(value: Any) -> Any:
        if not hasattr(value, "_keras_history"):
            return value
        # A new input, so that this call does not become part of the model's graph.
        inputs.append((value, keras.Input(batch_shape=value.shape, dtype=value.dtype)))
        return inputs[-1][1]

    args, kwargs = keras.tree.map_structure(stand_in, (list(args), dict(kwargs)))
    if "training" in inspect.signature(layer.call).parameters:
        kwargs.setdefault("training", False)
    outputs = [out for out in flat(layer.call(*args, **kwargs)) if out is not None]
    return Traced(inputs, outputs, list(_nodes_to(outputs)))


def may_flatten(layer: Any) -> bool:
    """Whether a custom layer whose code cannot be followed may flatten images.

    It may if it holds a layer that does, or one that takes vectors whose size is neither that of an
    input nor that of an output of the layers before it.
    """
    shapes = layer._build_shapes_dict or {}
    sizes = {shape[-1] for shape in shapes.values() if _is_shape(shape)}
    for inner in all_layers(layer):
        if type(inner).__name__ in ("Flatten", "Reshape"):
            return True
        shape = (inner._build_shapes_dict or {}).get("input_shape")
        if not _is_shape(shape):
            continue
        if type(inner).__name__ in _OF_FEATURES and len(shape) == 2 and shape[-1] not in sizes:
            return True
        sizes.add(inner.compute_output_shape(shape)[-1])
    return False
