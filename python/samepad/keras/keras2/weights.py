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


def _fill(part: Part, arrays: list[Array]) -> None:
    """Copy weights, in Keras 2's order, into a part.

    Raises:
        ValueError: Their number or shapes do not fit the part.
    """
    learning, fixed = _slots(part)
    slots = [*learning, *fixed]
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


def fill(model: Part, arrays_of: Callable[[str], list[Array]]) -> None:
    """Copy weights into a rebuilt model.

    Args:
        model: The model.
        arrays_of: Returns the weights of the layer of a given name, in Keras 2's order: trainable
            weights first. For a nested model these are the weights of all its layers.

    Raises:
        ValueError: The weights do not fit the model.
    """
    for part in model.parts:
        if part.layer is not None and part.kind != "InputLayer":
            _fill(part, arrays_of(part.name))
    _finish(model)


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
    """Copy the weights of an .h5 file, which has a group per layer; raises as `fill`."""
    root = file.get("model_weights", file)

    def arrays_of(name: str) -> list[Array]:
        if name not in root:
            return []
        return [
            np.asarray(root[name][weight]) for weight in _texts(root[name].attrs, "weight_names")
        ]

    fill(model, arrays_of)


def _snake_case(kind: str) -> str:
    """Return the name by which Keras 2 calls layers of a class in a .keras file."""
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()
    return "private" + words if words[0] == "_" else words


def fill_from_archive(model: Part, group: Any) -> None:
    """Copy the weights of a .keras file, whose groups are nested as the layers are.

    Raises:
        ValueError: The weights do not fit the model.
    """
    _fill_nested(model, group)
    _finish(model)


def _fill_nested(part: Part, group: Any) -> None:
    if part.kind in MODELS:
        # Files of Keras 2.12 have another name for this group.
        layers = group.get("layers") or group.get("_layer_checkpoint_dependencies") or {}
        counts: dict[str, int] = {}
        for inner in part.parts:
            name = _snake_case(inner.kind)
            count = counts[name] = counts.get(name, -1) + 1
            if count:
                name = f"{name}_{count}"
            if name in layers:
                _fill_nested(inner, layers[name])
        return
    for inner in part.parts:
        if inner.name in group:
            _fill_nested(inner, group[inner.name])
    done = {inner.name for inner in part.parts}

    def own(path: str, item: Any) -> None:
        *names, last = path.split("/")
        if last != "vars" or not len(item) or done.intersection(names[:1]):
            return
        arrays = [np.asarray(item[str(index)]) for index in range(len(item))]
        if not names:
            _fill(part, arrays)
            return
        layer = part.layer
        for name in names:
            layer = getattr(layer, name, None)
        if layer is None:
            raise ValueError(f"{part.name} ({part.kind}) has no {'.'.join(names)}")
        layer.load_own_variables({str(index): array for index, array in enumerate(arrays)})

    group.visititems(own)
