"""Follows the code of custom layers and models.

The code runs on symbolic tensors, which have no values; the calls of its layers make a graph.
"""

import contextlib
import inspect
import numbers
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from samepad._building import UnsupportedError
from samepad.keras.builder import BATCH
from samepad.keras.structures import all_layers, flat, is_code, mapped, own_weights

#: A second batch size with which code is followed: what differs depends on the batch size.
_OTHER_BATCH = 15_485_863

#: Layers whose weights depend on the size of the last dimension, the features.
_OF_FEATURES = ("Dense", "BatchNormalization", "LayerNormalization", "PReLU")


#: Attributes in which Keras lists a layer's variables.
_LISTS_OF_KERAS = ("_trainable_variables", "_non_trainable_variables")


@dataclass(frozen=True)
class Traced:
    """The graph of one call."""

    #: The tensors of the call's arguments, each with the symbolic tensor that replaces it.
    inputs: list[tuple[Any, Any]]
    #: The layer's own weights, each with the symbolic tensor that replaces it.
    weights: list[tuple[Any, Any]]
    #: Constants on which layers with weights are called, each with the tensor that replaces it.
    constants: list[tuple[Any, Any]]
    #: The structure of what it returns, and the tensors in it.
    returned: Any
    outputs: list[Any]
    #: The calls of layers and operations, each after the calls whose outputs it takes.
    nodes: list[Any]


def _node(tensor: Any) -> Any:
    operation, call, _ = tensor._keras_history
    return operation._inbound_nodes[call]


def nodes_to(tensors: list[Any], known: frozenset[int] = frozenset()) -> Iterator[Any]:
    """Yield all calls that the tensors depend on, each after the calls that it depends on.

    The calls before tensors whose ids are `known` are left out.
    """
    seen: set[int] = set()
    stack = [(_node(tensor), False) for tensor in reversed(tensors) if id(tensor) not in known]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif id(node) not in seen and not node.is_input:
            seen.add(id(node))
            stack.append((node, True))
            stack += [
                (_node(tensor), False)
                for tensor in reversed(node.input_tensors)
                if id(tensor) not in known
            ]


def mask_of(tensor: Any) -> Any:
    """The mask that Keras has attached to a tensor, or None."""
    return getattr(tensor, "_keras_mask", None)


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
            return keras.Input(batch_shape=(None, *shapes[1:]))
        if isinstance(shapes, dict):
            return {name: tensors(shape) for name, shape in shapes.items()}
        return [tensors(shape) for shape in shapes]

    built = layer._build_shapes_dict
    if not built:
        raise ValueError("the shapes of its inputs are not known: call it once")
    if len(built) == 1:
        return [tensors(shapes) for shapes in built.values()], {}
    return [], {name.removesuffix("_shape"): tensors(shapes) for name, shapes in built.items()}


@contextlib.contextmanager
def _replaced(layer: Any, stand_ins: dict[int, Any]) -> Iterator[None]:
    """Replace the variables that are attributes of a layer while its code runs."""
    own = layer.__dict__
    before = {
        name: value
        for name, value in own.items()
        if name not in _LISTS_OF_KERAS
        and (id(value) in stand_ins or isinstance(value, (list, tuple)))
    }
    # Keras's layers watch what is assigned to them; their dictionaries do not.
    own.update(
        {
            name: mapped(value, lambda item: stand_ins.get(id(item), item))
            for name, value in before.items()
            if any(id(item) in stand_ins for item in flat(value))
        }
    )
    try:
        yield
    finally:
        own.update(before)


@contextlib.contextmanager
def _called_symbolically(layer: Any, constants: list[tuple[Any, Any]]) -> Iterator[None]:
    """Make calls of the layers in a layer calls of the graph, where Keras makes none of them.

    Keras computes a call on constants, such as that of an Embedding on positions, which would make
    a constant of the layer's weights; and it takes no layer into a graph that also returns None,
    whose code then becomes part of the code that calls it.
    """
    import keras

    def stand_in(value: Any) -> Any:
        if not hasattr(value, "shape") or hasattr(value, "_keras_history"):
            return value
        try:
            array = keras.ops.convert_to_numpy(value)
        except Exception:  # any kind: of a graph of Keras's backend, which has no value
            return value
        dtype = keras.backend.standardize_dtype(array.dtype)
        constants.append((array, keras.Input(batch_shape=array.shape, dtype=dtype)))
        return constants[-1][1]

    def called(inner: Any, *args: Any, **kwargs: Any) -> Any:
        kind = type(inner).__mro__[1]
        symbolic = any(hasattr(each, "_keras_history") for each in flat([list(args), kwargs]))
        if inner.weights and not symbolic and keras.ops.is_tensor(args[0] if args else None):
            args = keras.tree.map_structure(stand_in, args)
        try:
            return kind.__call__(inner, *args, **kwargs)
        except ValueError:
            if not symbolic or not is_code(inner) or own_weights(inner):
                raise
            return inner.call(*args, **kwargs)

    inner = layer._flatten_layers(include_self=False, recursive=False)
    kinds = {id(each): (each, type(each)) for each in inner}
    for each, kind in kinds.values():
        twin = type(kind.__name__, (kind,), {"__call__": called, "__module__": kind.__module__})
        object.__setattr__(each, "__class__", twin)
    try:
        yield
    finally:
        for each, kind in kinds.values():
            object.__setattr__(each, "__class__", kind)


def _add_masks(layer: Any, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Add the masks that Keras takes from the tensors with which a layer is called."""
    call = inspect.signature(layer.call)
    bound = call.bind(*args, **kwargs).arguments
    tensors = {
        name: value
        for name, value in bound.items()
        if any(hasattr(item, "_keras_history") for item in flat(value))
    }
    for name, value in tensors.items():
        mask = "mask" if len(tensors) == 1 else f"{name}_mask"
        if mask in call.parameters and (mask not in bound or kwargs.get(mask, value) is None):
            kwargs[mask] = mapped(value, mask_of)


def traced(layer: Any, arguments: Any = None, batch: int = BATCH) -> Traced:
    """Return the graph of a call of a layer or a model.

    Args:
        layer: A layer or a model of a custom class.
        arguments: The arguments of the call, with attributes `args` and `kwargs`, which contain
            Keras's tensors; None for tensors of the shapes for which it was built.
        batch: The batch size, where it is open; where it is a multiple of BATCH, as in a call by
            code that is followed itself, the same multiple of this.

    Raises:
        Exception: Its code cannot run on symbolic tensors; the error may be of any class.
    """
    import keras

    args, kwargs = (arguments.args, arguments.kwargs) if arguments else _example(layer)
    inputs: dict[int, tuple[Any, Any]] = {}

    def size(each: int | None, position: int) -> int | None:
        if each is None:
            return batch if position == 0 else None
        return each if each == 0 or each % BATCH else each // BATCH * batch

    def stand_in(value: Any) -> Any:
        if not hasattr(value, "_keras_history"):
            return value
        if id(value) not in inputs:
            # A new input, so that this call does not become part of the model's graph.
            shape = tuple(size(each, position) for position, each in enumerate(value.shape))
            new = keras.Input(batch_shape=shape, dtype=_taken_as(layer, value.dtype))
            inputs[id(value)] = value, new
            if mask_of(value) is not None:
                new._keras_mask = stand_in(mask_of(value))
        return inputs[id(value)][1]

    args, kwargs = keras.tree.map_structure(stand_in, (list(args), dict(kwargs)))
    if "training" in inspect.signature(layer.call).parameters:
        kwargs["training"] = kwargs.get("training") or False
    _add_masks(layer, args, kwargs)
    weights = [
        (weight, keras.Input(batch_shape=weight.shape, dtype=_taken_as(layer, weight.dtype)))
        for weight in own_weights(layer)
    ]
    constants: list[tuple[Any, Any]] = []
    stand_ins = {id(weight): new for weight, new in weights}
    with _replaced(layer, stand_ins), _called_symbolically(layer, constants):
        returned = layer.call(*args, **kwargs)
    outputs = [out for out in flat(returned) if out is not None]
    if not all(hasattr(out, "_keras_history") for out in outputs):
        raise UnsupportedError("its output does not depend on what it is called on")
    return Traced(
        list(inputs.values()), weights, constants, returned, outputs, list(nodes_to(outputs))
    )


def _taken_as(layer: Any, dtype: str) -> str:
    """The type in which a layer takes a tensor or a weight: Keras casts floats for it."""
    floats = dtype.startswith(("float", "bfloat")) and layer.compute_dtype.startswith(
        ("float", "bfloat")
    )
    return str(layer.compute_dtype) if floats and layer.autocast else dtype


def followed(layer: Any, arguments: Any = None) -> Traced:
    """Return the graph of a call, in which each size is a number or a multiple of BATCH.

    Raises:
        UnsupportedError: The code cannot run on symbolic tensors, or computes with the batch size
            in another way.
    """
    try:
        trace, other = (traced(layer, arguments, batch) for batch in (BATCH, _OTHER_BATCH))
    except UnsupportedError:
        raise
    except Exception as error:  # any kind: TensorFlow's functions take no symbolic tensors
        reason = str(error).strip().partition("\n")[0]
        raise UnsupportedError(f"its code cannot be followed ({reason})") from error
    sizes = ([each for node in found.nodes for each in _sizes(node)] for found in (trace, other))
    for one, two in zip(*sizes, strict=False):
        multiple = isinstance(one, int) and one * _OTHER_BATCH == two * BATCH
        if one != two and not multiple:
            raise UnsupportedError("its code computes with the batch size")
    if len(trace.nodes) != len(other.nodes):
        raise UnsupportedError("its code depends on the batch size")
    return trace


def _sizes(node: Any) -> Iterator[int | str]:
    """The integers among the settings and arguments of a call, and the shapes of its constants, of
    which also the values if they are single numbers."""
    settings = {} if hasattr(node.operation, "trainable_weights") else vars(node.operation)
    public = [value for name, value in sorted(settings.items()) if not name.startswith("_")]
    for value in flat([public, list(node.arguments.args), dict(node.arguments.kwargs)]):
        if isinstance(value, numbers.Integral):
            yield int(value)
        elif isinstance(value, slice):
            yield from (part for part in (value.start, value.stop) if isinstance(part, int))
        elif isinstance(value, float) or getattr(value, "shape", None) == ():
            yield "symbolic" if hasattr(value, "_keras_history") else str(float(value))
        elif not hasattr(value, "_keras_history"):
            yield from (int(each) for each in getattr(value, "shape", ()) or ())


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
