"""Loads Keras's weights into existing PyTorch modules."""

from typing import Any, Literal

import torch
from torch import fx, nn

from samepad._building import UnsupportedError
from samepad.keras.errors import described, refusal, saved_model
from samepad.keras.features import Tracer, reordered
from samepad.keras.graph import converted
from samepad.keras.live import of_keras_3
from samepad.keras.structures import all_layers
from samepad.keras.weights import load_state, mismatch, state_of

#: The key in the `meta` of a module made by `to_torch` or `to_source` that holds its input layout.
INPUT_LAYOUT = "input_layout"

#: Layers whose weights are constants in modules made by `to_torch` and `to_source`.
_CONSTANT = ("Normalization",)


def _weighted(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return modules with weights by registration; a separable convolution counts as one.

    A module that has weights beside those of the modules in it comes before these.
    """
    inner = [
        name for name, child in module.named_children() if any(True for _ in child.parameters())
    ]
    separable = inner == ["depthwise", "pointwise"]
    if separable:
        return [("", module)]
    own = [("", module)] if any(True for _ in module.parameters(recurse=False)) else []
    return own + [
        (f"{name}.{inner}".rstrip("."), found)
        for name, child in module.named_children()
        for inner, found in _weighted(child)
    ]


#: The class of torch.nn for each of Keras's. A module of a class that is not among these may be a
#: counterpart as well.
_COUNTERPARTS: dict[str, type[nn.Module]] = {
    "Dense": nn.Linear,
    **{
        f"{kind}{d}D": getattr(nn, f"Conv{d}d")
        for d in (1, 2)
        for kind in ("Conv", "DepthwiseConv")
    },
    "Conv3D": nn.Conv3d,
    **{f"Conv{d}DTranspose": getattr(nn, f"ConvTranspose{d}d") for d in (1, 2, 3)},
    "BatchNormalization": nn.modules.batchnorm._BatchNorm,
    "LayerNormalization": nn.LayerNorm,
    "GroupNormalization": nn.GroupNorm,
    "Embedding": nn.Embedding,
    "LSTM": nn.LSTM,
    "GRU": nn.GRU,
    "SimpleRNN": nn.RNN,
    "PReLU": nn.PReLU,
}


def _state(layer: Any, target: nn.Module, order: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """Return the weights of a layer in the layout and order of the module `target`.

    Raises:
        UnsupportedError: They do not fit the module.
    """
    state = state_of(layer, target)
    kind = type(layer).__name__
    if kind == "Bidirectional":
        kind = type(layer.forward_layer).__name__
    expected = _COUNTERPARTS.get(kind)
    known = tuple(_COUNTERPARTS.values())
    if isinstance(target, known) and not (expected and isinstance(target, expected)):
        name = expected.__name__.lstrip("_") if expected else "a module of its own"
        raise UnsupportedError(f"a {kind} is {name} in PyTorch")
    problem = mismatch(target, layer, state)
    if problem:
        raise UnsupportedError(f"it {problem}")
    return state if order is None else reordered(layer, state, order)


def _with_activations(layers: list[Any]) -> list[Any]:
    """Return the layers, each followed by its activation if that is a layer with weights."""
    return [
        found
        for layer in layers
        for found in (layer, getattr(layer, "activation", None))
        if hasattr(found, "weights")
    ]


def _orders(model: Any) -> dict[int, torch.Tensor | None]:
    """Return the order of the features that each layer takes, by the layer's id.

    Raises:
        ValueError: An order cannot be found out.
    """
    tracer = Tracer()
    try:
        tracer.model(model)
    except UnsupportedError as error:
        raise ValueError(
            f"cannot tell in which order the module has what {described(model)} flattens: {error}; "
            "with flatten='keras' weights stay in Keras's order"
        ) from None
    return tracer.orders


def _input_layout(module: nn.Module) -> str | None:
    """Return the input layout of a module made by `to_torch` or `to_source`, else None."""
    meta = getattr(module, "meta", None)
    return meta.get(INPUT_LAYOUT) if isinstance(meta, dict) else None


def _check_flattens_as_torch(module: nn.Module) -> None:
    """Refuse a module that may flatten as Keras does without its `meta` saying so.

    Raises:
        ValueError: The module holds one made by `to_torch` or `to_source`, or is or holds a
            GraphModule, which may be one that lost its `meta` when it was pickled.
    """
    for name, child in module.named_modules():
        if isinstance(child, fx.GraphModule) or _input_layout(child):
            raise ValueError(
                f"cannot tell how {name or 'the module'} ({type(child).__name__}) flattens an "
                "image: say flatten='keras' if it is of to_torch or to_source, 'torch' if not"
            )


def _constants(module: nn.Module, targets: list[tuple[str, nn.Module]]) -> dict[str, torch.Tensor]:
    """Return the buffers that belong to no layer with weights, in order of registration."""
    held = {id(buffer) for _, target in targets for buffer in target.buffers()}
    return {name: value for name, value in module.named_buffers() if id(value) not in held}


def _matching_constants(
    module: nn.Module, targets: list[tuple[str, nn.Module]], model: Any, layout: str
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the constants of a module made by `to_torch` or `to_source`, with their new values.

    Raises:
        ValueError: The model's constants have other shapes or another number.
    """
    own = _constants(module, targets)
    if not own:
        return []
    twin = converted(model, layout).module
    theirs = _constants(twin, _weighted(twin))
    if [value.shape for value in own.values()] != [value.shape for value in theirs.values()]:
        module_has, model_has = (
            ", ".join(f"{name} {tuple(value.shape)}" for name, value in constants.items())
            for constants in (own, theirs)
        )
        raise ValueError(
            f"cannot fill the module's constants {module_has}: {described(model)} has "
            f"{model_has or 'none'}"
        )
    return list(zip(own.values(), theirs.values(), strict=True))


def load_weights(
    module: nn.Module,
    keras_layer_or_model: Any,
    flatten: Literal["torch", "keras"] | None = None,
) -> nn.Module:
    """Copy the weights of a Keras layer or model into a PyTorch module.

    The weights of a layer go into its counterpart, for example those of a Conv2D into an nn.Conv2d
    or a SamePadConv2d. Those of a model go into a module that has the counterparts of its layers in
    the same order: layers with weights are paired in the order in which the model lists them and
    the module has registered them. Layouts, gates and names are translated
    (docs/porting-from-keras.md). In a module that `to_torch` or `to_source` made from such a model,
    constants are set as well.

    Args:
        module: The module to copy the weights into; its types and devices stay as they are.
        keras_layer_or_model: A built layer or model of Keras 3, or of tf_keras.
        flatten: The order in which the module flattens an image before a linear layer: "torch",
            (C, H, W), or "keras", (H, W, C). With "torch", the weights of the layers after a
            Flatten, or a Reshape to one dimension, are reordered. It is assumed that the module
            has its channels first wherever modules of `to_torch` do, as after convolutions and
            pools. None means "keras" for modules of `to_torch` and `to_source`, which their `meta`
            identifies, and "torch" for others. If the order matters, it has to be given for a
            module that holds one of these, and for a torch.fx.GraphModule without `meta`, which is
            lost in pickling.

    Returns:
        `module`.

    Raises:
        TypeError: `module` is not an nn.Module, or the second argument is not a layer or model of
            Keras.
        ValueError: A layer is not built or has no counterpart; a pair does not fit in kind, shape
            or in what the module computes with its weights (eps, gates); the order of flattened
            features cannot be found out; or the module's constants are not those of the model.
            Then nothing has been copied, and the message names all such layers.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be an nn.Module, not {type(module).__name__}")
    if flatten not in ("torch", "keras", None):
        raise ValueError(f"flatten must be 'torch' or 'keras', but got {flatten!r}")
    given = keras_layer_or_model
    saved = saved_model(given)
    if saved or not hasattr(given, "weights"):
        raise TypeError(
            f"keras_layer_or_model must be a layer or a model of Keras, not {type(given).__name__}"
            + (f": {saved}" if saved else "")
        )
    if not getattr(given, "built", False):
        raise ValueError(f"{described(given)} is not built: it has no weights yet")
    try:
        given = of_keras_3(given)
    except UnsupportedError as error:
        raise ValueError(f"cannot load the weights of {described(given)}: {error}") from None
    is_model = hasattr(given, "layers")
    # The layout of a module made by `to_torch` or `to_source`, which `module` may also hold.
    layouts = filter(None, map(_input_layout, module.modules()))
    layout = next(layouts, None) if is_model else None
    sources = [
        layer
        for layer in _with_activations(all_layers(given))
        if layer.weights and not (layout and type(layer).__name__ in _CONSTANT)
    ]
    targets = list({id(target): (name, target) for name, target in _weighted(module)}.values())
    if len(sources) != len(targets):
        raise ValueError(
            f"{len(sources)} layers of Keras have weights, but {len(targets)} of the module:\n  "
            + "\n  ".join(map(described, sources))
            + "\nand\n  "
            + "\n  ".join(f"{name or 'the module'!s} ({type(t).__name__})" for name, t in targets)
        )
    as_torch = flatten == "torch" or (flatten is None and not _input_layout(module))
    orders = _orders(given) if as_torch and is_model else {}
    if flatten is None and any(order is not None for order in orders.values()):
        _check_flattens_as_torch(module)
    states, problems = [], []
    for layer, (name, target) in zip(sources, targets, strict=True):
        try:
            states.append((target, _state(layer, target, orders.get(id(layer)))))
        except UnsupportedError as error:
            where = f"{name or 'the module'} ({type(target).__name__})"
            problems.append("\n  " + refusal(layer, f"does not fit {where}: {error}"))
    if problems:
        raise ValueError("cannot load the weights of:" + "".join(problems))
    constants = _matching_constants(module, targets, given, layout) if layout else []
    for target, state in states:
        load_state(target, state)
    for own, value in constants:
        own.copy_(value)
    return module
