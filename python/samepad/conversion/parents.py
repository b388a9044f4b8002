"""Finds plain layers that are padded by a module before them or by the module that holds them.

The padding moves into the layer and is switched off where it was: a module that only pads becomes
nn.Identity, a flag is set to False, or a module that pads and then calls its children one after the
other gets a forward that only calls them.
"""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode

from samepad._replacing import has_own_computation
from samepad.conversion.chains import chained, is_chainable
from samepad.conversion.checking import (
    CannotRunError,
    Copies,
    agree,
    geometry,
    hooks_of,
    shapes_for,
    tensors_of,
)
from samepad.conversion.registry import registered
from samepad.conversion.same_layers import (
    Verdict,
    channels_of,
    children_of,
    fixed_pads,
    is_named_for_padding,
    judge,
    makes_zeros_in_forward,
    padded_by,
    pads_in_forward,
    tells_of_padding,
    total_padding,
)
from samepad.conversion.stand_ins import is_layer, is_padding_alone, obstacle, stand_in
from samepad.modules.padded import Padded

#: How many elements are added (before, after) in each dimension.
Pairs: TypeAlias = tuple[tuple[int, int], ...]


#: Larger modules are not copied: this many elements take 256 MiB in float32.
_MOST_ELEMENTS = 2**26


@dataclass
class Found:
    """What `find` finds in a model."""

    #: For a layer that is padded elsewhere and can take over the padding: its replacement.
    verdicts: dict[nn.Module, Verdict] = field(default_factory=dict)
    #: For a layer that remains padded elsewhere: where it is padded, and why that stays.
    elsewhere: dict[nn.Module, str] = field(default_factory=dict)
    #: Replacements of the modules that did the padding.
    replacements: dict[nn.Module, nn.Module] = field(default_factory=dict)
    #: Attributes to set: the module, the attribute's name, and the value.
    settings: list[tuple[nn.Module, str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class _Switch:
    """A way to turn off the padding that a module does; exactly one field is set."""

    #: Children that pad, to be replaced by nn.Identity.
    pads: tuple[nn.Module, ...] = ()
    #: Path of attribute names to a flag that is True and has to become False.
    flag: tuple[str, ...] = ()
    #: Names of the children, in the order in which a forward without padding has to call them.
    calls: tuple[str, ...] = ()


#: Operators that pad; constant_pad_nd alone may do it with zeros.
_PADDING = re.compile(r"aten::(constant_pad_nd|reflection_pad\dd|replication_pad\dd)")
#: Operators that make tensors into which others may be copied.
_MAKING = re.compile(r"aten::(new_)?(zeros|full|empty)(_like)?")


class _Pads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records which tensors were made by adding zeros around another one, and how many.

    Of tensors that were padded in other ways, it records only that they were: with other values, by
    concatenation with zeros, or by copying into a larger tensor, as circular padding is computed.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._made: list[tuple[Tensor, Pairs]] = []
        self._targets: list[Tensor] = []
        self._otherwise: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        name = func._schema.name
        if name == "aten::constant_pad_nd" and not any(args[2:]):
            flat = args[1]
            self._made.append((output, tuple(zip(flat[-2::-2], flat[::-2], strict=True))))
        elif _PADDING.fullmatch(name):
            if output.shape != args[0].shape:
                self._otherwise.append(output)
        elif name == "aten::cat":
            is_spatial = (args[1] if len(args) > 1 else 0) % output.dim() > 1
            if is_spatial and any(part.numel() and not part.any() for part in args[0]):
                self._otherwise.append(output)
        elif _MAKING.fullmatch(name):
            self._targets.append(output)
        elif name == "aten::copy_":
            self._otherwise += [target for target in self._targets if _is_within(args[0], target)]
        return output

    def of(self, tensor: object) -> Pairs | None:
        return next((pairs for output, pairs in self._made if output is tensor), None)

    def otherwise(self, tensor: object) -> bool:
        return any(output is tensor for output in self._otherwise)


def _is_within(view: Tensor, whole: Tensor) -> bool:
    """Whether a tensor is a part of another one that is smaller in a spatial dimension."""
    return (
        view.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
        and view.dim() == whole.dim()
        and view.shape[2:] != whole.shape[2:]
    )


@dataclass
class _Run:
    """What was observed when a module ran on some inputs."""

    channels: int
    #: For each layer that was called with a padded tensor: the amounts of each call.
    padded: dict[nn.Module, list[Pairs]] = field(default_factory=dict)
    #: The layers that were called with a tensor that was padded otherwise.
    otherwise: set[nn.Module] = field(default_factory=set)
    #: The names of the children that were called.
    calls: list[str] = field(default_factory=list)


def _run(parent: nn.Module, layers: Sequence[nn.Module], channels: int) -> _Run:
    new, copied = Copies().of(parent)
    run = _Run(channels)
    pads = _Pads()
    generator = torch.Generator().manual_seed(0)

    def note(_: nn.Module, inputs: Any, layer: nn.Module) -> None:
        pairs = pads.of(inputs[0]) if inputs else None
        if pairs is not None:
            run.padded.setdefault(layer, []).append(pairs)
        elif inputs and pads.otherwise(inputs[0]):
            run.otherwise.add(layer)

    for layer in layers:
        copied[id(layer)].register_forward_pre_hook(partial(note, layer=layer))
    for name, child in new.named_children():
        child.register_forward_pre_hook(lambda *_, name=name: run.calls.append(name))
    widest = max(layers, key=lambda layer: max((k - 1) * d for k, _, d in geometry(layer)))
    for shape in shapes_for(widest, channels)[:-1]:  # the last one may be too small
        run.calls.clear()
        with torch.no_grad(), pads:
            new.eval()(torch.rand(shape, generator=generator))
    return run


def _tried(parent: nn.Module, layers: Sequence[nn.Module]) -> _Run:
    """Call `_run` with the channels that a layer takes; the first layer's are most likely."""
    if sum(tensor.numel() for tensor in tensors_of(parent)) > _MOST_ELEMENTS:
        raise CannotRunError("it is too large to be copied")
    reason = ""
    taken = dict.fromkeys(channels_of(part) for part in parent.modules() if is_layer(part))
    for channels in list(taken)[:3]:
        try:
            return _run(parent, layers, channels)
        except Exception as error:  # the class's own code may raise any error
            reason = reason or str(error)
    raise CannotRunError(reason)


def _flags(parent: nn.Module) -> Iterator[tuple[str, ...]]:
    """Yield paths of flags that may tell a module to pad: its own or its configuration's."""
    for name, value in vars(parent).items():
        if value is True and tells_of_padding(name):
            yield (name,)
        elif hasattr(value, "__dict__") and not isinstance(value, (nn.Module, Tensor, type)):
            for inner, flag in vars(value).items():
                if flag is True and tells_of_padding(inner):
                    yield (name, inner)


def _switches(parent: nn.Module, run: _Run) -> Iterator[_Switch]:
    pads = [child for name, child in children_of(parent) if is_padding_alone(name, child)]
    if pads and not any(any(hooks_of(pad).values()) for pad in pads):
        yield _Switch(pads=tuple(pads))
    for flag in _flags(parent):
        yield _Switch(flag=flag)
    called = sorted(run.calls) == sorted(name for name, _ in parent.named_children())
    if called and is_chainable(parent) and not _has_methods(parent) and not obstacle(parent):
        yield _Switch(calls=tuple(run.calls))


def _switched_off(
    parent: nn.Module, switch: _Switch, trials: Mapping[nn.Module, nn.Module]
) -> nn.Module:
    """Copy `parent`, sharing its tensors, with `trials` in place and its padding turned off."""
    parts: dict[int, Any] = {id(tensor): tensor for tensor in tensors_of(parent)}
    parts |= {id(old): new for old, new in trials.items()}
    parts |= {id(pad): nn.Identity() for pad in switch.pads}
    new = copy.deepcopy(parent, parts)
    if switch.flag:
        *path, name = switch.flag
        holder: Any = new
        for attribute in path:
            holder = getattr(holder, attribute)
        setattr(holder, name, False)
    if switch.calls:
        new.__class__ = chained(type(parent), switch.calls)
    return new


def _may_want_padding(layer: Any) -> bool:
    """Whether a layer is a convolution of a kind that is usually padded, but does not pad."""
    return (
        isinstance(layer, _ConvNd)
        and not layer.transposed
        and (layer.padding == "valid" or not any(layer.padding))
        and any(k > 1 for k, _, _ in geometry(layer))
    )


def _holds_unpadded(parent: nn.Module) -> bool:
    """Whether one of a module's own children is a convolution that is usually padded."""
    return any(_may_want_padding(child) for _, child in children_of(parent))


def _has_methods(module: nn.Module) -> bool:
    """Whether a module has public methods beside forward and those that pad."""
    own = type(module).__mro__[: type(module).__mro__.index(nn.Module)]
    return any(
        callable(value) and not name.startswith("_") and not tells_of_padding(name)
        for cls in own
        for name, value in vars(cls).items()
        if name not in ("forward", "extra_repr")
    )


class _Finder:
    def __init__(self, model: nn.Module, fold_pads: bool) -> None:
        self.found = Found()
        self._fold_pads = fold_pads
        self._configurations: dict[tuple[int, str], Any] = {}
        self._names: dict[nn.Module, list[str]] = {}
        for name, module in model.named_modules(remove_duplicate=False):
            self._names.setdefault(module, []).append(name)
        self._doubts: dict[nn.Module, str] = {}
        #: Modules of classes that users have registered, and everything in them.
        self._registered = {
            part for module in self._names if registered(module) for part in module.modules()
        }

    def find(self) -> Found:
        # From the inside out, so that the innermost module that pads a layer is found first.
        for module in reversed(list(self._names)):
            if type(module).forward is nn.Sequential.forward:
                children = list(module.named_children())
                for (name, pad), (_, layer) in pairwise(children):
                    if is_padding_alone(name, pad) and self._open([layer]):
                        self._examine(nn.Sequential(pad, layer), [module, pad, layer], pad)
            elif (
                not is_layer(module)
                and module not in self._registered
                and not type(module).__module__.startswith("torch.")
                and not isinstance(module, nn.ModuleList | nn.ModuleDict)
                and "forward" not in vars(module)
                and (
                    is_named_for_padding(module)
                    or pads_in_forward(module)
                    or (makes_zeros_in_forward(module) and _holds_unpadded(module))
                )
            ):
                self._examine(module, [module], module)
        for layer, doubt in self._doubts.items():
            if layer not in self.found.verdicts and _may_want_padding(layer):
                self.found.elsewhere.setdefault(layer, doubt)
        return self.found

    def _open(self, modules: Sequence[nn.Module]) -> list[nn.Module]:
        """Return those modules that are plain layers whose padding has not been found yet."""
        return [
            module
            for module in modules
            if is_layer(module)
            and module not in self._registered
            and not isinstance(module, Padded)
            and getattr(module, "padding", None) != "same"
            and not has_own_computation(module)
            and module not in self.found.verdicts
            and module not in self.found.elsewhere
        ]

    def _examine(self, parent: nn.Module, together: list[nn.Module], where: nn.Module) -> None:
        """Find out whether `parent` pads layers that it holds, and how to turn that off.

        Args:
            parent: The module to run, or an nn.Sequential of the modules in question.
            together: Modules that have to occur equally often in the model.
            where: The module to name in notes.
        """
        layers = self._open(list(parent.modules()))
        name = f"{type(where).__name__} {self._names[where][0]!r}".removesuffix(" ''")
        if not layers:
            return
        try:
            run = _tried(parent, layers)
        except CannotRunError as error:
            for layer in layers:
                self._doubts.setdefault(
                    layer, f"{name} may pad it, but can't be run alone: {error}"
                )
            return
        padded = {layer: run.padded[layer] for layer in layers if layer in run.padded}
        otherwise = [layer for layer in layers if layer in run.otherwise - padded.keys()]
        self._leave(otherwise, f"is padded by {name}")
        if not padded:
            return
        obstacles = [reason for layer in padded if (reason := obstacle(layer))]
        counts = {len(self._names[module]) for module in (*together, *padded)}
        if obstacles or len(counts) > 1:
            reason = obstacles[0] if obstacles else "it is used elsewhere too"
            self._leave(padded, f"is padded by {name}; {reason}")
            return
        for switch in _switches(parent, run):
            if any(len(self._names[pad]) not in counts for pad in switch.pads):
                continue  # another module needs the pad
            verdicts = self._verdicts(parent, switch, padded, run.channels)
            if verdicts:
                note = f"was padded by {name}"
                if switch.calls:
                    note += ", whose forward only calls its children now"
                for layer, verdict in verdicts.items():
                    self.found.verdicts[layer] = replace(
                        verdict, note=f"{note}; {verdict.note}".removesuffix("; ")
                    )
                self._turn_off(parent, switch)
                return
        advice = ""
        if fixed_pads(parent) and not self._fold_pads:
            advice = ", as much for every input: see fold_pads"
        self._leave(padded, f"is padded by {name}{advice}")

    def _leave(self, layers: Iterable[nn.Module], note: str) -> None:
        self.found.elsewhere.update(dict.fromkeys(layers, note))

    def _verdicts(
        self,
        parent: nn.Module,
        switch: _Switch,
        padded: Mapping[nn.Module, list[Pairs]],
        channels: int,
    ) -> dict[nn.Module, Verdict]:
        """Find replacements for the layers if the padding is turned off by `switch`, if any."""

        def put(trials: Mapping[nn.Module, nn.Module]) -> nn.Module:
            try:
                return _switched_off(parent, switch, trials)
            except Exception as error:  # a class may refuse to be copied or to be set
                raise CannotRunError(str(error)) from error

        layers = list(padded)
        try:
            verdict = judge(parent, layers, put, channels)
            if verdict:
                return dict.fromkeys(layers, verdict)
            if self._fold_pads and all(len(set(pairs)) == 1 for pairs in padded.values()):
                amounts = {layer: total_padding(layer, pairs[0]) for layer, pairs in padded.items()}
                trials = {layer: stand_in(layer, amounts[layer]) for layer in layers}
                if agree(parent, put(trials), shapes_for(layers[0], channels)):
                    return {layer: padded_by(amounts[layer]) for layer in layers}
        except CannotRunError:
            pass
        return {}

    def _turn_off(self, parent: nn.Module, switch: _Switch) -> None:
        for pad in switch.pads:
            self.found.replacements[pad] = nn.Identity().train(pad.training)
        if switch.flag:
            first, *rest = switch.flag
            value: Any = False
            if rest:
                # Other modules may read the same configuration, and users may save it, so the
                # module gets a copy of its own.
                old = getattr(parent, first)
                key = (id(old), rest[0])
                if key not in self._configurations:
                    self._configurations[key] = copy.copy(old)
                    setattr(self._configurations[key], rest[0], False)
                value = self._configurations[key]
            self.found.settings.append((parent, first, value))
        if switch.calls:
            self.found.settings.append((parent, "__class__", chained(type(parent), switch.calls)))


def find(model: nn.Module, *, fold_pads: bool) -> Found:
    """Find the plain layers of a model that are padded by other modules; change nothing yet.

    Args:
        model: Any module.
        fold_pads: Whether padding by fixed amounts is to move into the layers as well.
    """
    return _Finder(model, fold_pads).find()
