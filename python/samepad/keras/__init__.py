"""Keras models and weights in PyTorch, with equal outputs.

    module = samepad.keras.to_torch(samepad.keras.load_model("model.keras"))

Keras is needed only to have a model: importing this module does not import it. Models of Keras 2,
in files and of the package tf_keras, are made anew in Keras 3 first. No code in a file is run.
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


def to_torch(keras_model: Any, input_layout: Layout = "torch") -> fx.GraphModule:
    """A PyTorch module that computes what a Keras model computes, with its weights.

    Its submodules are torch.nn's and samepad's layers under the names of Keras's layers; it prints,
    pickles, trains and traces as any torch.fx.GraphModule. A model inside of the model is a
    submodule of its own; a layer that is called twice stays one layer. The module is in training
    mode, as modules are born: call `.eval()` before comparing outputs.

    Args:
        keras_model: A built Sequential or functional model of Keras 3, or of tf_keras.
        input_layout: "torch": the module takes and returns tensors with their channels first where
            Keras has them last, (N, C, H, W) for (N, H, W, C), and (N, C, L) for (N, L, C) where a
            one-dimensional input first meets a layer with channels, such as Conv1D; sequences of
            recurrent and dense layers stay (N, L, C), as torch.nn.LSTM(batch_first=True) has them.
            "keras": it takes and returns what the Keras model does.

    Returns:
        The module. Its outputs are a tensor, tuple, list or dict as Keras's are.

    Raises:
        TypeError: keras_model is no model of Keras.
        ValueError: The model is not built or is a subclass; input_layout is none of those; or
            layers have no counterpart, all of which the message names, each with the reason and
            its arguments.
    """
    module = converted(keras_model, input_layout).module
    module.meta[INPUT_LAYOUT] = input_layout
    return module


def to_source(
    keras_model: Any,
    path: str | Path | None = None,
    input_layout: Layout = "torch",
    class_name: str = "Model",
) -> str:
    """The module that `to_torch` makes, as a .py file to read, keep and change.

    The weights and constants are not in it: `load_weights` fills them, or the state_dict of
    `to_torch(keras_model)`, which fits.

    Args:
        keras_model: As `to_torch` takes it.
        path: File to write the source to, if any.
        input_layout: As `to_torch` takes it.
        class_name: The class's name.

    Returns:
        The source.

    Raises:
        ValueError: As `to_torch`; class_name is no name of a class, or one that the source needs.
    """
    source = write_source(to_torch(keras_model, input_layout), class_name)
    if path is not None:
        Path(path).write_text(source, encoding="utf-8")
    return source
