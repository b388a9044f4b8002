"""ONNX models in PyTorch, with equal outputs.

    module = samepad.onnx.load("model.onnx")

The package onnx is needed to load a model, and not to run what came of it: nothing here imports it
before.
"""

from typing import Any

from torch import fx

__all__ = ["load", "register_symbolics"]


def load(model: Any) -> fx.GraphModule:
    """A PyTorch module that computes what an ONNX model computes.

    Convolutions and pools become layers of samepad where their padding is `auto_pad` or differs
    between the sides, and torch.nn's elsewhere; what depends on constants alone is computed now.
    The module is in evaluation mode: ONNX models are for inference.

    Args:
        model: Path of a file, or an onnx.ModelProto. Tensors kept beside a file are read from its
            folder. Nothing in a file is run as code.

    Returns:
        The module. It takes the model's inputs, in order, as tensors of ONNX's shapes, and returns
        a tensor, or a tuple where the model has several outputs.

    Raises:
        ImportError: There is no package onnx.
        TypeError: `model` is neither a path nor a model.
        ValueError: The file is missing or no ONNX model; or operators, or attributes of some, have
            no counterpart, or weights not the sizes that their input has: the message names all of
            these nodes.
    """
    try:
        from samepad.onnx import loading
    except ImportError as error:
        raise ImportError("samepad.onnx.load needs the package onnx: pip install onnx") from error
    return loading.load(model)


def register_symbolics() -> None:
    """Tell torch.onnx.export(..., dynamo=False) how ONNX says samepad's operators.

    The export of a module in Python does so of its own accord; call this before exporting what has
    no Python of samepad in it: a module from torch.jit.script or torch.jit.load, or calls of
    torch.ops.samepad.
    """
    from samepad.onnx import symbolics

    symbolics.register()
