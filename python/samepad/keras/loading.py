"""Keras's weights into PyTorch modules that someone has written."""

from typing import Any, Literal

import torch
from torch import fx, nn

from samepad._building import UnsupportedError
from samepad.keras.errors import described, refusal, saved_model
from samepad.keras.features import Tracer, reordered
from samepad.keras.graph import all_layers, converted
from samepad.keras.live import of_keras_3
from samepad.keras.weights import load_state, mismatch, state_of

#: Under which key of its `meta` a module that was made of a model says how it takes its inputs.
INPUT_LAYOUT = "input_layout"

#: Layers whose weights are constants of the module that is made of a model.
_CONSTANT = ("Normalization",)


def _weighted(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules that hold weights, in order of registration; a separable convolution is one."""
    inner = [
        name for name, child in module.named_children() if any(True for _ in child.parameters())
    ]
    separable = inner == ["depthwise", "pointwise"]
    if separable or any(True for _ in module.parameters(recurse=False)):
        return [("", module)]
    return [
        (f"{name}.{inner}".rstrip("."), found)
        for name, child in module.named_children()
        for inner, found in _weighted(child)
    ]


#: What stands for Keras's layers, where it is a class of torch.nn; one of someone's own may too.
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
    """The weights of a layer as the module has them.

    Raises:
        UnsupportedError: They are none of such a module.
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
    """The layers, each followed by the layer that is its activation, if one is."""
    return [
        found
        for layer in layers
        for found in (layer, getattr(layer, "activation", None))
        if hasattr(found, "weights")
    ]


def _orders(model: Any) -> dict[int, torch.Tensor | None]:
    """The orders of the features that layers take.

    Raises:
        ValueError: They cannot be told.
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
    """How a module that was made of a model takes its inputs; None of any other."""
    meta = getattr(module, "meta", None)
    return meta.get(INPUT_LAYOUT) if isinstance(meta, dict) else None


def _check_flattens_as_torch(module: nn.Module) -> None:
    """Refuse what may be made of a model but does not say so.

    Raises:
        ValueError: It is in the module, or a GraphModule is, which loses its `meta` when pickled.
    """
    for name, child in module.named_modules():
        if isinstance(child, fx.GraphModule) or _input_layout(child):
            raise ValueError(
                f"cannot tell how {name or 'the module'} ({type(child).__name__}) flattens an "
                "image: say flatten='keras' if it is of to_torch or to_source, 'torch' if not"
            )


def _constants(module: nn.Module, targets: list[tuple[str, nn.Module]]) -> dict[str, torch.Tensor]:
    """The buffers that no layer with weights has, in order of registration."""
    held = {id(buffer) for _, target in targets for buffer in target.buffers()}
    return {name: value for name, value in module.named_buffers() if id(value) not in held}


def _matching_constants(
    module: nn.Module, targets: list[tuple[str, nn.Module]], model: Any, layout: str
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The constants of a module that was made of such a model, each with what it is to be.

    Raises:
        ValueError: The model has others.
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

    A layer's go into its counterpart, Conv2D's into an nn.Conv2d or SamePadConv2d and so on. A
    model's go into a module that has the counterparts of its layers in the same order: those that
    have weights are paired in the order in which the model has its layers and the module has
    registered its own. Layouts, gates and names are translated (docs/porting-from-keras.md). In a
    module that `to_torch` or `to_source` has made of such a model, constants are filled as well.

    Args:
        module: Where the weights go; types and devices stay as they are.
        keras_layer_or_model: A built layer or model of Keras 3, or of tf_keras.
        flatten: Which order the module flattens an image in, before a linear layer: "torch",
            (C, H, W), or "keras", (H, W, C). With the first, the weights of what follows a Flatten
            in the model, or a Reshape to one dimension, are put in the order that the module has:
            tensors are taken to be held as `to_torch` holds them, with channels first after
            convolutions and pools. None: "keras" for what `to_torch` and `to_source` make, as its
            `meta` says; "torch" for others. Where it matters, other modules that hold such, or a
            torch.fx.GraphModule, which loses its `meta` when pickled, have to be told.

    Returns:
        `module`.

    Raises:
        TypeError: `module` is no nn.Module, or there is nothing of Keras to load.
        ValueError: A layer is not built or has no counterpart; the pairs do not fit, in kind, shape
            or in what the module computes with its weights (eps, gates); or an order cannot be
            told; or the constants are not such a model's. Then nothing has been copied, and the
            message names all of them.
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
    # Of what was made of a model, wherever the module holds it.
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
