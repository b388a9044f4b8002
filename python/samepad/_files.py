"""Model files of other frameworks: their modules, and what they themselves compute."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

import samepad.keras
import samepad.onnx
from samepad.keras.weights import array


@dataclass
class ModelFile:
    """A model as its own framework has it."""

    #: Shape and NumPy type of each input; None where a size is free. Of what could be converted.
    inputs: Callable[[], list[tuple[list[int | None], np.dtype[Any]]]]
    #: From arrays to arrays, in the framework's layout.
    run: Callable[[list[Any]], list[Any]]
    #: The module in PyTorch, for "torch" or "keras" as layout.
    module: Callable[[Any], fx.GraphModule]

    def difference(self) -> float:
        """The largest difference of outputs for random inputs, relative to the largest output.

        Free sizes are 2 for the batch and 64 elsewhere. NaN where an output has one.

        Raises:
            ValueError: One of the two cannot take such input, or their outputs' shapes differ.
        """
        generator = np.random.default_rng(0)
        arrays = []
        for shape, dtype in self.inputs():
            first, *others = [*shape, None]
            sizes = ([2 if first is None else first, *(n or 64 for n in others)])[: len(shape)]
            floating = np.issubdtype(dtype, np.floating)
            values = generator.random(sizes) if floating else generator.integers(0, 2, sizes)
            arrays.append(np.asarray(values, dtype))
        try:
            expected = self.run(arrays)
            with torch.no_grad():
                found = _leaves(self.module("keras").eval()(*map(torch.from_numpy, arrays)))
        except Exception as error:  # of the frameworks' own kinds
            shapes = ", ".join(str(value.shape) for value in arrays)
            raise ValueError(f"cannot run on input of shape {shapes}: {_reason(error)}") from error
        differences = []
        for theirs, ours in zip(expected, found, strict=True):
            value = torch.from_numpy(np.array(theirs)).double()
            if ours.shape != value.shape:
                raise ValueError(f"an output has shape {ours.shape}, expected {value.shape}")
            scale = value.abs().amax().clamp(min=1e-12) if value.numel() else 1.0
            distance = (ours.double() - value).abs()
            differences.append(float(distance.amax() / scale) if value.numel() else 0.0)
        return float(torch.tensor(differences).amax())  # NaN if one is


def _leaves(outputs: Any) -> list[Any]:
    """The tensors in a structure; of a dictionary by its keys, sorted as Keras does."""
    if isinstance(outputs, dict):
        outputs = [outputs[key] for key in sorted(outputs)]
    if isinstance(outputs, (list, tuple)):
        return [leaf for value in outputs for leaf in _leaves(value)]
    return [outputs]


def _reason(error: Exception) -> str:
    return str(error).strip() or type(error).__name__


@contextlib.contextmanager
def _lower_suffix(path: Path) -> Iterator[Path]:
    """The file under a name whose suffix Keras knows."""
    if path.suffix == path.suffix.lower():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"{path.stem}{path.suffix.lower()}"
        link.symlink_to(path.resolve())
        yield link


def open_keras(path: Path) -> ModelFile:
    """A .keras or .h5 file.

    Raises:
        ValueError: There is no Keras; the file is none of its own, or has code in it, of which
            Keras's safe mode runs none.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import keras
    except ImportError as error:
        raise ValueError(f"{path} needs Keras: pip install keras tensorflow-cpu") from error
    try:
        with _lower_suffix(path) as file:
            model = keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # of many kinds: Keras, h5py, zipfile and JSON all have their own
        raise ValueError(f"Keras cannot load {path}: {_reason(error)}") from error

    def inputs() -> list[tuple[list[int | None], np.dtype[Any]]]:
        return [(list(tensor.shape), np.dtype(tensor.dtype)) for tensor in model.inputs]

    def run(arrays: list[Any]) -> list[Any]:
        graph = getattr(model, "_functional", model)  # a Sequential model has one
        inputs = keras.tree.pack_sequence_as(graph._inputs_struct, arrays)
        return [array(output) for output in _leaves(model(inputs, training=False))]

    return ModelFile(inputs, run, lambda layout: samepad.keras.to_torch(model, layout))


def open_onnx(path: Path) -> ModelFile:
    """An .onnx file, which ONNX Runtime runs where it is installed, else onnx's own evaluator.

    Raises:
        ValueError: There is no package onnx; or the file is no ONNX model.
    """
    try:
        import onnx
        from onnx.reference import ReferenceEvaluator

        from samepad.onnx.loading import read, sizes_of
    except ImportError as error:
        raise ValueError(f"{path} needs the package onnx: pip install onnx") from error
    proto = read(path)
    constants = {tensor.name for tensor in proto.graph.initializer}
    given = [value for value in proto.graph.input if value.name not in constants]
    for value in given:
        if not value.type.HasField("tensor_type"):
            kind = value.type.WhichOneof("value")
            raise ValueError(f"input {value.name} of {path} is a {kind}, expected a tensor")

    def run(arrays: list[Any]) -> list[Any]:
        feeds = {value.name: array for value, array in zip(given, arrays, strict=True)}
        try:
            import onnxruntime
        except ImportError:
            return list(ReferenceEvaluator(proto).run(None, feeds))
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return list(session.run(None, feeds))

    def inputs() -> list[tuple[list[int | None], np.dtype[Any]]]:
        kinds = [value.type.tensor_type for value in given]
        dtypes = [onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type) for kind in kinds]
        return list(zip([sizes_of(kind) for kind in kinds], dtypes, strict=True))

    return ModelFile(inputs, run, lambda _: samepad.onnx.load(proto))


#: By a file's suffix, in lower case.
OPENERS = {".keras": open_keras, ".h5": open_keras, ".hdf5": open_keras, ".onnx": open_onnx}
