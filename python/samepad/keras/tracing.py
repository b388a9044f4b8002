"""What code of someone's own does with the layers that it holds: it is run on tensors without
values, and the calls of its layers are the graph."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from samepad.keras.graph import all_layers, flat

#: Layers that take the features of a vector, or of each step.
_OF_FEATURES = ("Dense", "BatchNormalization", "LayerNormalization", "PReLU")


@dataclass(frozen=True)
class Traced:
    """The graph of one call."""

    #: What it was called with, and what stands for that in the graph; its outputs.
    inputs: list[tuple[Any, Any]]
    outputs: list[Any]
    #: The calls of layers and operations, each after what it takes.
    nodes: list[Any]


def _node(tensor: Any) -> Any:
    operation, call, _ = tensor._keras_history
    return operation._inbound_nodes[call]


def _nodes_to(tensors: list[Any]) -> Iterator[Any]:
    """The calls that give the tensors, and those that they take, each after what it takes."""
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
    """Arguments for a call, of the shapes that a layer or a model was built for.

    Raises:
        ValueError: They are not known.
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
    """The graph of a call of a layer or a model.

    Args:
        layer: Of someone's own class.
        arguments: What it is called with, which tensors of Keras's are among, with `args` and
            `kwargs`; None: what it was built for.

    Raises:
        Exception: Of any kind: its code cannot be run without values.
    """
    import keras

    args, kwargs = (arguments.args, arguments.kwargs) if arguments else _example(layer)
    inputs: list[tuple[Any, Any]] = []

    def stand_in(value: Any) -> Any:
        if not hasattr(value, "_keras_history"):
            return value
        # A call of its own, which the model's graph does not see.
        inputs.append((value, keras.Input(batch_shape=value.shape, dtype=value.dtype)))
        return inputs[-1][1]

    args, kwargs = keras.tree.map_structure(stand_in, (list(args), dict(kwargs)))
    if "training" in inspect.signature(layer.call).parameters:
        kwargs.setdefault("training", False)
    outputs = [out for out in flat(layer.call(*args, **kwargs)) if out is not None]
    return Traced(inputs, outputs, list(_nodes_to(outputs)))


def may_flatten(layer: Any) -> bool:
    """Whether code that cannot be followed may flatten images: it has a layer that does, or one
    that takes vectors of another size than the input and the layers before it give."""
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
