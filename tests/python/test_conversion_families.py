"""Tests samepad.convert on layers as other packages pad them; the old layer is the reference.

The classes here imitate those that people write: their formulas and members differ, but their
results do not, unless a test says so.
"""

import copy
import functools
import io
import math
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import geffnet
import pytest
import samepad
import torch
import torch.nn.functional as F
from peers import timm
from pytorchcv.models.common.activ import lambda_swish
from pytorchcv.models.common.norm import lambda_batchnorm2d
from pytorchcv.models.efficientnet import EffiDwsConvUnit, EffiInitBlock, EffiInvResUnit
from samepad.source import write_source
from torch import Tensor, fx, nn
from torch.nn.utils import prune

SIZES = ((9, 8), (8, 11), (10, 13), (1, 2))


def amounts(n: int, k: int, s: int, d: int) -> tuple[int, int]:
    total = max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0)
    return total // 2, total - total // 2


def padded(x: Tensor, kernel: Any, stride: Any, dilation: Any) -> Tensor:
    pads: list[int] = []
    for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True):
        pads = [*amounts(n, k, s, d), *pads]
    return F.pad(x, pads)


class Conv2dAdaptivePadding(nn.Conv2d):
    """Pads by a formula of its own and ignores the argument `padding`."""

    def forward(self, x: Tensor) -> Tensor:
        x = padded(x, self.weight.shape[2:], self.stride, self.dilation)
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Conv2dSAME(nn.modules.conv._ConvNd):
    """Adds one element if the total is odd, and lets the convolution add the rest."""

    def __init__(
        self, cin: int, cout: int, k: Any, stride: int = 1, dilation: int = 1, groups: int = 1
    ) -> None:
        pair = nn.modules.utils._pair
        super().__init__(
            cin,
            cout,
            pair(k),
            pair(stride),
            (0, 0),
            pair(dilation),
            False,
            (0, 0),
            groups,
            True,
            "zeros",
        )

    def forward(self, input: Tensor) -> Tensor:
        (top, bottom), (left, right) = (
            amounts(n, k, s, d)
            for n, k, s, d in zip(
                input.shape[2:], self.kernel_size, self.stride, self.dilation, strict=True
            )
        )
        input = F.pad(input, (0, right - left, 0, bottom - top))
        return F.conv2d(
            input, self.weight, self.bias, self.stride, (top, left), self.dilation, self.groups
        )


class SameWrapper(nn.Module):
    """A convolution in a module that pads."""

    def __init__(self, cin: int, cout: int, k: Any, **arguments: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, k, **arguments)
        self.stride = self.conv.stride

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        return conv(padded(x, conv.kernel_size, conv.stride, conv.dilation))  # type: ignore[no-any-return]


class DynamicPad2d(nn.Module):
    def __init__(self, k: Any, stride: int = 1, dilation: int = 1, value: float = 0) -> None:
        super().__init__()
        pair = nn.modules.utils._pair
        self.kernel_size, self.stride, self.dilation = pair(k), pair(stride), pair(dilation)
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for n, k, s, d in zip(
            x.shape[2:], self.kernel_size, self.stride, self.dilation, strict=True
        ):
            pads = [*amounts(n, k, s, d), *pads]
        return F.pad(x, pads, value=self.value)


def padded_before(cin: int, cout: int, k: Any, **arguments: Any) -> nn.Module:
    pad = DynamicPad2d(k, arguments["stride"], arguments["dilation"])
    return nn.Sequential(pad, nn.Conv2d(cin, cout, k, **arguments), nn.ReLU())


class FlaggedBlock(nn.Module):
    """Pads between its children if a flag says so, and adds its input to the output."""

    def __init__(self, cin: int, cout: int, k: Any, **arguments: Any) -> None:
        super().__init__()
        self.tf_mode = True
        self.point = nn.Conv2d(cin, cin, 1)
        self.block = nn.Sequential(nn.Conv2d(cin, cout, k, **arguments), nn.BatchNorm2d(cout))
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.point(x)
        conv: Any = self.block[0]
        if self.tf_mode:
            x = padded(x, conv.kernel_size, conv.stride, conv.dilation)
        y: Tensor = self.drop(self.block(x))
        return y + y.mean()


class ConfiguredLayer(nn.Module):
    """Pads if its configuration, which other modules share, says so."""

    def __init__(self, cin: int, cout: int, k: Any, config: Any = None, **arguments: Any) -> None:
        super().__init__()
        self.config = config or SimpleNamespace(tf_padding=True)
        self.convolution = nn.Conv2d(cin, cout, k, **arguments)
        self.normalization = None

    def forward(self, x: Tensor) -> Tensor:
        if self.config.tf_padding:
            conv = self.convolution
            x = padded(x, conv.kernel_size, conv.stride, conv.dilation)
        return self.convolution(x)  # type: ignore[no-any-return]


LAYERS: dict[str, Any] = {
    "geffnet": geffnet.conv2d_layers.Conv2dSame,
    "StdConv2dSame": timm.layers.StdConv2dSame,
    "ScaledStdConv2dSame": timm.layers.ScaledStdConv2dSame,
    "formula of its own": Conv2dAdaptivePadding,
    "_ConvNd": Conv2dSAME,
    "wrapper": SameWrapper,
    "pad before": padded_before,
    "flag": FlaggedBlock,
    "flag in a configuration": ConfiguredLayer,
}


def converted(layer: nn.Module, **options: Any) -> tuple[nn.Module, Any]:
    """Return a converted copy, and the report."""
    return samepad.convert(copy.deepcopy(layer), return_report=True, **options)  # type: ignore[no-any-return]


def assert_equal(new: nn.Module, old: nn.Module, sizes: Any = SIZES, channels: int = 4) -> None:
    for size in sizes:
        input = torch.randn(2, channels, *size)
        torch.testing.assert_close(new.eval()(input), old.eval()(input))


def same_layers(module: nn.Module) -> list[Any]:
    return [
        m
        for m in module.modules()
        if type(m).__name__.endswith(("SamePadConv2d", "SamePadMaxPool2d"))
    ]


@pytest.mark.parametrize(
    ("k", "stride", "dilation", "groups"),
    [
        (3, 1, 1, 1),
        (3, 2, 1, 4),
        ((2, 5), 2, 1, 1),
        (2, 3, 1, 2),  # the kernel is shorter than the stride
        (3, 4, 2, 1),
        (4, 1, 2, 2),
        (5, 3, 2, 4),
    ],
)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_every_family_are_replaced_and_answer_the_same(
    name: str, k: Any, stride: int, dilation: int, groups: int
) -> None:
    torch.manual_seed(0)
    old = LAYERS[name](4, 8, k, stride=stride, dilation=dilation, groups=groups)
    new, report = converted(old)
    assert len(report.replaced) == 1
    assert not report.differing
    assert [layer.padding for layer in same_layers(new)] == ["same"]
    assert list(new.state_dict()) == list(old.state_dict())
    assert_equal(new, old)
    # Converting again changes nothing, so nothing is padded twice.
    again, second = converted(new)
    assert not second.replaced
    assert_equal(again, old)


def test_a_configuration_that_others_read_stays_as_it_is() -> None:
    config = SimpleNamespace(tf_padding=True)
    model = nn.Sequential(*(ConfiguredLayer(4, 4, 3, config, stride=2) for _ in range(2)))
    old = copy.deepcopy(model)
    samepad.convert(model)
    assert config.tf_padding
    assert model[0].config is model[1].config
    assert_equal(model, old)


def test_gradients_are_those_of_standardized_weights() -> None:
    old = timm.layers.ScaledStdConv2dSame(4, 8, 3, stride=2).double()
    new, _ = converted(old)
    input = torch.randn(2, 4, 9, 8, dtype=torch.float64)
    results = []
    for layer in (old, new):
        layer(input).square().sum().backward()
        results.append([layer.weight.grad, layer.bias.grad, layer.gain.grad])
    torch.testing.assert_close(results[1], results[0])


def test_blocks_whose_padding_mixes_up_the_dimensions() -> None:
    """pytorchcv swaps the padding of height and width, which matters if the two differ."""
    common: Any = (lambda_batchnorm2d(), lambda_swish(), True)
    old = nn.Sequential(
        EffiInitBlock(3, 8, *common),
        EffiDwsConvUnit(8, 8, 1, *common),
        EffiInvResUnit(8, 8, 5, 2, 2, 4, *common),
    )
    new, report = converted(old)
    names = ["0.conv.conv", "1.dw_conv.conv", "2.conv2.conv"]
    assert [layer.name for layer in report.replaced] == names
    assert [layer.name for layer in report.differing] == [names[0], names[2]]
    assert all("mixed up the dimensions" in layer.note for layer in report.differing)
    assert_equal(new, old, [(n, n) for n in (16, 17, 18, 19)], 3)
    # The amounts for each dimension are SAME's; only their places are wrong.
    input = torch.randn(2, 3, 9, 8)
    init: Any = old[0]
    expected = init.conv(padded(input, (3, 3), (2, 2), (1, 1)))
    torch.testing.assert_close(new[0](input), expected)  # type: ignore[index]


class MaxPool2dSame(nn.MaxPool2d):
    def forward(self, input: Tensor) -> Tensor:
        size, step = (self.kernel_size,) * 2, (self.stride,) * 2
        return F.max_pool2d(padded(input, size, step, (1, 1)), size, step)  # type: ignore[arg-type]


class SamePoolWrapper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(padded(x, (3, 3), (2, 2), (1, 1)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("make", [lambda: MaxPool2dSame(3, 2), SamePoolWrapper])
def test_pools_that_pad_with_zeros_are_replaced_and_said_to_differ(make: Any) -> None:
    old = make()
    new, report = converted(old)
    assert "padded with 0 rather than -inf" in report.differing[0].note
    row = -torch.rand(1, 1, 8, 8)
    assert torch.equal(new(-row), old(-row))
    assert torch.equal(new(row), samepad.functional.max_pool2d(row, 3, 2))


def test_a_pad_that_follows_a_layers_first_input_is_named_so() -> None:
    old = geffnet.conv2d_layers.Conv2dSameExport(4, 4, 3, stride=2)
    for layer in (old, copy.deepcopy(old)):
        new, report = converted(layer)
        assert report.replaced[0].note == "was padded for one input size, is now for every size"
        assert_equal(new, copy.deepcopy(old), [(9, 8)])
        old(torch.randn(1, 4, 9, 8))


class SameLower(Conv2dAdaptivePadding):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flip(2, 3)).flip(2, 3)


class StaticSameLower(SameLower):
    """Its name says static and SAME, but it is neither."""


class SameWithoutDilation(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        x = padded(x, self.kernel_size, self.stride, (1, 1))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation)


class SameGated(Conv2dAdaptivePadding):
    """Has a factor that is 0 in a new layer."""

    def __init__(self, *arguments: Any, **others: Any) -> None:
        super().__init__(*arguments, **others)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + self.gate)


class SameMasked(Conv2dAdaptivePadding):
    """Has a mask that is all ones in a new layer."""

    def __init__(self, *arguments: Any, **others: Any) -> None:
        super().__init__(*arguments, **others)
        self.register_buffer("mask", torch.ones_like(self.weight))

    def forward(self, x: Tensor) -> Tensor:
        x = padded(x, self.kernel_size, self.stride, self.dilation)
        return F.conv2d(x, self.weight * self.mask, self.bias, self.stride, 0, self.dilation)


class SameWithDropout(Conv2dAdaptivePadding):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(super().forward(x), 0.5, self.training)


class SameDetached(Conv2dAdaptivePadding):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class SameBroken(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class SameWithChild(Conv2dAdaptivePadding):
    """Has a child that a switch turns on."""

    def __init__(self, *arguments: Any, **others: Any) -> None:
        super().__init__(*arguments, **others)
        self.quantizer = nn.Tanh()
        self.enabled = False

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.quantizer(x) if self.enabled else x)


@pytest.mark.parametrize(
    "cls",
    [
        SameLower,
        StaticSameLower,
        SameWithoutDilation,
        SameGated,
        SameMasked,
        SameWithDropout,
        SameDetached,
        SameBroken,
        SameWithChild,
        timm.layers.std_conv.StdConv2d,
    ],
)
def test_what_only_looks_like_same_is_left(cls: Any) -> None:
    old = cls(4, 4, 3, stride=2, dilation=2).eval()
    model, report = converted(nn.Sequential(old))
    assert type(model[0]) is cls  # type: ignore[index]
    assert report.left[0].note.startswith(f"{cls.__name__} may compute more than nn.Conv2d")


class Conv2dSamePadding(nn.Conv2d):
    """Pads every input by the same amounts."""

    def __init__(self, *arguments: Any, **others: Any) -> None:
        super().__init__(*arguments, **others)
        before_after = [((k - 1) // 2, k // 2) for k in self.kernel_size[::-1]]
        self.zero_pad_2d = nn.ZeroPad2d(sum(before_after, ()))  # type: ignore[arg-type]

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(self.zero_pad_2d(input), self.weight, self.bias)


class Stem(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.padding = nn.ZeroPad2d((0, 1, 2, 1))
        self.convolution = nn.Conv2d(4, 8, 3, stride=2, padding="valid")

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(self.padding(x)).relu()  # type: ignore[no-any-return]


FIXED: dict[str, tuple[Any, Any]] = {
    "own pad": (lambda: Conv2dSamePadding(4, 8, 4, stride=2), ((1, 2), (1, 2))),
    "own pad, stride 1": (lambda: Conv2dSamePadding(4, 8, 3), ((1, 1), (1, 1))),
    "in a parent": (Stem, ((2, 1), (0, 1))),
    "in front": (
        lambda: nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(4, 8, 3, stride=2, padding=(1, 0), groups=2)
        ),
        ((1, 2), (0, 1)),
    ),
    "constant": (
        lambda: nn.Sequential(nn.ConstantPad2d((3, 0, 0, 1), 0.0), nn.Conv2d(4, 8, 3)),
        ((0, 1), (3, 0)),
    ),
}


@pytest.mark.parametrize("name", FIXED)
def test_fixed_padding_is_left_or_folded(name: str) -> None:
    make, pairs = FIXED[name]
    old = make()
    left, report = converted(old)
    assert not report.replaced
    assert "see fold_pads" in report.left[0].note
    assert_equal(left, old, SIZES[:3])
    new, report = converted(old, fold_pads=True)
    assert len(report.replaced) == 1
    assert not report.differing
    assert same_layers(new)[0].padding == pairs
    assert not any(isinstance(module, nn.ConstantPad2d) for module in new.modules())
    assert list(new.state_dict()) == list(old.state_dict())
    assert_equal(new, old, SIZES[:3])


def shared_convolution() -> nn.Module:
    conv = nn.Conv2d(4, 4, 3)
    return nn.Sequential(nn.ZeroPad2d(1), conv, conv)


def shared_pad() -> nn.Module:
    pad = nn.ZeroPad2d(1)
    return nn.Sequential(pad, nn.Conv2d(4, 4, 3), pad, nn.ReLU())


def hooked_pad() -> nn.Module:
    model = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(4, 4, 3))
    model[0].register_forward_hook(lambda _, __, output: output + 1)
    return model


@pytest.mark.parametrize(
    "make",
    [
        shared_convolution,
        shared_pad,
        hooked_pad,
        lambda: nn.Sequential(nn.ConstantPad2d(1, 2.0), nn.Conv2d(4, 4, 3)),
        lambda: nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(4, 4, 3)),
        lambda: nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(3)),
        lambda: nn.Sequential(nn.ZeroPad2d(-1), nn.Conv2d(4, 4, 3, padding=2)),
        lambda: nn.Sequential(
            nn.ZeroPad2d(1), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
        ),
    ],
)
def test_pads_that_can_not_be_folded_stay(make: Any) -> None:
    old = make()
    new, report = converted(old, fold_pads=True)
    assert not report.replaced
    assert_equal(new, old, SIZES[:3])


class Unrunnable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3)
        self.point = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor, pads: list[int]) -> Tensor:
        return self.point(self.conv(F.pad(x, pads)))  # type: ignore[no-any-return]


class Corner(nn.Module):
    """Pads only at the end, which is not SAME."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Conv2d(4, 4, 5, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(F.pad(x, (0, 3, 0, 3)))  # type: ignore[no-any-return]


def test_the_report_says_where_else_a_layer_is_padded() -> None:
    model = nn.Sequential(OrderedDict(a=Unrunnable(), b=Corner(), c=Stem()))
    _, report = samepad.convert(model, return_report=True)
    notes = {layer.name: layer.note for layer in report.left}
    assert "Unrunnable 'a' may pad it, but can't be run alone" in notes["a.conv"]
    assert notes["a.point"] == "padding=(0, 0) is not 'same'"
    assert notes["b.projection"] == "padding=(0, 0) is not 'same'; is padded by Corner 'b'"
    assert "is padded by Stem 'c', as much for every input: see fold_pads" in notes["c.convolution"]


class WithMethod(SameWrapper):
    def predict(self, x: Tensor) -> Tensor:
        return self(x).softmax(1)  # type: ignore[no-any-return]


class WithFactor(SameWrapper):
    def forward(self, x: Tensor, factor: float | None = None) -> Tensor:
        return super().forward(x) * (factor or 1)


def twice(forward: Any) -> Any:
    @functools.wraps(forward)
    def wrapper(*arguments: Any) -> Any:
        return 2 * forward(*arguments) if wrapper.on else forward(*arguments)  # type: ignore[attr-defined]

    wrapper.on = False  # type: ignore[attr-defined]
    return wrapper


class Decorated(SameWrapper):
    @twice
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class CopiedInItsOwnWay(SameWrapper):
    def __deepcopy__(self, memo: Any) -> nn.Module:
        new = CopiedInItsOwnWay(1, 1, 1)
        vars(new).update(copy.deepcopy(vars(self), memo))
        return new


@pytest.mark.parametrize("cls", [WithMethod, WithFactor, Decorated, CopiedInItsOwnWay])
def test_a_module_of_which_more_than_its_children_may_be_used_keeps_its_forward(cls: Any) -> None:
    model, report = converted(cls(4, 4, 3, stride=2))
    assert type(model) is cls
    assert report.left[0].note == f"padding=(0, 0) is not 'same'; is padded by {cls.__name__}"


class WithProperty(SameWrapper):
    """What a block of a network has beside its forward, for the code that uses it."""

    expansion = 4

    def __init__(self, *arguments: Any, **others: Any) -> None:
        super().__init__(*arguments, **others)
        self.tag = "stem"

    @property
    def out_channels(self) -> int:
        return self.conv.out_channels


class UsesItsBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = WithProperty(4, 8, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        block = self.block
        if not isinstance(block, WithProperty) or block.tag != "stem":
            raise TypeError
        return block(x=x) * block.expansion / block.out_channels  # type: ignore[no-any-return]


def saved(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)  # type: ignore[no-any-return]


COPIES: dict[str, Any] = {
    "as it is": lambda model: model,
    "deep": copy.deepcopy,
    "pickled": lambda model: pickle.loads(pickle.dumps(model)),
    "pickled as of old": lambda model: pickle.loads(pickle.dumps(model, 0)),
    "saved": saved,
    "traced": fx.symbolic_trace,
    "exported": lambda model: torch.export.export(model, (torch.ones(2, 4, 9, 8),)).module(),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_module_that_pads_stays_what_it_is_to_others(name: str) -> None:
    old = UsesItsBlock()
    new, report = converted(old)
    assert report.replaced[0].note == (
        "was padded by WithProperty 'block', whose forward only calls its children now"
    )
    assert list(new.state_dict()) == list(old.state_dict())
    copied = COPIES[name](new.eval())
    input = torch.randn(2, 4, 9, 8)
    torch.testing.assert_close(copied(input), old(input))


class Leaves(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, _: str) -> bool:
        return isinstance(m, nn.Conv2d)


def test_a_module_that_only_calls_its_children_can_be_scripted_and_written() -> None:
    model = nn.Sequential(SameWrapper(4, 8, 3, stride=2), SameWrapper(8, 4, 3))
    old = copy.deepcopy(model)
    blocks = list(model)
    samepad.convert(model)
    assert list(model) == blocks
    assert type(model[0]) is type(model[1])
    assert type(pickle.loads(pickle.dumps(model[0]))) is type(model[0])
    scripted: Any = torch.jit.script(model)
    namespace: dict[str, Any] = {}
    exec(write_source(fx.GraphModule(model, Leaves().trace(model))), namespace)
    written = namespace["Model"]()
    written.load_state_dict(old.state_dict())
    input = torch.randn(2, 4, 9, 8)
    for new in (scripted, written):
        torch.testing.assert_close(new(input), old(input))


class Asserts(SameWrapper):
    """The flag is what `convert` tries to set to False."""

    use_padding: bool

    def __init__(self) -> None:
        super().__init__(4, 4, 3, stride=2)
        self.use_padding = True
        self.point = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        assert self.use_padding
        return self.point(super().forward(x).relu())  # type: ignore[no-any-return]


class LooksUp(Asserts):
    def forward(self, x: Tensor) -> Tensor:
        factor = {True: 2}[self.use_padding]
        return self.point(SameWrapper.forward(self, x).relu()) * factor  # type: ignore[no-any-return]


class IsUnbound(Asserts):
    def forward(self, x: Tensor) -> Tensor:
        if self.use_padding:
            y = padded(x, self.conv.kernel_size, self.conv.stride, self.conv.dilation)
        return self.point(self.conv(y).relu())  # type: ignore[no-any-return]


class ReadsThePadding(Asserts):
    def forward(self, x: Tensor) -> Tensor:
        if self.use_padding:
            x = padded(x, self.conv.kernel_size, self.conv.stride, self.conv.dilation)
        return self.point(self.conv(x).relu()) * (1 + self.conv.padding[0])  # type: ignore[no-any-return]


class ReadsThePad(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pad = DynamicPad2d(3, 2)
        self.conv = nn.Conv2d(4, 4, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.pad(x)) * self.pad.kernel_size[0]  # type: ignore[no-any-return]


@dataclass
class Features:
    """Features, which can't be compared: == of two of them raises an error."""

    tensor: Tensor


class ReturnsAnObject(SameWrapper):
    def __init__(self) -> None:
        super().__init__(4, 4, 3, stride=2)

    def forward(self, x: Tensor) -> Any:
        return Features(super().forward(x))


@dataclass(frozen=True)
class FrozenConfiguration:
    tf_padding: bool = True


class IsFrozen(ConfiguredLayer):
    def __init__(self) -> None:
        super().__init__(4, 4, 3, FrozenConfiguration(), stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


@pytest.mark.parametrize(
    "cls",
    [
        Asserts,
        LooksUp,
        IsUnbound,
        ReadsThePadding,
        ReadsThePad,
        ReturnsAnObject,
        IsFrozen,
    ],
)
def test_a_module_that_can_not_do_without_its_padding_is_left(cls: Any) -> None:
    old = cls()
    state = {name: value for name, value in vars(old).items() if isinstance(value, bool)}
    new, report = samepad.convert(old, return_report=True)
    assert type(new) is cls
    assert not report.replaced
    assert report.left[0].note == f"padding=(0, 0) is not 'same'; is padded by {cls.__name__}"
    assert {name: value for name, value in vars(new).items() if name in state} == state


class PadsOnce(nn.Module):
    def __init__(self, pad: nn.Module) -> None:
        super().__init__()
        self.pad = pad
        self.conv = nn.Conv2d(4, 4, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.pad(x)).relu()  # type: ignore[no-any-return]


def test_a_pad_that_several_modules_hold_stays() -> None:
    pad = DynamicPad2d(3, 2)
    model = nn.Sequential(PadsOnce(pad), PadsOnce(pad))
    model[1].conv.padding = (1, 1)
    new, _ = converted(model)
    assert_equal(new, model)


class Listed(nn.Module):
    """Has its pad in a list, which has no forward that could be looked at."""

    def __init__(self, *, again: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList([DynamicPad2d(3), nn.Conv2d(4, 4, 3)])
        self.again = again

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers[0](x)
        y: Tensor = self.layers[1](x)
        return y + x[..., 1:-1, 1:-1] if self.again else y


def test_a_pad_in_a_list_of_layers_is_found() -> None:
    old = Listed()
    new, report = converted(old)
    assert report.replaced[0].note == "was padded by Listed"
    assert_equal(new, old)


class Plain(nn.Conv2d):
    """Its forward tells that it pads, its name does not."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self._amounts(x)))

    def _amounts(self, x: Tensor) -> list[int]:
        kernel, stride, dilation = self.kernel_size, self.stride, self.dilation
        height, width = (amounts(*a) for a in zip(x.shape[2:], kernel, stride, dilation))  # noqa: B905
        return [*width, *height]


class Inherited(Conv2dAdaptivePadding):
    pass


class Inner(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x = padded(input, self.kernel_size, self.stride, self.dilation)
        pad = (0, 0)
        return F.conv2d(x, weight, bias, self.stride, pad, self.dilation, self.groups)


@pytest.mark.parametrize("cls", [Plain, Inherited, Inner])
def test_a_convolution_is_known_by_what_its_forward_does(cls: Any) -> None:
    old = nn.Sequential(cls(4, 4, 3, stride=2), nn.ReLU())
    new, report = converted(old)
    assert type(new[0]) is samepad.SamePadConv2d  # type: ignore[index]
    assert not report.differing
    assert_equal(new, old)


class ByHand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4, 4, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        larger = x.new_zeros(n, c, h + 1, w + 1)
        larger[:, :, :h, :w] = x
        return self.stem(larger)  # type: ignore[no-any-return]


class ByConcatenation(ByHand):
    def forward(self, x: Tensor) -> Tensor:
        for dim in (2, 3):
            x = torch.cat([x, torch.zeros_like(x.narrow(dim, 0, 1))], dim)
        return self.stem(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(4, 4, 3)), "ReflectionPad2d '0'"),
        (lambda: nn.Sequential(nn.ReplicationPad2d(1), nn.MaxPool2d(3)), "ReplicationPad2d '0'"),
        (lambda: nn.Sequential(nn.CircularPad2d(1), nn.Conv2d(4, 4, 3)), "CircularPad2d '0'"),
        (lambda: nn.Sequential(nn.ConstantPad2d(1, 0.5), nn.Conv2d(4, 4, 3)), "ConstantPad2d '0'"),
        (lambda: PadsOnce(nn.ReflectionPad2d(1)), "PadsOnce"),
        (lambda: Listed(again=True), "Listed"),
        (ByHand, "ByHand"),
        (ByConcatenation, "ByConcatenation"),
    ],
)
def test_the_report_names_padding_of_other_kinds(make: Any, where: str) -> None:
    old = make()
    new, report = converted(old, fold_pads=True)
    assert not report.replaced
    assert report.left[0].note.endswith(f" is not 'same'; is padded by {where}")
    assert_equal(new, old, SIZES[:3])


class FromZeros(nn.Module):
    """Makes tensors in the ways in which others pad, but pads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.state = nn.Conv2d(4, 4, 3)
        self.parts = nn.Conv2d(8, 4, 3)
        self.rows = nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        larger = x.new_zeros(x.shape[0], 8, *x.shape[2:])
        larger[:, :4] = x
        y: Tensor = self.state(torch.zeros_like(x)) + self.parts(larger)
        return y.mean() + self.rows(torch.cat([x, x], 2))  # type: ignore[no-any-return]


def test_the_report_names_no_padding_where_there_is_none() -> None:
    _, report = converted(FromZeros())
    assert [layer.note for layer in report.left] == ["padding=(0, 0) is not 'same'"] * 3


@pytest.fixture
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samepad.conversion.registry.REGISTERED", {})


@pytest.mark.usefixtures("_registry")
def test_registering_a_class_does_not_drop_what_it_computes() -> None:
    classes = (timm.layers.StdConv2dSame, SameGated, SameLower)
    for cls in classes:
        samepad.register_conversion(cls)
    old = nn.Sequential(*(cls(4, 4, 3, stride=2) for cls in classes))
    new, report = converted(old)
    assert_equal(new, old)
    assert [layer.name for layer in report.replaced] == ["0"]
    for cls, left in zip(classes[1:], report.left, strict=True):
        assert f"{cls.__name__} is registered, but computes something else" in left.note
    with pytest.raises(ValueError, match="computes something else"):
        samepad.convert(old, ["1"])


@pytest.mark.usefixtures("_registry")
def test_a_registered_conversion_is_compared_too() -> None:
    samepad.register_conversion(SameWrapper, lambda layer: layer.conv)
    old = nn.Sequential(SameWrapper(4, 4, 3, stride=2))
    new, report = converted(old)
    assert report.left[0].note == "its registered conversion gives other outputs: see differs=True"
    assert_equal(new, old)
    samepad.register_conversion(SameWrapper, lambda layer: layer.conv, differs=True)
    assert isinstance(samepad.convert(old)[0], nn.Conv2d)  # type: ignore[index]


@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "change",
    [
        nn.utils.spectral_norm,
        nn.utils.weight_norm,
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    ],
)
@pytest.mark.parametrize("make", [Conv2dAdaptivePadding, SameWrapper])
def test_weights_that_hooks_compute_go_on(make: Any, change: Any) -> None:
    old = make(4, 4, 3, stride=2)
    change(old.conv if make is SameWrapper else old)
    with torch.no_grad():  # with gradients, deepcopy would refuse the weight
        old(torch.randn(2, 4, 9, 8))
    new, report = samepad.convert(copy.deepcopy(old.eval()), return_report=True)
    assert len(report.replaced) == 1
    assert_equal(new, old)
    assert list(new.state_dict()) == list(old.state_dict())


def test_parametrized_and_quantized_layers_are_left() -> None:
    qat = torch.ao.nn.qat.Conv2d(
        4, 4, 3, padding="same", qconfig=torch.ao.quantization.get_default_qat_qconfig()
    )
    model = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(Conv2dAdaptivePadding(4, 4, 3, stride=2)),
        nn.utils.parametrizations.weight_norm(SameWrapper(4, 4, 3, stride=2).conv),
        nn.Sequential(
            DynamicPad2d(3, 2), nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3, 2))
        ),
        qat,
    )
    types = [type(module) for module in model.modules()]
    _, report = samepad.convert(model, return_report=True)
    assert not report.replaced
    assert [type(module) for module in model.modules()] == types
    assert "is padded by DynamicPad2d '2.0'; is parametrized" in report.left[2].note


def test_looking_at_a_model_changes_nothing_in_it() -> None:
    model = FlaggedBlock(4, 4, 3, stride=2)
    model.register_forward_hook(lambda *_: pytest.fail("the model itself was run"))
    model.block[0].register_forward_pre_hook(lambda *_: pytest.fail("a layer was run"))
    state = copy.deepcopy(model.state_dict())
    random_state = torch.get_rng_state()
    samepad.convert(model)
    assert torch.equal(torch.get_rng_state(), random_state)
    torch.testing.assert_close(model.state_dict(), state, rtol=0, atol=0)
    assert model.training
