"""Runs TensorFlow's files in TensorFlow, for comparisons."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from samepad._comparison import Run
from samepad.tensorflow.converting import Exported


def runner(exported: Exported, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[str, Run]:
    """Return the name of a runtime and a function that runs a file in it.

    Args:
        exported: The file, whose operators have been checked, as it was converted to ONNX.
        inputs: The names of the ONNX model's inputs, which are those that the file has too.
        outputs: The names of its outputs.
    """
    if exported.kind == "tflite":
        return "TensorFlow Lite", _of_tflite(exported, inputs, outputs)
    import tensorflow as tf

    if exported.kind == "graph":
        from samepad.tensorflow.graphs import read_graph

        definition = read_graph(exported.path)
        graph = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(definition, name=""), [])
        pruned = graph.prune(list(inputs), list(outputs))

        def run(arrays: list[Any]) -> list[Any]:
            return [each.numpy() for each in pruned(*map(tf.constant, arrays))]

    else:
        model = tf.saved_model.load(str(exported.path))  # kept, because it owns the variables
        signature = exported.signature

        def run(arrays: list[Any]) -> list[Any]:
            given = dict(zip(inputs, map(tf.constant, arrays), strict=True))
            found = model.signatures[signature](**given)
            return [found[name].numpy() for name in outputs]

    return "TensorFlow", run


def _of_tflite(exported: Exported, inputs: Sequence[str], outputs: Sequence[str]) -> Run:
    """Return a function that runs a .tflite file."""
    import tensorflow as tf

    with warnings.catch_warnings():  # TensorFlow will move the interpreter to another package
        warnings.simplefilter("ignore", UserWarning)
        interpreter = tf.lite.Interpreter(
            str(exported.path),
            # Without delegates, one of which would run any operator of TensorFlow.
            experimental_op_resolver_type=(
                tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            ),
        )

    def run(arrays: list[Any]) -> list[Any]:
        places = {each["name"]: each["index"] for each in interpreter.get_input_details()}
        for name, array in zip(inputs, arrays, strict=True):
            now = {each["name"]: each["shape"] for each in interpreter.get_input_details()}[name]
            if tuple(now) != array.shape:
                interpreter.resize_tensor_input(places[name], array.shape)
        interpreter.allocate_tensors()
        for name, array in zip(inputs, arrays, strict=True):
            interpreter.set_tensor(places[name], array)
        interpreter.invoke()
        results = {each["name"]: each["index"] for each in interpreter.get_output_details()}
        return [np.array(interpreter.get_tensor(results[name])) for name in outputs]

    return run
