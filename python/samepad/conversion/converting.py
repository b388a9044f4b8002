"""Converts a model, layer by layer."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Literal, overload

from torch import nn

from samepad import _replacing
from samepad._replacing import has_own_computation
from samepad.conversion import parents
from samepad.conversion.checking import CannotRunError, agree, hooks_of, shapes_for
from samepad.conversion.registry import Registered, registered
from samepad.conversion.report import ConversionReport, LayerReport
from samepad.conversion.same_layers import (
    Judged,
    Verdict,
    channels_of,
    fixed_pads,
)
from samepad.conversion.stand_ins import is_layer, obstacle, torch_class
from samepad.modules.padded import Padded
from samepad.typing import Padding, Select


def _chosen(model: nn.Module, select: Select) -> Callable[[str, nn.Module], bool]:
    """Turn `select` into a function that says which layers to replace."""
    if callable(select):
        return select
    if isinstance(select, str) or not isinstance(select, Iterable):
        raise TypeError(f"select must be a function or a list of names, not {select!r}")
    names = list(select)
    layers = dict(model.named_modules(remove_duplicate=False))
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"select must be a function or a list of names, but holds {name!r}")
        if name not in layers:
            raise ValueError(f"select names {name!r}, but the model has no such layer")
        if not _is_candidate(layers[name]):
            kind = type(layers[name]).__name__
            raise ValueError(
                f"select names {name!r}, but {kind} is no convolution or pool of torch.nn"
            )
    chosen = {id(layers[name]) for name in names}
    return lambda _, layer: id(layer) in chosen


def _is_candidate(layer: nn.Module) -> bool:
    return is_layer(layer) or registered(layer) is not None


def _is_plain(layer: nn.Module) -> bool:
    """Whether a layer computes exactly what its class in torch.nn or samepad computes."""
    return registered(layer) is None and not has_own_computation(layer)


def _says_same(layer: nn.Module) -> bool:
    """Whether a layer that can be replaced pads as SAME itself, by an argument or its class."""
    return not _is_plain(layer) or getattr(layer, "padding", None) == "same"


class _RefusedError(Exception):
    """A layer can't be replaced; the message says why."""


def _verdict(layer: nn.Module, judged: Judged) -> Verdict:
    """Find a replacement for a layer that nothing else pads.

    Raises:
        _RefusedError: There is none.
    """
    reason = obstacle(layer)
    if reason:
        raise _RefusedError(reason)
    entry = registered(layer)
    if entry:
        return _registered_verdict(layer, entry, judged)
    if isinstance(layer, Padded) or _is_plain(layer):
        return Verdict()
    try:
        verdict = judged.of(layer)
    except CannotRunError:
        verdict = None
    if verdict:
        return verdict
    if fixed_pads(layer):
        raise _RefusedError("pads as much for every input: see fold_pads")
    raise _RefusedError(
        f"{type(layer).__name__} may compute more than nn.{torch_class(layer).__name__}: see "
        "samepad.register_conversion"
    )


def _registered_verdict(layer: Any, entry: Registered, judged: Judged) -> Verdict:
    said = Verdict(note=entry.note, differs=entry.differs)
    if entry.conversion:
        return replace(said, make=lambda layer, _: _converted(layer, entry))
    try:
        verdict = said if entry.differs else judged.of(layer, registered=True)
    except CannotRunError:
        verdict = said  # it can't be compared, so the registration has to be believed
    on_top = layer.padding
    if (not verdict or entry.differs) and (any(on_top) if isinstance(on_top, tuple) else on_top):
        raise _RefusedError(f"pads by {on_top} on top of its SAME padding")
    if not verdict:
        raise _RefusedError(
            f"{type(layer).__name__} is registered, but computes something else than "
            f"SamePad{torch_class(layer).__name__}: register it with a conversion, or with "
            "differs=True"
        )
    return replace(verdict, note=entry.note or verdict.note)


def _converted(layer: nn.Module, entry: Registered) -> nn.Module:
    assert entry.conversion
    new = entry.conversion(layer)
    if not isinstance(new, nn.Module):
        raise TypeError(
            f"the conversion of {type(layer).__name__} must return a torch.nn.Module, not {new!r}"
        )
    if not entry.differs and not _may_agree(layer, new):
        raise _RefusedError("its registered conversion gives other outputs: see differs=True")
    for name, given in hooks_of(layer).items():
        # Share the dictionaries of hooks, because the handles that remove hooks refer to them. If
        # the new layer has hooks too, both have to go into a new dictionary.
        own = vars(new)[name]
        vars(new)[name] = type(own)({**given, **own}) if own else given
    return new.train(layer.training)


def _may_agree(old: nn.Module, new: nn.Module) -> bool:
    """Whether two modules agree; True if they can't be run."""
    layer = next(filter(is_layer, old.modules()), None)
    try:
        return layer is None or agree(old, new, shapes_for(layer, channels_of(layer)))
    except CannotRunError:
        return True


@overload
def convert(
    model: nn.Module,
    select: Select | None = None,
    *,
    padding: Padding = "same",
    fold_pads: bool = False,
    return_report: Literal[False] = False,
) -> nn.Module: ...


@overload
def convert(
    model: nn.Module,
    select: Select | None = None,
    *,
    padding: Padding = "same",
    fold_pads: bool = False,
    return_report: Literal[True],
) -> tuple[nn.Module, ConversionReport]: ...


@overload
def convert(
    model: nn.Module,
    select: Select | None = None,
    *,
    padding: Padding = "same",
    fold_pads: bool = False,
    return_report: bool,
) -> nn.Module | tuple[nn.Module, ConversionReport]: ...


def convert(
    model: nn.Module,
    select: Select | None = None,
    *,
    padding: Padding = "same",
    fold_pads: bool = False,
    return_report: bool = False,
) -> nn.Module | tuple[nn.Module, ConversionReport]:
    """Replace convolutions and pools of `model` by samepad's, which share their parameters.

    The model is changed in place, as by `nn.SyncBatchNorm.convert_sync_batchnorm`; use
    `copy.deepcopy` first to keep the original. Parameters stay the same objects, to which an
    optimizer may refer, under the same names, except in layers that a function given to
    `register_conversion` makes. A layer that occurs in several places is converted once and stays
    shared. If an error is raised, nothing has been changed. Convert before parametrizing, before
    DistributedDataParallel or fully_shard, and before torch.compile.

    By default these layers are replaced, whatever package they come from, after their results have
    been compared with the new layers' on small inputs, forward and backward:

    - nn.Conv*d with padding="same";
    - layers of classes derived from convolutions and pools that pad as SAME in their own forward;
      they may standardize their weights;
    - convolutions and pools whose input is padded as SAME by a module before them or in the forward
      of the module that holds them: that module then stops padding;
    - layers of classes given to `register_conversion`.

    Args:
        model: Any module, which may itself be a layer to replace.
        select: Which layers to replace instead of those above. Either a function that is called
            with (qualified name, layer) for each nn.Conv*d, nn.ConvTranspose*d, nn.MaxPool*d,
            nn.AvgPool*d and layer of a registered class, or a list of qualified names. The chosen
            layers get `padding`, whatever padding they had; in the SAME modes, an average pool then
            leaves the padding out of its means, and a transposed convolution loses its
            output_padding.
        padding: Padding of the new layers.
        fold_pads: Whether zeros that are added in equal number to every input, as by nn.ZeroPad2d
            before a convolution, become (before, after) pairs of the convolution. Has no effect
            with `select`.
        return_report: Whether to return the report too.

    Returns:
        The model, which is a new object only if the model itself is a layer to replace. With
        `return_report`, the model and a `ConversionReport`, which says what was replaced, what was
        left and why, and where the new layer differs because the old one's result was wrong.

    Raises:
        TypeError: `model` is not a module, `select` is neither a function nor names, or a
            registered conversion does not return a module.
        ValueError: `select` chooses a layer that does not exist, is not of these classes, or has a
            computation of its own that a layer of samepad would not do; or `padding` is not a name
            that the layer knows.
        RuntimeError: `padding` has the wrong number of amounts for a layer's dimensions.

    Example:
        >>> model, report = samepad.convert(model, return_report=True)
        >>> samepad.convert(model, lambda name, layer: isinstance(layer, nn.Conv2d))
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    chosen = None if select is None else _chosen(model, select)
    found = parents.find(model, fold_pads=fold_pads) if chosen is None else parents.Found()
    judged = Judged(fold_pads=fold_pads)
    names: dict[nn.Module, list[str]] = {}
    for name, layer in model.named_modules(remove_duplicate=False):
        if _is_candidate(layer):
            names.setdefault(layer, []).append(name)
    replacements = found.replacements
    inside: set[nn.Module] = set()  # all modules in layers that are replaced as a whole
    layers = []
    for layer, (name, *others) in names.items():
        if layer in inside or (chosen is None and isinstance(layer, Padded)):
            continue
        before = type(layer).__name__
        wanted = chosen is None or any(chosen(each, layer) for each in (name, *others))
        try:
            if not wanted:
                raise _RefusedError("was not selected")
            note = f"padding={getattr(layer, 'padding', None)!r} is not 'same'"
            if layer in found.elsewhere:
                raise _RefusedError(f"{note}; {found.elsewhere[layer]}")
            verdict = found.verdicts.get(layer) or _verdict(layer, judged)
            if chosen is None and not (layer in found.verdicts or _says_same(layer)):
                raise _RefusedError(note)
            new = verdict.make(layer, padding)
        except _RefusedError as refused:
            if chosen and wanted:
                raise ValueError(
                    f"select chooses {name!r}, but it can't be replaced: {refused}"
                ) from None
            layers.append(LayerReport(name, before, None, str(refused)))
            continue
        replacements[layer] = new
        inside.update(layer.modules())
        layers.append(LayerReport(name, before, type(new).__name__, verdict.note, verdict.differs))

    # All new layers exist by now, so no error can leave the model half converted.
    for module, attribute, value in found.settings:
        setattr(module, attribute, value)
    model = _replacing.replace(model, replacements)
    return (model, ConversionReport(tuple(layers))) if return_report else model
