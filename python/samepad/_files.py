"""Opens model files of other frameworks, to run them there and to convert them."""

import functools
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import samepad.keras
import samepad.onnx
from samepad._comparison import Input, Model, Run
from samepad.keras.graph import converted, functional
from samepad.keras.structures import flat
from samepad.tensorflow.converting import Exported, export, is_saved_model


def _choose_backend() -> None:
    """Let Keras compute with TensorFlow or JAX if one of them is installed.

    Keras's PyTorch backend is no reference: where SAME pads one side more than the other, its
    average pools take the values at the edge for those beyond it.
    """
    if "keras" in sys.modules:
        return
    there = [name for name in ("tensorflow", "jax") if importlib.util.find_spec(name)]
    if os.environ.get("KERAS_BACKEND") not in there:
        os.environ["KERAS_BACKEND"] = there[0] if there else "torch"
    os.environ.setdefault("JAX_ENABLE_X64", "1")  # without it JAX has no float64


def open_keras(path: Path) -> Callable[[Any], Model]:
    """Open a .keras or .h5 file; the result converts it for the layout "torch" or "keras".

    Raises:
        ValueError: As samepad.keras.load_model.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _choose_backend()
    model = samepad.keras.load_model(path)
    import keras

    return lambda layout: _keras_model(keras, model, layout)


def _keras_model(keras: Any, model: Any, layout: Any) -> Model:
    """Convert a model of Keras.

    Raises:
        ValueError: The model cannot be converted.
    """
    made = converted(model, layout)
    single = _computing_in(keras, model, {"float16": "float32", "bfloat16": "float32"})

    def run(other: Any, arrays: list[Any]) -> list[Any]:
        given = keras.tree.pack_sequence_as(functional(other)._inputs_struct, arrays)
        return [keras.ops.convert_to_numpy(value) for value in flat(other(given, training=False))]

    def run_in_double(arrays: list[Any]) -> list[Any]:
        usual = keras.config.floatx()
        keras.config.set_floatx("float64")
        try:
            return run(_computing_in(keras, single, {"float32": "float64"}), arrays)
        finally:
            keras.config.set_floatx(usual)

    def call(module: Any, tensors: list[Any]) -> list[Any]:
        given = [
            tensor.movedim(-1, 1) if first else tensor
            for tensor, first in zip(tensors, made.inputs, strict=True)
        ]
        found = zip(flat(module.eval()(*given)), made.outputs, strict=True)
        return [
            tensor.movedim(1, -1) if value.channels_first else tensor for tensor, value in found
        ]

    inputs = [
        Input(
            tensor.name,
            list(tensor.shape),
            np.dtype(tensor.dtype),
            ["batch", *[None] * len(tensor.shape)][: len(tensor.shape)],
        )
        for tensor in single.inputs
    ]
    runtime = f"Keras on {keras.backend.backend()}"
    return Model(inputs, runtime, functools.partial(run, single), run_in_double, made.module, call)


def _computing_in(keras: Any, model: Any, types: dict[str, str]) -> Any:
    """Return a copy of the model with types replaced, or the model if it uses none of them."""
    config = keras.saving.serialize_keras_object(model)
    other = _retyped(config, types)
    if other == config:
        return model
    copy = keras.saving.deserialize_keras_object(other)
    with tempfile.TemporaryDirectory() as folder:  # some layers load weights in ways of their own
        weights = Path(folder) / "all.weights.h5"
        model.save_weights(weights)
        copy.load_weights(weights)
    return copy


def _retyped(config: Any, types: dict[str, str], is_type: bool = False) -> Any:
    """A copy of a model's configuration in which types under the key `dtype` are replaced."""
    if isinstance(config, dict):
        return {
            key: _retyped(value, types, is_type or key == "dtype") for key, value in config.items()
        }
    if isinstance(config, list):
        return [_retyped(value, types) for value in config]
    if is_type and isinstance(config, str):
        return types.get(config.removeprefix("mixed_"), config)
    return config


#: Name of the reference evaluator in the package onnx, for messages.
EVALUATOR = "onnx's evaluator"


def open_onnx(path: Path) -> Callable[[Any], Model]:
    """Open an .onnx file; the result converts it, and ignores the layout.

    Raises:
        ValueError: The package onnx is not installed, the file is not an ONNX model, or an input
            is not a tensor.
    """
    try:
        import onnx

        from samepad.onnx.loading import read
    except ImportError as error:
        raise ValueError(f"{path} needs the package onnx: pip install onnx") from error
    proto = read(path)
    constants = {tensor.name for tensor in proto.graph.initializer}
    given = [value for value in proto.graph.input if value.name not in constants]
    for value in given:
        if not value.type.HasField("tensor_type"):
            kind = value.type.WhichOneof("value")
            raise ValueError(f"input {value.name} of {path} is a {kind}, expected a tensor")
    return lambda _: _onnx_model(onnx, path, proto, given)


def _onnx_model(onnx: Any, path: Path, proto: Any, given: list[Any]) -> Model:
    """Convert a model of ONNX.

    Raises:
        ValueError: The model cannot be converted.
    """
    inputs = _onnx_inputs(onnx, given)
    names = [value.name for value in given]
    module = samepad.onnx.load(proto)
    # The Python interface of ONNX Runtime does not take arrays of types that NumPy itself lacks.
    if all(given.dtype.isbuiltin == 1 for given in inputs):
        runtime, run = _onnx_runtime(path, proto, names)
    else:
        runtime, run = EVALUATOR, _evaluator(proto, names)

    def run_in_double(arrays: list[Any]) -> list[Any]:
        wide = type(proto)()
        wide.CopyFrom(proto)
        _widen(onnx, wide.graph)
        for function in wide.functions:
            _widen_nodes(onnx, function.node)
        return _evaluator(wide, names)(arrays)

    return Model(inputs, runtime, run, run_in_double, module, _call)


def _onnx_inputs(onnx: Any, given: Any, quantized: bool = False) -> list[Input]:
    """Describe the inputs of a model of ONNX; `quantized`: its short integers stand for numbers."""
    from samepad.onnx.loading import sizes_of

    return [
        Input(
            value.name,
            sizes_of(value.type.tensor_type) if value.type.tensor_type.HasField("shape") else None,
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
            [dim.dim_param or None for dim in value.type.tensor_type.shape.dim],
            quantized and _is_short_integer(onnx, value),
        )
        for value in given
    ]


def _call(module: Any, tensors: list[Any]) -> list[Any]:
    """Run a module of a model of ONNX."""
    return flat(module(*tensors))


def _onnx_runtime(path: Path, proto: Any, names: list[str]) -> tuple[str, Run]:
    """Return the name of a runtime and a function that runs the model in it.

    This is ONNX Runtime if it is installed and accepts the model, else onnx's own evaluator.
    """
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised, so they need not be logged as well
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # not installed, or it lacks kernels for some types (its own error classes)
        return EVALUATOR, _evaluator(proto, names)
    return "ONNX Runtime", lambda arrays: list(
        session.run(None, dict(zip(names, arrays, strict=True)))
    )


def _evaluator(proto: Any, names: list[str]) -> Run:
    """Return a function that runs the model in onnx's own evaluator."""
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    class BatchNormalization(OpRun):
        """Inference only: before opset 14, the evaluator's own mixes in the batch's statistics."""

        op_domain = ""

        def _run(self, x: Any, *statistics: Any, epsilon: float = 1e-5, **_: Any) -> tuple[Any]:
            shape = (-1, *[1] * (x.ndim - 2))
            scale, bias, mean, variance = (values.reshape(shape) for values in statistics)
            return ((scale * (x - mean) / np.sqrt(variance + epsilon) + bias).astype(x.dtype),)

    evaluator = ReferenceEvaluator(proto, new_ops=[BatchNormalization])

    def run(arrays: list[Any]) -> list[Any]:
        with np.errstate(all="ignore"):  # outputs may rightly be infinite
            return list(evaluator.run(None, dict(zip(names, arrays, strict=True))))

    return run


def _widen(onnx: Any, graph: Any) -> None:
    """Change every shorter floating-point type in a graph to float64, in place."""
    for tensor in graph.initializer:
        _widen_tensor(onnx, tensor)
    for sparse in graph.sparse_initializer:
        _widen_tensor(onnx, sparse.values)
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.HasField("tensor_type"):
            kind = value.type.tensor_type
            kind.elem_type = _widened(onnx, kind.elem_type)
    _widen_nodes(onnx, graph.node)


def _widen_nodes(onnx: Any, nodes: Any) -> None:
    """Do the same in nodes: in their constants, requested types and subgraphs."""
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == attribute.TENSOR:
                _widen_tensor(onnx, attribute.t)
            elif attribute.type == attribute.GRAPH:
                _widen(onnx, attribute.g)
            elif attribute.name in ("to", "dtype", "output_datatype"):
                attribute.i = _widened(onnx, attribute.i)


def _widen_tensor(onnx: Any, tensor: Any) -> None:
    if _widened(onnx, tensor.data_type) != tensor.data_type:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _widened(onnx: Any, kind: int) -> int:
    """Map the number of a shorter floating-point type to float64's; keep other types."""
    proto = onnx.TensorProto
    return proto.DOUBLE if kind in (proto.FLOAT, proto.FLOAT16, proto.BFLOAT16) else kind


#: Added to a report when the outputs of a model with integer weights differ.
_DYNAMIC_RANGE = (
    "the weights are integers, but not what its layers take: TensorFlow Lite rounds that to 8 bits "
    "while it runs, and the module does not. --rtol=0.05 allows for it"
)
#: Added to a report when the outputs of a quantized model differ.
_QUANTIZED = (
    "each layer rounds to integers, and values half-way between two are not rounded in the same "
    "way everywhere: in deep models this adds up to some steps. --atol=6 allows for it where the "
    "output is an integer"
)


def open_tensorflow(path: Path) -> Callable[[Any], Model]:
    """Open a .tflite file, a frozen graph or a SavedModel; the result ignores the layout.

    Raises:
        ValueError: As samepad.tensorflow.load; or a package is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        exported = export(path)
    except ImportError as error:
        raise ValueError(str(error)) from error
    return lambda _: _tensorflow_model(exported)


def _tensorflow_model(exported: Exported) -> Model:
    """Convert a model of TensorFlow.

    Raises:
        ValueError: The model cannot be converted.
    """
    import onnx

    from samepad.tensorflow.running import runner

    graph = exported.proto.graph
    module = samepad.onnx.load(exported.proto)
    names = [[value.name for value in values] for values in (graph.input, graph.output)]
    runtime, run = runner(exported, *names)

    def run_in_double(_: list[Any]) -> list[Any]:
        raise ValueError(f"{runtime} computes a file in the types that it was saved in")

    rounds = any(node.op_type == "QuantizeLinear" for node in graph.node)
    weights = {tensor.name for tensor in graph.initializer}
    integer_weights = any(
        node.op_type == "DequantizeLinear" and node.input[0] in weights for node in graph.node
    )
    return Model(
        _onnx_inputs(onnx, graph.input, quantized=rounds),
        runtime,
        run,
        run_in_double,
        module,
        _call,
        steps=[_step(onnx, graph, value) if rounds else 0.0 for value in graph.output],
        note=_QUANTIZED if rounds else _DYNAMIC_RANGE if integer_weights else "",
    )


def _is_short_integer(onnx: Any, value: Any) -> bool:
    proto = onnx.TensorProto
    return value.type.tensor_type.elem_type in (proto.INT8, proto.UINT8, proto.INT16)


def _step(onnx: Any, graph: Any, output: Any) -> float:
    """Return by how much an output of a quantized model changes with the integer behind it."""
    if _is_short_integer(onnx, output):
        return 1.0
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(output.name)
    while node is not None and node.op_type in ("Reshape", "Squeeze", "Transpose", "Unsqueeze"):
        node = makers.get(node.input[0])
    if node is None or node.op_type != "DequantizeLinear":
        return 0.0
    scales = [onnx.numpy_helper.to_array(t) for t in graph.initializer if t.name == node.input[1]]
    return max((float(scale.max()) for scale in scales), default=0.0)


#: The function that opens a file, by the file's suffix in lower case.
OPENERS = {
    ".keras": open_keras,
    ".h5": open_keras,
    ".hdf5": open_keras,
    ".onnx": open_onnx,
    ".tflite": open_tensorflow,
    ".pb": open_tensorflow,
}


def opener(path: Path) -> Callable[[Path], Callable[[Any], Model]]:
    """Return the function that opens a model.

    Raises:
        ValueError: There is no such file, or its suffix is no model's.
    """
    if is_saved_model(path):
        return open_tensorflow
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    suffix = path.suffix.lower()
    if suffix not in OPENERS:
        raise ValueError(f"the model must end in {' or '.join(OPENERS)}, but got {path}")
    return OPENERS[suffix]
