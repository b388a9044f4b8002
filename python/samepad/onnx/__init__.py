"""ONNX models in PyTorch, with equal outputs.

    module = samepad.onnx.load("model.onnx")

The package onnx is needed to load a model, but not to run the resulting module: this package
imports it only when a model is loaded.
"""

from collections.abc import Mapping
from typing import Any

from torch import fx

__all__ = ["load", "register_symbolics"]


def load(model: Any, constants: Mapping[str, Any] | None = None) -> fx.GraphModule:
    """Convert an ONNX model to a PyTorch module that computes the same.

    Convolutions and pools become layers of samepad if their padding is `auto_pad` or differs
    between the two sides, and torch.nn's layers otherwise. What depends only on constants is
    computed at once. The module is in evaluation mode, because ONNX models are for inference.

    Args:
        model: Path of a file, or an onnx.ModelProto. Tensors in separate files are read from the
            folder of the model's file. Nothing in a file is run as code.
        constants: Values for inputs, by their names: numbers, arrays or tensors of the inputs'
            shapes. The module does not take these inputs. What depends only on them is computed at
            once, which often decides the branch of an If.

    Returns:
        The module. It takes the model's inputs, in order, as tensors of the same shapes as in ONNX,
        and returns a tensor, or a tuple if the model has several outputs.

    Raises:
        ImportError: The package onnx is not installed.
        TypeError: `model` is neither a path nor a model.
        ValueError: The file is missing or is not an ONNX model; or the model has operators or
            attributes without a counterpart, or weights whose sizes do not fit their input. The
            message then names all nodes that this holds for. Or `constants` has a name that is no
            input's, or a value that does not fit.
    """
    try:
        from samepad.onnx import loading
    except ImportError as error:
        raise ImportError("samepad.onnx.load needs the package onnx: pip install onnx") from error
    return loading.load(model, constants)


def register_symbolics() -> None:
    """Tell torch.onnx.export(..., dynamo=False) how to write samepad's operators in ONNX.

    Exporting a Python module that calls samepad does this automatically. Call this function before
    exporting something that runs none of samepad's Python code: a module from torch.jit.script or
    torch.jit.load, or calls of torch.ops.samepad.
    """
    from samepad.onnx import symbolics

    symbolics.register()
