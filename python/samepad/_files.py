"""Model files of other frameworks: their modules, and what they themselves compute."""

import functools
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

import samepad.keras
import samepad.onnx
from samepad.keras.graph import converted, flat, functional

#: From what a framework's model takes to what it returns, in the framework's layout.
Run = Callable[[list[Any]], list[Any]]


@dataclass
class ModelFile:
    """A model as its own framework has it."""

    #: Shape and NumPy type of each input; None where a size is free. Of what could be converted.
    inputs: Callable[[], list[tuple[list[int | None], np.dtype[Any]]]]
    #: The framework's computation, from arrays to arrays.
    run: Run
    #: The module in PyTorch, for "torch" or "keras" as layout, and its computation: from tensors to
    #: tensors.
    module: Callable[[Any], tuple[fx.GraphModule, Run]]

    def difference(self, ours: Run, shapes: list[list[int]] | None = None) -> float:
        """The largest difference of outputs for random inputs, relative to the largest output.

        Args:
            ours: The module's computation.
            shapes: Of the inputs, with or without the batch. Else free sizes are 2 for the batch
                and 64 elsewhere.

        Returns:
            The difference; NaN where an output has one.

        Raises:
            ValueError: The shapes are none of the inputs'; one of the two cannot take such input,
                or their outputs' shapes differ.
        """
        inputs = self.inputs()
        sizes = _sizes([shape for shape, _ in inputs], shapes)
        generator = np.random.default_rng(0)
        arrays = []
        for size, (_, dtype) in zip(sizes, inputs, strict=True):
            floating = np.issubdtype(dtype, np.floating)
            values = generator.random(size) if floating else generator.integers(0, 2, size)
            arrays.append(np.asarray(values, dtype))
        try:
            expected = self.run(arrays)
            with torch.no_grad():
                found = ours([torch.from_numpy(array) for array in arrays])
        except Exception as error:  # of the frameworks' own kinds
            taken = ", ".join(str(array.shape) for array in arrays)
            free = shapes is None and any(None in shape for shape, _ in inputs)
            advice = "; --input-shape sets the sizes that the model leaves open" if free else ""
            raise ValueError(
                f"cannot run on input of shape {taken}: {_reason(error)}{advice}"
            ) from error
        differences = []
        for theirs, tensor in zip(expected, found, strict=True):
            value = torch.from_numpy(np.array(theirs)).double()
            if tensor.shape != value.shape:
                raise ValueError(f"an output has shape {tensor.shape}, expected {value.shape}")
            scale = value.abs().amax().clamp(min=1e-12) if value.numel() else 1.0
            distance = (tensor.double() - value).abs()
            differences.append(float(distance.amax() / scale) if value.numel() else 0.0)
        return float(torch.tensor(differences).amax())  # NaN if one is


def _sizes(inputs: list[list[int | None]], given: list[list[int]] | None) -> list[list[int]]:
    """The sizes of inputs of these shapes: the given ones, or some where they are free.

    Raises:
        ValueError: The given ones do not fit.
    """
    if given is None:
        free = [[2, *[64] * (len(shape) - 1)] for shape in inputs]
        return [
            [other if size is None else size for size, other in zip(shape, others, strict=False)]
            for shape, others in zip(inputs, free, strict=True)
        ]
    if len(given) != len(inputs):
        raise ValueError(f"{len(given)} input shapes are given, but the model has {len(inputs)}")
    found = []
    for shape, wanted in zip(inputs, given, strict=True):
        # The batch may be left out.
        full = [shape[0] or 2, *wanted] if len(wanted) == len(shape) - 1 else wanted
        fits = len(full) == len(shape) and all(
            size in (None, other) for size, other in zip(shape, full, strict=True)
        )
        if not fits:
            raise ValueError(f"input shape {wanted} does not fit the model's input {shape}")
        found.append(full)
    return found


def _reason(error: Exception) -> str:
    return str(error).strip() or type(error).__name__


def open_keras(path: Path) -> ModelFile:
    """A .keras or .h5 file.

    Raises:
        ValueError: As samepad.keras.load_model.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    model = samepad.keras.load_model(path)
    import keras

    @functools.cache
    def reference() -> Any:
        """The model, computing as the module does: not in half precision."""
        return _in_single_precision(keras, model)

    def inputs() -> list[tuple[list[int | None], np.dtype[Any]]]:
        return [(list(tensor.shape), np.dtype(tensor.dtype)) for tensor in reference().inputs]

    def run(arrays: list[Any]) -> list[Any]:
        graph = functional(reference())
        given = keras.tree.pack_sequence_as(graph._inputs_struct, arrays)
        outputs = flat(reference()(given, training=False))
        return [keras.ops.convert_to_numpy(output) for output in outputs]

    def module(layout: Any) -> tuple[fx.GraphModule, Run]:
        made = converted(model, layout)

        def call(tensors: list[Any]) -> list[Any]:
            given = [
                tensor.movedim(-1, 1) if first else tensor
                for tensor, first in zip(tensors, made.inputs, strict=True)
            ]
            found = zip(flat(made.module.eval()(*given)), made.outputs, strict=True)
            return [
                tensor.movedim(1, -1) if value.channels_first else tensor for tensor, value in found
            ]

        return made.module, call

    return ModelFile(inputs, run, module)


def _in_single_precision(keras: Any, model: Any) -> Any:
    """The model; where it has layers of half precision a copy that computes in single."""
    config = keras.saving.serialize_keras_object(model)
    single = _without_half(config)
    if single == config:
        return model
    copy = keras.saving.deserialize_keras_object(single)
    with tempfile.TemporaryDirectory() as folder:  # layers have their own ways to take weights
        weights = Path(folder) / "all.weights.h5"
        model.save_weights(weights)
        copy.load_weights(weights)
    return copy


def _without_half(config: Any, is_type: bool = False) -> Any:
    """A model's configuration with single in place of half precision, under each `dtype`."""
    if isinstance(config, dict):
        return {
            key: _without_half(value, is_type or key == "dtype") for key, value in config.items()
        }
    if isinstance(config, list):
        return [_without_half(value, is_type) for value in config]
    half = isinstance(config, str) and config.removeprefix("mixed_") in ("float16", "bfloat16")
    return "float32" if is_type and half else config


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

    def module(_: Any) -> tuple[fx.GraphModule, Run]:
        made = samepad.onnx.load(proto)
        return made, lambda tensors: flat(made(*tensors))

    return ModelFile(inputs, run, module)


#: By a file's suffix, in lower case.
OPENERS = {".keras": open_keras, ".h5": open_keras, ".hdf5": open_keras, ".onnx": open_onnx}
