"""Tests samepad.optimize_for_inference."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import copy
import io
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import samepad
import torch
import torch.nn.functional as F
import torch.nn.utils.prune
from peers import MODELS
from samepad.inference import layout
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

FUSED = (samepad.FusedConv1d, samepad.FusedConv2d, samepad.FusedConv3d)


@pytest.fixture(autouse=True)
def _measures_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(layout, "_SECONDS", 0.0)


def trained(model: nn.Module) -> nn.Module:
    """Put a model in eval mode, and give its normalizations other values than the initial ones."""
    for norm in model.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            for tensor in (norm.weight, norm.running_var):
                if tensor is not None:
                    nn.init.uniform_(tensor, 0.5, 2)
            for tensor in (norm.bias, norm.running_mean):
                if tensor is not None:
                    nn.init.normal_(tensor)
    return model.eval()


def assert_equal(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    ours, theirs = tree_leaves(found), tree_leaves(expected)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        if not isinstance(other, Tensor):
            assert one == other
            continue
        assert one.shape == other.shape
        assert one.is_contiguous() == other.is_contiguous()
        scale = other.abs().max().item()
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * scale)


def optimized(
    model: nn.Module, *inputs: Any, others: tuple[Any, ...] = (), **options: Any
) -> tuple[Any, samepad.InferenceReport]:
    """Optimize a model, whose state and outputs, also for `others`, must stay as they were."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modules = [type(module) for module in model.modules()]
    kept = copy.deepcopy(inputs)
    with torch.no_grad():
        expected = model(*copy.deepcopy(inputs))
    for chosen in (torch.contiguous_format, torch.channels_last):
        options = {"memory_format": chosen, **options}
        new, report = samepad.optimize_for_inference(model, *inputs, return_report=True, **options)
        assert [type(module) for module in model.modules()] == modules
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, before[name])
        for one, other in zip(tree_leaves(inputs), tree_leaves(kept), strict=True):
            assert not isinstance(one, Tensor) or torch.equal(one, other)
        with torch.no_grad():
            assert_equal(new(*copy.deepcopy(inputs)), expected)
            if others:
                assert_equal(new(*copy.deepcopy(others)), model(*copy.deepcopy(others)))
        assert report.difference <= 1e-5
        assert not any(parameter.requires_grad for parameter in new.parameters())
    return new, report


def fused(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, FUSED)]


def ends(model: nn.Module) -> list[tuple[str, str | None]]:
    """Return each fused layer's activation and residual."""
    return [(layer.activation, layer.residual) for layer in fused(model)]


def operations(model: nn.Module) -> list[str]:
    """Return what a graph computes, in order."""
    assert isinstance(model, fx.GraphModule)
    return [
        type(model.get_submodule(str(node.target))).__name__
        if node.op == "call_module"
        else getattr(node.target, "__name__", str(node.target))
        for node in model.graph.nodes
        if node.op.startswith("call") and "converts_layout" not in node.meta
    ]


class Block(nn.Module):
    """A convolution and a normalization, before code that is given."""

    def __init__(self, after: Callable[[Tensor], Tensor], **options: Any) -> None:
        super().__init__()
        self.conv = samepad.SamePadConv2d(3, 8, 3, 2, **options)
        self.norm = nn.BatchNorm2d(8)
        self.after = after

    def forward(self, input: Tensor) -> Tensor:
        return self.after(self.norm(self.conv(input)))


class Swish(nn.Module):
    """An activation of another package, whose function torch.fx can't follow."""

    def forward(self, input: Tensor) -> Tensor:
        if input.sum() > 0:
            return input * input.sigmoid()
        return input / (1 + (-input).exp())


ACTIVATIONS: list[tuple[Any, str, tuple[float, ...]]] = [
    (F.relu, "relu", ()),
    (torch.relu, "relu", ()),
    (lambda x: x.relu(), "relu", ()),
    (lambda x: x.relu_(), "relu", ()),
    (torch.relu_, "relu", ()),
    (lambda x: F.relu(x, inplace=True), "relu", ()),
    (lambda x: F.relu(x, True), "relu", ()),
    (lambda x: x.clamp(min=0), "relu", ()),
    (lambda x: torch.maximum(x, -x) * 0.5 + x * 0.5, "relu", ()),
    (nn.ReLU(), "relu", ()),
    (nn.ReLU(inplace=True), "relu", ()),
    (nn.Sequential(nn.Identity(), nn.Dropout(), nn.ReLU()), "relu", ()),
    (F.relu6, "clamp", (0, 6)),
    (nn.ReLU6(), "clamp", (0, 6)),
    (lambda x: x.clamp(0, 6), "clamp", (0, 6)),
    (lambda x: torch.clamp(x, -1, 2), "clamp", (-1, 2)),
    (lambda x: x.clamp_(max=1), "clamp", (-torch.inf, 1)),
    (nn.Hardtanh(-2, 3), "clamp", (-2, 3)),
    (F.hardtanh, "clamp", (-1, 1)),
    (F.silu, "silu", ()),
    (nn.SiLU(inplace=True), "silu", ()),
    (lambda x: x * torch.sigmoid(x), "silu", ()),
    (lambda x: x.sigmoid() * x, "silu", ()),
    (lambda x: x.mul_(x.sigmoid()), "silu", ()),
    (lambda x: x / (1 + torch.exp(-x)), "silu", ()),
    (Swish(), "silu", ()),
    (torch.sigmoid, "sigmoid", ()),
    (nn.Sigmoid(), "sigmoid", ()),
    (torch.tanh, "tanh", ()),
    (lambda x: x.tanh_(), "tanh", ()),
    (F.hardswish, "hardswish", ()),
    (nn.Hardswish(inplace=True), "hardswish", ()),
    (lambda x: x * F.relu6(x + 3) / 6, "hardswish", ()),
    (lambda x: x * (x + 3).clamp(0, 6).div(6), "hardswish", ()),
    (F.hardsigmoid, "hardsigmoid", ()),
    (lambda x: F.relu6(x + 3.0) / 6.0, "hardsigmoid", ()),
    (lambda x: x.add(3.0).clamp_(0.0, 6.0).div_(6.0), "hardsigmoid", ()),
    (lambda x: F.leaky_relu(x, 0.2), "leaky_relu", (0.2,)),
    (nn.LeakyReLU(0.1, inplace=True), "leaky_relu", (0.1,)),
    (F.gelu, "gelu", ()),
    (nn.GELU("tanh"), "gelu_tanh", ()),
    (lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)), "gelu", ()),
    (nn.ELU(0.5), "elu", (0.5,)),
    (F.elu_, "elu", (1,)),
]


@pytest.mark.parametrize(("after", "name", "parameters"), ACTIVATIONS)
def test_fuses_every_form_of_an_activation(
    after: Any, name: str, parameters: tuple[float, ...]
) -> None:
    model = trained(Block(after))
    new, report = optimized(model, torch.randn(2, 3, 9, 8), others=(torch.randn(1, 3, 5, 6),))
    assert operations(new) == ["FusedConv2d"]
    assert (new.conv.activation, new.conv.activation_parameters) == (name, parameters)
    (layer,) = report.layers
    assert layer.name == "conv"
    assert layer.before == f"SamePadConv2d + BatchNorm2d + {name}"
    assert layer.after == "FusedConv2d"


@pytest.mark.parametrize(
    "after",
    [
        F.mish,
        lambda x: x.softmax(1),
        lambda x: F.prelu(x, torch.tensor(0.5)),
        lambda x: x * torch.sigmoid(1.702 * x),
        lambda x: torch.relu(x.mean(1, keepdim=True)),
        lambda x: torch.relu(x) + x.sum(),
        lambda x: torch.relu(x) * torch.sigmoid(x).mean((2, 3), keepdim=True),
        lambda x: torch.relu(x.flatten(1)),
        lambda x: (x, torch.relu(x)),
        lambda x: torch.relu(x.permute(0, 2, 3, 1)),
        lambda x: torch.relu(x.double()),
        lambda x: {"a": [x.tanh()], "b": (x.sigmoid(), 3)}["a"][0] + x,
        lambda x: (x + x).relu(),
        lambda x: x.transpose(0, 1).reshape(x.shape[1], -1).relu(),
        lambda x: x.view(x.size(0), -1).relu_(),
        lambda x: torch.cat([x, x.relu()], 1).chunk(2, 1),
        lambda x: x[:, 1:3].relu_() + x[:, 1:3],
    ],
)
def test_other_code_stays(after: Any) -> None:
    new, _ = optimized(trained(Block(after)), torch.randn(2, 3, 9, 8))
    assert all(layer.activation == "identity" for layer in fused(new))
    assert fused(new) or after.__code__.co_names.count("relu_")


class Residual(nn.Module):
    """Two convolutions, and code that is given their results and the input."""

    def __init__(self, join: Callable[..., Any]) -> None:
        super().__init__()
        self.first = samepad.SamePadConv2d(4, 4, 3)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.join = join

    def forward(self, input: Tensor) -> Any:
        return self.join(self.norm(self.first(input)), self.second, input)


def late(a: Tensor, conv: Any, x: Tensor) -> Tensor:
    b = x.sigmoid() * 2
    return (a + b).relu()


def changed(a: Tensor, conv: Any, x: Tensor) -> Tensor:
    b = conv(x)
    b += a
    return b.relu_()


RESIDUALS: list[tuple[Any, list[tuple[str, str | None]]]] = [
    (lambda a, conv, x: a + x, [("identity", "before")]),
    (lambda a, conv, x: x + a, [("identity", "before")]),
    (lambda a, conv, x: (a + x).relu(), [("relu", "before")]),
    (lambda a, conv, x: F.silu(torch.add(x, a)), [("silu", "before")]),
    (lambda a, conv, x: a.relu() + x, [("relu", "after")]),
    (lambda a, conv, x: x.add(F.hardswish(a)), [("hardswish", "after")]),
    (lambda a, conv, x: a.add_(x).relu_(), [("relu", "before")]),
    (lambda a, conv, x: (a.relu() + x).relu(), [("relu", "after")]),
    (late, [("relu", "before")]),
    (changed, [("identity", None), ("relu", "before")]),
    (lambda a, conv, x: (a + conv(x)).relu(), [("identity", None), ("relu", "before")]),
    (lambda a, conv, x: (conv(x) + a).relu(), [("identity", None), ("relu", "before")]),
    (lambda a, conv, x: conv(a.relu()) + a, [("identity", None), ("identity", "before")]),
    (lambda a, conv, x: (conv(a.relu()) + x).relu(), [("relu", None), ("relu", "before")]),
    (lambda a, conv, x: (a + x, a), [("identity", None)]),
    (lambda a, conv, x: a + a, [("identity", None)]),
    (lambda a, conv, x: torch.add(a, x, alpha=2), [("identity", None)]),
    (lambda a, conv, x: a + x.mean((2, 3), keepdim=True), [("identity", None)]),
    (lambda a, conv, x: a + x[:, :1], [("identity", None)]),
    (lambda a, conv, x: a + 1, [("identity", None)]),
    (lambda a, conv, x: a - x, [("identity", None)]),
    (lambda a, conv, x: a + x.double(), [("identity", None)]),
]


@pytest.mark.parametrize(("join", "expected"), RESIDUALS)
def test_fuses_residuals(join: Any, expected: list[Any]) -> None:
    new, _ = optimized(
        trained(Residual(join)), torch.randn(2, 4, 6, 7), others=(torch.randn(1, 4, 3, 3),)
    )
    assert ends(new) == expected


class Written(nn.Module):
    """Changes values in place, in ways that others can see."""

    def __init__(self, code: Callable[..., Any]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.code = code

    def forward(self, input: Tensor) -> Any:
        return self.code(self.conv(input), self, input)


def later_use(x: Tensor, model: Any, input: Tensor) -> Tensor:
    y = model.relu(x)
    return x * 2 + y


def later_view(x: Tensor, model: Any, input: Tensor) -> Tensor:
    rows = x.flatten(2)
    x.relu_()
    return rows.sum(2)


def through_a_view(x: Tensor, model: Any, input: Tensor) -> Tensor:
    x[:, :2].mul_(3.0)
    return x.relu()


def through_two_views(x: Tensor, model: Any, input: Tensor) -> Tensor:
    x.flatten(2).transpose(1, 2).mul_(3.0)
    return x.relu()


def of_the_input(x: Tensor, model: Any, input: Tensor) -> Tensor:
    copied = input * 1
    copied.sigmoid_()
    return (x + copied).relu() + copied


def earlier_and_later(x: Tensor, model: Any, input: Tensor) -> Tensor:
    scale = x.mean((2, 3), keepdim=True)
    x.mul_(scale).add_(1.0)
    return model.conv(x) + x


@pytest.mark.parametrize(
    "code",
    [later_use, later_view, through_a_view, through_two_views, of_the_input, earlier_and_later],
)
def test_changes_in_place_are_seen_where_they_were(code: Any) -> None:
    optimized(Written(code).eval(), torch.randn(2, 4, 6, 7))


class Gate(nn.Module):
    """A squeeze-and-excite block between convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.before = samepad.SamePadConv2d(3, 8, 3)
        self.reduce, self.expand = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)
        self.after = samepad.SamePadConv2d(8, 4, 1)

    def forward(self, input: Tensor) -> Tensor:
        x = F.silu(self.before(input))
        scale = self.expand(F.silu(self.reduce(x.mean((2, 3), keepdim=True)))).sigmoid()
        return F.softplus(self.after(scale * x))


def test_products_write_over_their_operand() -> None:
    new, _ = optimized(Gate().eval(), torch.randn(2, 3, 9, 8))
    assert operations(new) == [
        "FusedConv2d", "mean", "FusedConv2d", "FusedConv2d", "mul_", "FusedConv2d", "softplus",
    ]  # fmt: skip


class Kept(nn.Module):
    """Products and activations whose operands are needed afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(5, 5)

    def forward(self, input: Tensor) -> Any:
        x = self.conv(input)
        rows = x.flatten(2)
        product = x * 2.0
        y = self.linear(product[..., :5, :5])
        return rows, product, y.relu(), y, input.relu(), self.linear(y).relu()


def test_what_is_needed_is_not_written_over() -> None:
    new, _ = optimized(Kept().eval(), torch.randn(2, 3, 9, 8))
    assert operations(new).count("mul_") == 0
    assert operations(new).count("relu_") == 1


class Shared(nn.Module):
    """Calls one convolution twice, with different layers after it."""

    def __init__(self, alike: bool) -> None:
        super().__init__()
        self.conv = samepad.SamePadConv2d(4, 4, 3)
        self.one = nn.BatchNorm2d(4)
        self.other = self.one if alike else nn.BatchNorm2d(4)

    def forward(self, input: Tensor) -> Tensor:
        return self.other(self.conv(self.one(self.conv(input)).relu())).relu()


@pytest.mark.parametrize("alike", [True, False])
def test_a_layer_that_is_called_twice(alike: bool) -> None:
    new, report = optimized(trained(Shared(alike)), torch.randn(2, 4, 6, 7))
    assert operations(new) == ["FusedConv2d"] * 2
    assert len(fused(new)) == 1 if alike else 2
    assert len(report.replaced) == 2


def hooked() -> nn.Module:
    model = Block(F.relu)
    model.conv.register_forward_hook(lambda _, __, output: output * 2)
    return model


def hooked_norm() -> nn.Module:
    model = Block(F.relu)
    model.norm.register_forward_pre_hook(lambda _, inputs: (inputs[0] * 2,))
    return model


def parametrized() -> nn.Module:
    model = Block(F.relu)
    nn.utils.parametrizations.weight_norm(model.conv)
    return model


def pruned() -> nn.Module:
    model = Block(F.relu)
    nn.utils.prune.l1_unstructured(model.conv, "weight", 0.5)
    return model


def with_its_own_forward() -> nn.Module:
    model = Block(F.relu)
    conv = model.conv
    forward = conv.forward
    conv.forward = lambda input: forward(input) * 2  # type: ignore[method-assign]
    return model


class Doubled(samepad.SamePadConv2d):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


def with_another_conv() -> nn.Module:
    model = Block(F.relu)
    model.conv = Doubled(3, 8, 3, 2)
    return model


def without_statistics() -> nn.Module:
    model = Block(F.relu)
    model.norm = nn.BatchNorm2d(8, track_running_stats=False)
    return model


LEFT: list[tuple[Any, str, str]] = [
    (hooked, "conv", "has hooks"),
    (hooked_norm, "norm", "has hooks"),
    (parametrized, "conv", "is parametrized"),
    (pruned, "conv", "has hooks"),
    (with_its_own_forward, "conv", "has a forward of its own"),
    (with_another_conv, "conv", "is Doubled, whose forward may compute more"),
    (without_statistics, "norm", "has no running statistics"),
    (lambda: Block(F.relu, padding_mode="reflect"), "conv", "has padding_mode='reflect'"),
    (lambda: Block(F.relu, dtype=torch.complex64), "conv", ""),
]


@pytest.mark.parametrize(("make", "name", "reason"), LEFT[:-1])
def test_says_what_it_leaves_and_why(make: Any, name: str, reason: str) -> None:
    _, report = optimized(trained(make()), torch.randn(2, 3, 9, 8))
    notes = {layer.name: layer.note for layer in report.left}
    assert reason in notes[name]
    assert f"left      {name} " in str(report) or f"left  {name} " in str(report)


def test_complex_numbers_are_left() -> None:
    conv = samepad.SamePadConv2d(3, 4, 3, dtype=torch.complex64)
    new, report = optimized(
        nn.Sequential(conv).eval(), torch.randn(1, 3, 5, 5, dtype=torch.complex64)
    )
    assert not fused(new)
    assert "complex64" in report.left[0].note


class PreActivation(nn.Module):
    """A normalization and an activation whose value two layers use, as in ResNetV2."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dimensions - 1]
        conv = (samepad.SamePadConv1d, samepad.SamePadConv2d, samepad.SamePadConv3d)[dimensions - 1]
        self.norm, self.last = norm(4), norm(4)
        self.conv = conv(4, 4, 3)

    def forward(self, input: Tensor) -> Tensor:
        x = self.norm(input).relu()
        return self.last(self.conv(x) + x)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_a_normalization_before_an_activation(dimensions: int) -> None:
    input = torch.randn(2, 4, *[5] * dimensions)
    new, report = optimized(trained(PreActivation(dimensions)), input)
    name = f"FusedConv{dimensions}d"
    assert operations(new) == [name, name, f"BatchNorm{dimensions}d"]
    assert report.layers[0].before == f"BatchNorm{dimensions}d + relu"
    assert "follows no layer" in report.left[0].note


TRANSPOSED = [
    samepad.SamePadConvTranspose2d(4, 6, 3, 2),
    nn.ConvTranspose2d(4, 6, 3, 2, groups=2, bias=False),
]


@pytest.mark.parametrize("conv", TRANSPOSED)
def test_a_transposed_convolution_takes_the_normalization(conv: nn.Module) -> None:
    model = trained(nn.Sequential(conv, nn.BatchNorm2d(6), nn.ReLU()))
    new, report = optimized(model, torch.randn(2, 4, 5, 6))
    assert operations(new) == [type(conv).__name__, "ReLU"]
    assert getattr(new, "2").inplace
    assert report.replaced[0].before == f"{type(conv).__name__} + BatchNorm2d"
    assert (
        "transposed"
        in optimized(nn.Sequential(conv).eval(), torch.randn(2, 4, 5, 6))[1].left[0].note
    )


def test_a_linear_layer_takes_the_normalization() -> None:
    model = trained(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.SiLU()))
    new, _ = optimized(model, torch.randn(5, 4))
    assert operations(new) == ["Linear", "SiLU"]
    # For three dimensions, the normalization is along another one.
    model = trained(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(3)))
    new, report = optimized(model, torch.randn(5, 3, 4))
    assert [type(layer) for layer in new] == [nn.Linear, nn.BatchNorm1d]
    assert not report.replaced


def padded(conv: nn.Module, pad: Any) -> nn.Module:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv
            self.pad = pad

        def forward(self, input: Tensor) -> Tensor:
            return self.conv(self.pad(input))  # type: ignore[no-any-return]

    return Padded().eval()


PADS: list[tuple[nn.Module, Any, Any]] = [
    (nn.Conv2d(3, 4, 3, 2), nn.ZeroPad2d((0, 1, 2, 3)), ((2, 3), (0, 1))),
    (nn.Conv2d(3, 4, 3, 2, 1), lambda x: F.pad(x, (0, 1, 2, 3)), ((3, 4), (1, 2))),
    (nn.Conv2d(3, 4, 3), lambda x: F.pad(x, (0, 1)), ((0, 0), (0, 1))),
    (nn.Conv1d(3, 4, 3), nn.ConstantPad1d((2, 0), 0.0), ((2, 0),)),
    (nn.Conv3d(3, 4, 3), nn.ConstantPad3d((2, 0, 1, 1, 0, 3), 0.0), ((0, 3), (1, 1), (2, 0))),
    (samepad.SamePadConv2d(3, 4, 3, padding="valid"), nn.ZeroPad2d(1), ((1, 1), (1, 1))),
    (samepad.SamePadConv2d(3, 4, 3, 2), nn.ZeroPad2d(1), None),
    (nn.Conv2d(3, 4, 3), nn.ConstantPad2d(1, 1.0), None),
    (nn.Conv2d(3, 4, 3), nn.ReflectionPad2d(1), None),
    (nn.Conv2d(3, 4, 3), nn.ZeroPad2d((-1, 1, 0, 0)), None),
    (nn.Conv2d(4, 4, 3), lambda x: F.pad(x, (0, 0, 0, 0, 0, 1)), None),
    (nn.Conv2d(3, 4, 3), lambda x: F.pad(x, (1, 1), value=2.0), None),
    (nn.Conv2d(3, 4, 3), lambda x: F.pad(x, (1, 1, 1, 1), "replicate"), None),
]


@pytest.mark.parametrize(("conv", "pad", "padding"), PADS)
def test_zeros_that_are_padded_before(conv: Any, pad: Any, padding: Any) -> None:
    input = torch.randn(2, 3, 9, 8, 7)[(..., *[0] * (3 - len(conv.kernel_size)))]
    new, _ = optimized(padded(conv, pad), input)
    (layer,) = fused(new)
    if padding:
        assert layer.padding == padding
        assert operations(new) == [type(layer).__name__]
    else:
        assert len(operations(new)) == 2


class Untraceable(nn.Module):
    """Has code that torch.fx can't follow, around parts that it can."""

    def __init__(self, iterates: bool = False, reads: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(
            samepad.SamePadConv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        )
        self.alone = samepad.SamePadConv2d(4, 4, 3)
        self.unused = nn.Conv2d(3, 3, 3)
        self.iterates, self.reads = iterates, reads

    def forward(self, input: Tensor) -> Tensor:
        if input.sum() > 1e9:
            return input
        x = input
        for layer in self.body if self.iterates else [self.body]:
            x = layer(x)
        x = self.alone(x)
        return x + (self.alone.bias.sum() + len(self.body) if self.reads else 0)


def test_code_that_can_not_be_traced() -> None:
    new, report = optimized(trained(Untraceable()), torch.randn(2, 3, 9, 8))
    assert ends(new) == [("relu", None), ("identity", None)]
    assert type(new) is Untraceable
    notes = {layer.name: layer.note for layer in report.left}
    assert "torch.fx can't follow its code" in notes[""]
    assert "is not called" in notes["unused"]
    assert {layer.name for layer in report.replaced} == {"body.0", "alone"}


def test_parts_that_the_model_looks_into() -> None:
    new, _ = optimized(trained(Untraceable(iterates=True)), torch.randn(2, 3, 9, 8))
    assert ends(new) == [("identity", None)] * 2
    # A graph has no length, so its part stays, and the layers in it are replaced.
    new, _ = optimized(trained(Untraceable(reads=True)), torch.randn(2, 3, 9, 8))
    assert len(new.body) == 3
    assert len(fused(new)) == 2


def test_a_module_with_hooks_stays_and_they_are_called() -> None:
    model = trained(nn.Sequential(nn.Sequential(Block(F.relu)), nn.Conv2d(8, 4, 1)))
    seen = []
    model[0].register_forward_hook(lambda *_: seen.append(1))
    new, report = optimized(model, torch.randn(2, 3, 9, 8))
    seen.clear()
    new(torch.randn(2, 3, 9, 8))
    assert seen == [1]
    assert [layer.name for layer in report.replaced] == ["1", "0.0.conv"]
    model.register_forward_hook(lambda *_: seen.append(2))
    new, report = optimized(model, torch.randn(2, 3, 9, 8))
    seen.clear()
    new(torch.randn(2, 3, 9, 8))
    assert seen == [1, 2]
    assert len(report.replaced) == 2


class Options(nn.Module):
    """Has arguments of several kinds and returns a structure."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = samepad.SamePadConv2d(3, 4, 3)

    def forward(
        self, input: Tensor, other: Tensor | None = None, *, scale: float = 2.0, deep: bool = False
    ) -> Any:
        x = self.conv(input).relu() * scale
        if other is not None:
            x = x + other
        return {"x": x, "all": [x.mean(), (x, 3)]} if not deep else x


def test_arguments_and_structures() -> None:
    model, input = Options().eval(), torch.randn(2, 3, 5, 6)
    new = samepad.optimize_for_inference(model, input)
    assert_equal(new(input), model(input))
    assert_equal(new(input=input), model(input))
    assert list(new(input)) == ["x", "all"]
    with pytest.raises((AssertionError, RuntimeError)):
        new(input, deep=True)
    new = samepad.optimize_for_inference(model, input, torch.ones(2, 4, 5, 6))
    assert_equal(new(input, torch.zeros(2, 4, 5, 6)), model(input))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_number_of_dimensions_and_type(dimensions: int, dtype: torch.dtype) -> None:
    conv: Any = (samepad.SamePadConv1d, samepad.SamePadConv2d, samepad.SamePadConv3d)
    norm: Any = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    pool: Any = (samepad.SamePadMaxPool1d, samepad.SamePadMaxPool2d, samepad.SamePadMaxPool3d)
    model = nn.Sequential(
        conv[dimensions - 1](3, 8, 3, 2), norm[dimensions - 1](8), nn.SiLU(),
        pool[dimensions - 1](2), conv[dimensions - 1](8, 8, 3, groups=8), nn.ReLU6(),
    )  # fmt: skip
    new, _ = optimized(
        trained(model).to(dtype),
        torch.randn(2, 3, *[11] * dimensions, dtype=dtype),
        others=(torch.randn(1, 3, *[6] * dimensions, dtype=dtype),),
    )
    assert ends(new) == [("silu", None), ("clamp", None)]


def test_half_precision() -> None:
    model, input = trained(Block(F.relu)).bfloat16(), torch.randn(2, 3, 9, 8).bfloat16()
    new = samepad.optimize_for_inference(model, input)
    assert ends(new) == [("relu", None)]
    with torch.no_grad():
        assert_equal(new(input), model(input), 0.05)


def test_an_image_without_a_batch_is_left() -> None:
    new, report = optimized(nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), torch.randn(3, 9, 8))
    assert not fused(new)
    assert report.left[0].note == "is called without a batch dimension"


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_outputs_lie_in_memory_as_before(layout: torch.memory_format) -> None:
    model = nn.Sequential(samepad.SamePadConv2d(3, 4, 3), nn.ReLU()).eval()
    input = torch.randn(2, 3, 5, 6).contiguous(memory_format=layout)
    for inner in (torch.contiguous_format, torch.channels_last, None):
        new, report = samepad.optimize_for_inference(
            model, input, memory_format=inner, return_report=True
        )
        assert new(input).stride() == model(input).stride()
        assert inner in (None, report.memory_format)
    assert set(report.seconds) == {"original", "contiguous", "channels_last"}


def test_a_graph_that_asks_for_strides_keeps_its_layout() -> None:
    model = Block(lambda x: x * x.stride(1)).eval()
    _, report = samepad.optimize_for_inference(model, torch.randn(2, 3, 9, 8), return_report=True)
    assert report.memory_format == torch.contiguous_format


def test_layers_of_several_layers_are_looked_into() -> None:
    separable = nn.Sequential(
        samepad.SamePadSeparableConv2d(4, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU()
    )
    new, _ = optimized(trained(separable), torch.randn(2, 4, 6, 7))
    assert ends(new) == [("identity", None), ("relu", None)]


def test_graphs_in_graphs_are_looked_into() -> None:
    inner = fx.symbolic_trace(nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)))
    graph = fx.Graph()
    input = graph.placeholder("images")
    value = graph.call_module("inner", (input,))
    graph.output(graph.call_function(torch.relu, (value,)))
    outer = fx.GraphModule(nn.ModuleDict({"inner": inner}), graph)
    new, report = optimized(trained(outer), torch.randn(2, 4, 6, 7))
    assert operations(new) == ["FusedConv2d"]
    assert report.layers[0].name.startswith("inner.")
    assert_equal(new(images=torch.ones(1, 4, 5, 5)), outer(torch.ones(1, 4, 5, 5)))


def random_model(seed: int) -> nn.Module:
    """Draw a net of convolutions, normalizations, activations and additions."""
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    activations: list[Any] = [
        F.relu, torch.sigmoid, lambda x: x * x.sigmoid(), F.mish, lambda x: x.clamp_(-1, 1),
        lambda x: F.hardswish(x, inplace=True), lambda x: x * 0.5, torch.relu_,
    ]  # fmt: skip

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList()
            self.steps: list[tuple[int, ...]] = []
            for _ in range(12):
                kind, which = draw(6), draw(8)
                self.steps.append((kind, which, draw(3), draw(3)))
                options: Any = {"groups": (1, 2, 4)[which % 3], "bias": bool(which % 2)}
                conv: Any = samepad.SamePadConv2d(4, 4, 1 + which % 3, 1, **options)
                if which > 4:
                    conv = nn.Conv2d(4, 4, 3, 1, 1, **options)
                self.layers.append((conv, conv, nn.BatchNorm2d(4), conv, conv, conv)[kind])

        def forward(self, input: Tensor) -> Any:
            values = [input, input * 2, input + 1]
            for layer, (kind, which, one, other) in zip(self.layers, self.steps, strict=True):
                if kind <= 2:
                    values[one] = layer(values[other])
                elif kind == 3:
                    values[one] = activations[which](
                        values[one] * 1.0 if which in (4, 5, 7) else values[other]
                    )
                elif kind == 4:
                    values[one] = values[one] + values[other]
                else:
                    values[one] = activations[which](layer(values[one]))
            return values

    return trained(Net())


@pytest.mark.parametrize("seed", range(40))
def test_random_models(seed: int) -> None:
    optimized(random_model(seed), torch.randn(2, 4, 6, 7), others=(torch.randn(1, 4, 3, 9),))


@pytest.mark.parametrize("name", MODELS)
def test_published_models(name: str) -> None:
    model = MODELS[name]().eval()
    input = torch.randn(2, 3, 64, 64)
    double, report = samepad.optimize_for_inference(
        copy.deepcopy(model).double(), input.double(), return_report=True
    )
    with torch.no_grad():  # in float32, differences may be those of the order of sums
        assert_equal(double(input.double()), model.double()(input.double()), 1e-9)
    assert not report.left
    allowed = {"FusedConv2d", "mean", "mul_", "flatten", "reshape", "size", "linear", "Linear"}
    allowed |= {"AdaptiveAvgPool2d", "Flatten", "adaptive_avg_pool2d"}
    assert set(operations(double)) <= allowed


@pytest.fixture
def small() -> tuple[nn.Module, Tensor]:
    model = nn.Sequential(Block(F.silu), Gate8(), nn.Flatten(), nn.LazyLinear(5))
    input = torch.randn(2, 3, 12, 12)
    model(input)
    return samepad.optimize_for_inference(
        trained(model), input, memory_format=torch.channels_last
    ), input


class Gate8(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, input: Tensor) -> Tensor:
        return input * self.conv(input.mean((2, 3), keepdim=True)).sigmoid()


def test_is_pickled_and_saved(small: tuple[nn.Module, Tensor]) -> None:
    model, input = small
    expected = model(input)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for new in (
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        torch.load(file, weights_only=False),
    ):
        assert torch.equal(new(input), expected)
        assert [layer.packed is None for layer in fused(new)] == [False, False]
        new.load_state_dict(model.state_dict())
        assert torch.equal(new(input), expected)


def test_is_not_for_training(small: tuple[nn.Module, Tensor]) -> None:
    model, input = small
    with pytest.raises(RuntimeError, match="is for inference"):
        model.train()
    with pytest.raises(RuntimeError, match="gradient"):
        model(input.requires_grad_())


@pytest.mark.parametrize("strict", [True, False])
def test_exports(small: tuple[nn.Module, Tensor], strict: bool) -> None:
    model, input = small
    with torch.no_grad():
        batch = torch.export.Dim("batch", min=1, max=64)
        program = torch.export.export(model, (input,), dynamic_shapes=({0: batch},), strict=strict)
        assert_equal(program.module()(input[:1]), model(input[:1]))
    targets = [node.target for node in program.graph.nodes]
    assert torch.ops.samepad.fused_conv.default in targets


def test_compiles_as_a_whole(small: tuple[nn.Module, Tensor]) -> None:
    model, input = small
    with torch.no_grad():
        assert_equal(torch.compile(model, fullgraph=True)(input), model(input))


def test_aot_inductor(small: tuple[nn.Module, Tensor], tmp_path: Path) -> None:
    model, input = small
    with torch.no_grad():
        program = torch.export.export(model, (input,))
        path = torch._inductor.aoti_compile_and_package(
            program, package_path=str(tmp_path / "model.pt2")
        )
        assert_equal(torch._inductor.aoti_load_package(path)(input), model(input))


def test_threads(small: tuple[nn.Module, Tensor]) -> None:
    model, input = small
    expected = model(input)
    found: list[Tensor] = []

    def run() -> None:
        with torch.no_grad():
            found.extend(model(input) for _ in range(20))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    assert all(torch.equal(each, expected) for each in found)


def test_fork(small: tuple[nn.Module, Tensor]) -> None:
    model, input = small
    expected = model(input)
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if torch.equal(model(input), expected) else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_onnx_models() -> None:
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper
    from samepad.onnx import load

    weights = {"w": torch.randn(4, 3, 3, 3), "v": torch.randn(4, 4, 1, 1), "b": torch.randn(4)}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["a"], auto_pad="SAME_UPPER", strides=[2, 2]),
            helper.make_node("HardSigmoid", ["a"], ["h"], alpha=1 / 6, beta=0.5),
            helper.make_node("Mul", ["a", "h"], ["c"]),
            helper.make_node("Conv", ["c", "v", "b"], ["d"]),
            helper.make_node("Add", ["d", "c"], ["e"]),
            helper.make_node("Relu", ["e"], ["y"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3, 9, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(tensor.numpy(), name) for name, tensor in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    module = load(model).eval()
    new, _ = optimized(module, torch.randn(2, 3, 9, 8))
    assert ends(new) == [("hardswish", None), ("relu", "before")]
    assert new.meta == module.meta


def test_keras_models() -> None:
    import keras
    from samepad.keras import to_torch

    layers = keras.layers
    input = keras.Input((16, 15, 3))
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(input)
    x = layers.BatchNormalization()(x)
    x = shortcut = layers.Activation("hard_silu")(x)
    x = layers.ZeroPadding2D(((1, 0), (0, 1)))(x)
    x = layers.DepthwiseConv2D(3, padding="valid")(x)
    x = layers.ReLU(6.0)(x)
    x = layers.SeparableConv2D(8, 3, padding="same", activation="leaky_relu")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(8, 1, activation="sigmoid")(gate)
    x = layers.Multiply()([x, gate])
    x = layers.Add()([x, layers.Conv2D(8, (2, 2))(shortcut)])
    output = layers.Conv2DTranspose(4, 3, 2, padding="same")(x)
    model = keras.Model(input, [output, layers.Dense(3)(layers.Flatten()(x))])
    for input_layout, shape in (("torch", (2, 3, 16, 15)), ("keras", (2, 16, 15, 3))):
        module = trained(to_torch(model, input_layout))
        new, _ = optimized(module, torch.randn(shape))
        found = [activation for activation, _ in ends(new)]
        assert sorted(found) == sorted(
            ["hardswish", "clamp", "identity", "leaky_relu", "sigmoid", "identity"]
        )
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in new.modules())
        assert "mul_" in operations(new)
        assert new.meta == module.meta


def test_says_what_was_done() -> None:
    model = trained(nn.Sequential(Block(F.relu), nn.BatchNorm2d(8)))
    _, report = samepad.optimize_for_inference(model, torch.randn(2, 3, 9, 8), return_report=True)
    lines = str(report).splitlines()
    assert lines[0] == "1 layers replaced, 1 left"
    assert lines[1].split() == [
        "replaced", "0.conv", "SamePadConv2d", "+", "BatchNorm2d", "+", "relu", "->", "FusedConv2d",
    ]  # fmt: skip
    assert "follows no layer that it could be folded into" in lines[2]
    assert "memory format: " in lines[3]
    assert "original" in lines[4]
    assert "largest difference" in lines[5]


class Wrong(nn.Module):
    def forward(self, input: Tensor) -> Tensor:
        raise KeyError("broken")


def in_training() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    model[1].train()
    return model


EVAL = nn.Sequential(nn.Conv2d(3, 4, 3)).eval()
INPUT = torch.ones(1, 3, 5, 5)
BAD: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: samepad.optimize_for_inference(3, INPUT), TypeError, "model must be a torch.nn.Mod"),  # type: ignore[call-overload]
    (lambda: samepad.optimize_for_inference(EVAL), TypeError, "needs example inputs"),
    (lambda: samepad.optimize_for_inference(in_training(), INPUT), ValueError, "'1' is in trainin"),
    (lambda: samepad.optimize_for_inference(nn.ReLU(), INPUT), ValueError, "'the model' is in tra"),
    (
        lambda: samepad.optimize_for_inference(EVAL, INPUT[:, :2]),
        ValueError,
        r"the model can't run on the example inputs \(float32 \(1, 2, 5, 5\)\): .*channels",
    ),
    (
        lambda: samepad.optimize_for_inference(EVAL, INPUT.double()),
        ValueError,
        r"\(float64 \(1, 3, 5, 5\)\)",
    ),
    (lambda: samepad.optimize_for_inference(EVAL, "x"), ValueError, r"\('x'\)"),
    (lambda: samepad.optimize_for_inference(Wrong().eval(), INPUT), ValueError, "broken"),
    (
        lambda: samepad.optimize_for_inference(EVAL, INPUT, memory_format="NHWC"),  # type: ignore[call-overload]
        ValueError,
        "memory_format must be None or one of torch.contiguous_format, .* but got 'NHWC'",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_arguments(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
