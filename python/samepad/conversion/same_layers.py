"""Recognizes layers that pad as SAME by their class's own code, wherever that is defined.

What a class computes is not concluded from its name: it is compared with guesses on small inputs. A
name decides only whether a comparison is worth trying, and whether fixed amounts of padding are
meant to be those of SAME.
"""

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import unwrap
from types import CodeType
from typing import Any, TypeAlias

from torch import Tensor, nn

from samepad import functional
from samepad._arguments import modes_of
from samepad._C import same_padding
from samepad._replacing import become
from samepad.conversion.checking import Shape, agree, geometry, shapes_for
from samepad.conversion.stand_ins import (
    is_padding_alone,
    stand_in,
    torch_class,
    with_padding,
)
from samepad.conversion.standardized import (
    ScaledStandardizedSamePadConv2d,
    StandardizedSamePadConv2d,
)
from samepad.typing import Padding

STATIC = "was padded for one input size, is now for every size"
COUNTED = "counted its padding as zeros: means at the edges differ, and are now TensorFlow's"
ZEROS = (
    "padded with 0 rather than -inf: differs where all of a window at the edge is negative, and is "
    "now TensorFlow's"
)
MIXED_UP = (
    "mixed up the dimensions: differs where they need different padding, and is now TensorFlow's"
)

#: Attributes of every convolution, which suggest nothing.
_OF_EVERY_CONVOLUTION = ("padding", "padding_mode", "_reversed_padding_repeated_twice")

#: Makes the new layer from the old one.
Maker: TypeAlias = Callable[[nn.Module, Padding], nn.Module]


@dataclass(frozen=True)
class Verdict:
    """How to replace a layer that has been found to be padded as SAME."""

    make: Maker = stand_in
    note: str = ""
    differs: bool = False


@dataclass(frozen=True)
class _Guess:
    verdict: Verdict
    #: Makes a layer that computes the same as the old layer if the guess is right.
    trial: Maker


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def tells_of_padding(name: str) -> bool:
    """Whether a name is typical of classes and attributes that pad."""
    return re.search("same|tf|pad", name, re.IGNORECASE) is not None


def children_of(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield a module's children and those in its lists, which have no forward, with their names."""
    for name, child in module.named_children():
        yield name, child
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from children_of(child)


def is_named_for_padding(module: nn.Module) -> bool:
    """Whether the names of a module's class, its children or their classes suggest padding."""
    names = [type(module).__name__]
    for name, child in module.named_children():
        names += [name, type(child).__name__]
    return any(map(tells_of_padding, names)) or any(
        is_padding_alone(*child) for child in children_of(module)
    )


def _names_in_forward(module: nn.Module) -> Iterator[str]:
    """Yield the names used where a module's class or its bases, except torch's, compute."""
    for cls in type(module).__mro__:
        for name in ("forward", "_conv_forward"):
            if name in vars(cls) and not cls.__module__.startswith("torch."):
                code = getattr(unwrap(vars(cls)[name]), "__code__", None)
                yield from _names(code) if code else ()


def pads_in_forward(module: nn.Module) -> bool:
    """Whether a name that is used in a module's forward suggests padding."""
    return any(
        tells_of_padding(name)
        for name in _names_in_forward(module)
        if name not in _OF_EVERY_CONVOLUTION
    )


def makes_zeros_in_forward(module: nn.Module) -> bool:
    """Whether a module's forward makes tensors of zeros, with which it may pad."""
    return any(re.search("zeros|full", name) for name in _names_in_forward(module))


def standardized(layer: nn.Module, padding: Padding) -> nn.Module:
    """Make a SAME convolution that standardizes its filters, as `layer` may do."""
    scaled = "gain" in layer._parameters and hasattr(layer, "scale")
    return with_padding(
        ScaledStandardizedSamePadConv2d if scaled else StandardizedSamePadConv2d, layer, padding
    )


class _ZeroPadded(nn.Module):
    """A pool of an input that was padded with zeros, which some take for a SAME pool."""

    def __init__(self, pool: Any) -> None:
        super().__init__()
        self.pool = pool
        kernel, stride, dilation = zip(*geometry(pool), strict=True)
        self.arguments = (kernel, stride, dilation)

    def forward(self, input: Tensor) -> Tensor:
        return self.pool(functional.pad(input, *self.arguments))  # type: ignore[no-any-return]


def _zero_padded(layer: nn.Module, padding: Padding) -> nn.Module:
    if not _is_pool(layer):
        return stand_in(layer, padding)
    return _ZeroPadded(become(torch_class(layer), layer, padding=0, _modules={}))


def _is_pool(layer: nn.Module) -> bool:
    return "Pool" in torch_class(layer).__name__


def _guesses(layers: Sequence[nn.Module]) -> Iterator[_Guess]:
    yield _Guess(Verdict(), stand_in)
    if all(isinstance(layer, nn.Conv2d) and hasattr(layer, "eps") for layer in layers):
        yield _Guess(Verdict(standardized), standardized)
    pools = [layer for layer in layers if _is_pool(layer)]
    if pools:
        counted = any("Avg" in torch_class(layer).__name__ for layer in pools)
        note = COUNTED if counted else ZEROS
        yield _Guess(Verdict(note=note, differs=True), _zero_padded)


def fixed_pads(module: nn.Module) -> list[Any]:
    """Return the submodules that add the same number of zeros to every input."""
    return [
        part
        for part in module.modules()
        if isinstance(part, nn.modules.padding._ConstantPadNd) and part.value == 0
    ]


def padding_of(pad: Any) -> list[tuple[int, int]]:
    """Return (before, after) in each dimension for a padding module of torch.nn."""
    return list(zip(pad.padding[-2::-2], pad.padding[::-2], strict=True))


def _static_shapes(module: nn.Module, layer: nn.Module, channels: int) -> list[Shape]:
    """Return shapes for which `module` should be right if it is padded for one input size only.

    If it holds fixed pads, that is the size for which these are SAME's, and none if there is no
    such size. If it holds none, it may make them for its first input, so any shape will do.
    """
    amounts = [padding_of(pad) for pad in fixed_pads(module)]
    if any(isinstance(part, nn.Identity) for part in module.modules()):
        amounts.append([(0, 0)] * len(geometry(layer)))  # it may pad by nothing
    if not amounts:
        return shapes_for(layer, channels)
    sizes = []
    for pair, (k, s, d) in zip(amounts[0], geometry(layer), strict=True):
        start = max((k - 1) * d + 1, s)
        fitting = [n for n in range(start, start + s) if same_padding(n, k, s, d)[0] == pair]
        if not fitting:
            return []
        sizes.append(fitting[0])
    return [(2, channels, *sizes)]


Put: TypeAlias = Callable[[Mapping[nn.Module, nn.Module]], nn.Module]


def judge(
    module: nn.Module,
    layers: Sequence[nn.Module],
    put: Put,
    channels: int,
    *,
    claimed: bool = False,
) -> Verdict | None:
    """Find replacements for `layers` with which `module`, which holds or is them, agrees as before.

    Args:
        module: The module to run.
        layers: The convolutions or pools in it that are padded.
        put: Makes a module that does the same as `module`, with replacements of `layers` that do
            the padding.
        channels: How many channels `module` takes.
        claimed: Whether the user says that it is padded as SAME. Otherwise a module that adds the
            same amounts to every input has to have a name that says so.

    Returns:
        The first guess that proves right, or None if none does.

    Raises:
        CannotRunError: `module` can't be run.
    """

    def is_right(trial: Maker, shapes: Sequence[Shape]) -> bool:
        return agree(module, put({layer: trial(layer, "same") for layer in layers}), shapes)

    name = type(module).__name__.lower()
    static = "same" in name and ("static" in name or "export" in name)
    if fixed_pads(module):
        static = static or claimed
        if not static:
            return None
    shapes = shapes_for(layers[0], channels)
    for guess in _guesses(layers):
        if is_right(guess.trial, shapes):
            return guess.verdict
    if static:
        shapes = _static_shapes(module, layers[0], channels)
        for guess in _guesses(layers):
            if shapes and all(is_right(guess.trial, [shape]) for shape in shapes):
                note = f"{STATIC}; {guess.verdict.note}".removesuffix("; ")
                return replace(guess.verdict, note=note)
    elif is_right(stand_in, shapes_for(layers[0], channels, alike=True)):
        return Verdict(note=MIXED_UP, differs=True)
    return None


def channels_of(layer: Any) -> int:
    """Return how many channels a layer takes; for pools, which take any number, 3."""
    return getattr(layer, "in_channels", 3)


def _configuration(module: nn.Module) -> Hashable:
    """Return all settings on which a layer's padding may depend; not the number of channels."""
    sizes = ("in_channels", "out_channels", "groups", "scale", "training")
    return (
        type(module),
        getattr(module, "groups", 1) == 1,
        tuple(
            (name, repr(value))
            for name, value in sorted(vars(module).items())
            if name not in sizes and not isinstance(value, (Tensor, dict))
        ),
        tuple((name, _configuration(child)) for name, child in module.named_children()),
    )


class Judged:
    """Judges layers whose class has code of its own, once for each combination of settings."""

    def __init__(self, *, fold_pads: bool) -> None:
        """See `convert` for `fold_pads`."""
        self._fold_pads = fold_pads
        self._verdicts: dict[Hashable, Verdict | None] = {}

    def of(self, layer: nn.Module, *, registered: bool = False) -> Verdict | None:
        """Return how to replace `layer`, or None if it is not padded as SAME.

        Args:
            layer: A layer of a class with code of its own.
            registered: Whether the user has registered the class as padded as SAME.

        Raises:
            CannotRunError: The layer can't be run.
        """
        settings = (_configuration(layer), registered)
        if settings not in self._verdicts:
            self._verdicts[settings] = self._judged(layer, registered)
        return self._verdicts[settings]

    def _judged(self, layer: nn.Module, registered: bool) -> Verdict | None:
        alone = all(is_padding_alone(*child) for child in layer.named_children())
        told = is_named_for_padding(layer) or pads_in_forward(layer)
        if not registered and not (alone and told):
            return None
        verdict = judge(
            layer, [layer], lambda trials: trials[layer], channels_of(layer), claimed=registered
        )
        if not verdict and self._fold_pads and fixed_pads(layer):
            amounts = total_padding(layer, padding_of(fixed_pads(layer)[0]))
            if agree(layer, stand_in(layer, amounts), shapes_for(layer, channels_of(layer))):
                return padded_by(amounts)
        return verdict


def padded_by(amounts: Padding) -> Verdict:
    """The verdict that a layer that pads every input by `amounts` is the replacement."""
    return Verdict(lambda layer, _: stand_in(layer, amounts))


def total_padding(layer: Any, before: Sequence[tuple[int, int]]) -> Padding:
    """Add up the amounts padded `before` a layer and by it: (before, after) per dimension."""
    is_amounts = isinstance(layer.padding, tuple) and not modes_of(layer.padding)
    own = layer.padding if is_amounts else (0,) * len(before)
    return tuple((b + p, a + p) for (b, a), p in zip(before, own, strict=True))
