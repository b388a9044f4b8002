"""Keras models and weights in PyTorch, with equal outputs.

    module = samepad.keras.to_torch(samepad.keras.load_model("model.keras"))

Keras is needed only to make or load a model: importing this module does not import it. Models of
Keras 2, in files or of the package tf_keras, are first rebuilt in Keras 3. No code in a file is
run.
"""

from pathlib import Path
from typing import Any, Literal

from torch import fx

from samepad.keras.files import load_model
from samepad.keras.graph import converted
from samepad.keras.loading import INPUT_LAYOUT, load_weights
from samepad.source import write_source

__all__ = ["load_model", "load_weights", "to_source", "to_torch"]

Layout = Literal["torch", "keras"]
Fallback = Literal["export"] | None


def to_torch(
    keras_model: Any, input_layout: Layout = "torch", fallback: Fallback = None
) -> fx.GraphModule:
    """Convert a Keras model with its weights to a PyTorch module that computes the same.

    Its submodules are torch.nn's and samepad's layers, named after Keras's layers. It can be
    printed, pickled, trained and traced as any torch.fx.GraphModule. A nested model becomes a
    submodule of its own; a layer that is called twice becomes one submodule. The module is in
    training mode, as new modules are: call `.eval()` before comparing outputs.

    Args:
        keras_model: A built Sequential or functional model of Keras 3, or of tf_keras.
        input_layout: The layout of the module's inputs and outputs.
            "torch": the channels come second where Keras has them last, (N, C, H, W) for
            (N, H, W, C). A sequence is (N, C, L) if the first layer that depends on the order is
            one with channels, such as Conv1D; sequences for recurrent and dense layers stay
            (N, L, C), as for torch.nn.LSTM(batch_first=True).
            "keras": the layouts of the Keras model.
        fallback: What to do with layers that have no counterpart.
            None: the model is refused.
            "export": Keras exports each of them to ONNX (by tf2onnx where it computes with
            TensorFlow, jax2onnx with JAX, torch.onnx with PyTorch), and samepad.onnx loads it: it
            becomes a submodule that computes the layer's inference. `module.meta["exported"]` names
            these layers, with the reasons.

    Returns:
        The module. Its outputs are a tensor, tuple, list or dict, as in Keras.

    Raises:
        TypeError: keras_model is not a model of Keras.
        ValueError: The model is not built or is a subclass; input_layout or fallback has another
            value; or layers have no counterpart and are not, or cannot be, exported. The message
            names all of these, with reasons and arguments.
    """
    module = converted(keras_model, input_layout, fallback).module
    module.meta[INPUT_LAYOUT] = input_layout
    return module


def to_source(
    keras_model: Any,
    path: str | Path | None = None,
    input_layout: Layout = "torch",
    class_name: str = "Model",
    fallback: Fallback = None,
) -> str:
    """Write the module that `to_torch` makes as source code, to read, keep and change.

    The source does not contain weights and constants. Load them with `load_weights`, or load the
    state_dict of `to_torch(keras_model)`, which fits.

    Args:
        keras_model: As `to_torch` takes it.
        path: File to write the source to, if any.
        input_layout: As `to_torch` takes it.
        class_name: The name of the class.
        fallback: As `to_torch` takes it.

    Returns:
        The source.

    Raises:
        ValueError: As `to_torch`; class_name is not a valid name, or one that the source needs.
    """
    source = write_source(to_torch(keras_model, input_layout, fallback), class_name)
    if path is not None:
        Path(path).write_text(source, encoding="utf-8")
    return source
