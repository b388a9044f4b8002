"""Copies the weights of Keras 2's files and models into models rebuilt in Keras 3."""

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samepad.keras.keras2.graph import MODELS, Part

Array = NDArray[Any]

#: Where a weight of Keras 2 goes: the variable of Keras 3, and a function that converts it.
Slot = tuple[Any, Callable[[Array], Array]]


def _same(array: Array) -> Array:
    return array


#: The number of gates of the layers whose weights are laid out for cuDNN.
_CUDNN = {"CuDNNLSTM": 4, "CuDNNGRU": 3}


def _cudnn(gates: int) -> tuple[Callable[[Array], Array], ...]:
    """Return functions that convert cuDNN's kernel, recurrent kernel and pair of biases."""

    def each(matrix: Array, change: Callable[[Array], Array]) -> Array:
        return np.hstack([change(part) for part in np.hsplit(matrix, gates)])

    def kernel(matrix: Array) -> Array:
        return each(matrix, lambda part: part.T.reshape(part.shape, order="F"))

    def bias(both: Array) -> Array:
        # GRU keeps both biases, as it does with reset_after=True.
        two = both.reshape(2, -1)
        return two.sum(axis=0) if gates == 4 else two

    return kernel, lambda matrix: each(matrix, np.transpose), bias


def _slots(part: Part) -> tuple[list[Slot], list[Slot]]:
    """Return the slots of trainable and of other weights, each in Keras 2's order."""
    if part.kind in MODELS:
        trainable: list[Slot] = []
        others: list[Slot] = []
        for inner in part.parts:
            more, rest = _slots(inner)
            trainable += more
            others += rest
        return trainable, others
    if part.kind == "InputLayer" or part.function:
        return [], []
    if part.kind == "TimeDistributed":
        return _slots(part.parts[0])
    cell = part.parts[0].kind if part.kind == "Bidirectional" else part.kind
    changes = itertools.cycle(_cudnn(_CUDNN[cell]) if cell in _CUDNN else [_same])
    lists = (part.layer.trainable_weights, part.layer.non_trainable_weights)
    learning, fixed = ([(v, next(changes)) for v in variables] for variables in lists)
    return learning, fixed


def _every(part: Part) -> Iterator[Part]:
    """Yield a part and all parts in it."""
    yield part
    for inner in part.parts:
        yield from _every(inner)


def _assign(part: Part, slots: list[Slot], arrays: list[Array]) -> None:
    """Copy weights, in Keras 2's order, into slots of a part.

    Raises:
        ValueError: Their number or shapes do not fit the part.
    """
    found = [array.shape for array in arrays]
    if len(slots) != len(arrays):
        raise ValueError(f"{part.name} ({part.kind}) has {len(slots)} weights, not {len(arrays)}")
    for (variable, change), array in zip(slots, arrays, strict=True):
        value = change(array)
        if value.shape != tuple(variable.shape):
            raise ValueError(
                f"{part.name} ({part.kind}) has weights of other shapes than {found}, such as "
                f"{variable.name} of {tuple(variable.shape)}"
            )
        variable.assign(value)


def _fill(part: Part, arrays: list[Array]) -> None:
    """Copy all weights of a part, in Keras 2's order, into it; raises as `_assign`."""
    learning, fixed = _slots(part)
    _assign(part, [*learning, *fixed], arrays)


def fill_from_live(part: Part, live: Any) -> None:
    """Copy the weights of a layer or model of tf_keras into its counterpart.

    Raises:
        ValueError: The weights do not fit.
    """
    if part.kind in MODELS:
        layers = {layer.name: layer for layer in live.layers}
        for inner in part.parts:
            if inner.layer is not None and inner.kind != "InputLayer" and not inner.filled:
                fill_from_live(inner, layers[inner.name])
    else:
        weights = (*live.trainable_weights, *live.non_trainable_weights)
        _fill(part, [np.asarray(weight) for weight in weights])
    _finish(part)


def _finish(model: Part) -> None:
    for part in _every(model):
        if part.kind == "Normalization":
            part.layer.finalize_state()


def _texts(attributes: Any, name: str) -> list[str]:
    """Return a list of names from an HDF5 group's attributes, which hold long lists in pieces."""
    pieces = [name] if name in attributes else []
    while not pieces or pieces[-1] != name:
        piece = f"{name}{len(pieces)}"
        if piece not in attributes:
            break
        pieces.append(piece)
    found = [text for piece in pieces for text in attributes[piece]]
    return [text.decode() if isinstance(text, bytes) else str(text) for text in found]


def fill_from_h5(model: Part, file: Any) -> None:
    """Copy the weights of an .h5 file, which has a group for each layer of the model.

    The group of a nested model has the weights of all its layers.

    Raises:
        ValueError: The weights do not fit the model, or the file lacks those of a layer.
    """
    root = file.get("model_weights", file)
    lacking = []
    for part in model.parts:
        if part.layer is None or part.kind == "InputLayer":
            continue
        group = root.get(part.name)
        names = [] if group is None else _texts(group.attrs, "weight_names")
        if any(name not in group for name in names) or (part.layer.weights and not names):
            lacking.append(f"{part.name} ({part.kind})")
        else:
            _fill(part, [np.asarray(group[name]) for name in names])
    _check_none_lacks(lacking)
    _finish(model)


def _check_none_lacks(parts: list[str]) -> None:
    """Refuse a file without the weights of layers with these names and classes.

    Raises:
        ValueError: There are such layers.
    """
    if parts:
        raise ValueError(f"the file lacks weights of {', '.join(parts)}")


def _snake_case(kind: str) -> str:
    """Return the name by which Keras 2 calls layers of a class in a .keras file."""
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()
    return "private" + words if words[0] == "_" else words


def fill_from_archive(model: Part, group: Any) -> None:
    """Copy the weights of a .keras file, whose groups are nested as the layers are.

    Raises:
        ValueError: The weights do not fit the model, or the file lacks those of a layer.
    """
    filled: set[int] = set()
    _fill_nested(model, group, filled)
    _check_none_lacks(list(_not_filled(model, filled)))
    _finish(model)


def _not_filled(part: Part, filled: set[int]) -> Iterator[str]:
    """Yield the names and classes of the layers in a part that have other weights than `filled`."""
    if part.kind in MODELS:
        for inner in part.parts:
            yield from _not_filled(inner, filled)
        return
    weights = [] if part.kind == "InputLayer" or part.function else part.layer.weights
    if any(id(weight) not in filled for weight in weights):
        yield f"{part.name} ({part.kind})"


def _in_list(kinds: list[str]) -> list[str]:
    """Return the names of the groups for layers of these classes in a list.

    From the second of a class on they have numbers.
    """
    counts: dict[str, int] = {}
    names = []
    for kind in kinds:
        name = _snake_case(kind)
        count = counts[name] = counts.get(name, -1) + 1
        names.append(f"{name}_{count}" if count else name)
    return names


def _at(layer: Any, path: list[str]) -> Any:
    """Return what is below a layer of Keras 3 at the path of a group, or None."""
    for name in path:
        if isinstance(layer, (list, tuple)):
            names = _in_list([type(item).__name__ for item in layer])
            layer = dict(zip(names, layer, strict=True)).get(name)
        else:
            layer = getattr(layer, name, None)
    return layer


def _fill_nested(part: Part, group: Any, filled: set[int]) -> None:
    """Copy the weights in a group into a part; add the ids of the variables to `filled`."""
    if part.kind in MODELS:
        # Files of Keras 2.12 have another name for this group.
        layers = group.get("layers") or group.get("_layer_checkpoint_dependencies") or {}
        names = _in_list([inner.kind for inner in part.parts])
        for inner, name in zip(part.parts, names, strict=True):
            if name in layers:
                _fill_nested(inner, layers[name], filled)
        return
    if part.kind == "InputLayer" or part.function:
        return
    for inner in part.parts:
        if inner.name in group:
            _fill_nested(inner, group[inner.name], filled)
    done = {inner.name for inner in part.parts}
    apart = {id(weight) for inner in part.parts for weight in inner.layer.weights}

    def own(path: str, item: Any) -> None:
        *names, last = path.split("/")
        indices = [str(index) for index in range(len(item) if last == "vars" else 0)]
        if not indices or any(i not in item for i in indices) or done.intersection(names[:1]):
            return
        arrays = [np.asarray(item[index]) for index in indices]
        if names:
            layer = _at(part.layer, names)
            if layer is None:
                raise ValueError(f"{part.name} ({part.kind}) has no {'.'.join(names)}")
            variables = (*layer._trainable_variables, *layer._non_trainable_variables)
            slots: list[Slot] = [(variable, _same) for variable in variables]
        else:
            learning, fixed = _slots(part)
            slots = [slot for slot in (*learning, *fixed) if id(slot[0]) not in apart]
        _assign(part, slots, arrays)
        filled.update(id(variable) for variable, _ in slots)

    group.visititems(own)
