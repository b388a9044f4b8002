"""Converts calls of layers that no rule covers, by way of Keras's own export to ONNX."""

import inspect
import tempfile
from pathlib import Path
from typing import Any

from torch import fx

from samepad import onnx
from samepad._building import UnsupportedError
from samepad.keras.structures import mapped


def _caller(node: Any, tensors: list[Any]) -> Any:
    """Return a model of Keras that calls an operation as a node does, on other tensors."""
    import keras

    positions = {id(tensor): position for position, tensor in enumerate(tensors)}
    operation, named = node.operation, dict(node.arguments.kwargs)
    if "training" in inspect.signature(operation.call).parameters:
        named["training"] = False

    class Caller(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name=operation.name)
            self.operation = operation

        def call(self, given: Any) -> Any:
            called_with = mapped(
                [list(node.arguments.args), named],
                lambda item: given[positions[id(item)]] if id(item) in positions else item,
            )
            return operation(*called_with[0], **called_with[1])

    return Caller()


def exported(node: Any, tensors: list[Any]) -> fx.GraphModule:
    """Return a module that computes one call of a layer or an operation, in inference.

    Args:
        node: The call in Keras's graph.
        tensors: Keras's tensors that the call takes, each once.

    Returns:
        The module. It takes the tensors in order, in Keras's layout, and returns a tensor or a
        tuple.

    Raises:
        UnsupportedError: Keras cannot export the call, or samepad.onnx cannot convert what it
            exports.
    """
    import keras

    specs = [keras.layers.InputSpec(shape=t.shape, dtype=t.dtype) for t in tensors]
    for position, spec in enumerate(specs):
        spec.name = f"x{position}"
    try:
        caller = _caller(node, tensors)
        caller([keras.KerasTensor(tensor.shape, tensor.dtype) for tensor in tensors])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            caller.export(str(path), format="onnx", verbose=False, input_signature=[specs])
            module = onnx.load(path)
    except Exception as error:  # whatever Keras, its backend and their exporters raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnsupportedError(f"and cannot be exported: {reason}") from error
    taken = sum(part.op == "placeholder" for part in module.graph.nodes)
    if taken != len(tensors):
        raise UnsupportedError(f"and is exported with {taken} inputs, expected {len(tensors)}")
    return module
