"""Tests which layers samepad.convert replaces and leaves, and that nothing else changes."""

import copy
import sys
from collections import OrderedDict
from typing import Any

import efficientnet_lite_pytorch
import efficientnet_lite_pytorch.utils
import efficientnet_pytorch
import efficientnet_pytorch.utils
import pytest
import samepad
import torch
from peers import timm
from torch import Tensor, nn


class Net(nn.Module):
    """One layer of each kind that `convert` meets."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(3, 4, 3, padding="same")
        self.down = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 4, 2)
        self.head = nn.Sequential(nn.ReLU(), nn.Conv1d(4, 2, 3, padding="same", bias=False))

    def forward(self, input: Tensor) -> Tensor:
        features = self.up(self.down(self.same(input)))
        output: Tensor = self.head(features.flatten(2))
        return output


def names(layers: tuple[samepad.LayerReport, ...]) -> list[str]:
    return [layer.name for layer in layers]


def test_replaces_what_says_same_and_reports() -> None:
    model = Net()
    input = torch.randn(2, 3, 9, 8)
    expected = model(input)
    parameters = dict(model.named_parameters())
    converted, report = samepad.convert(model, return_report=True)
    assert converted is model
    assert names(report.replaced) == ["same", "head.1"]
    assert names(report.left) == ["down", "up"]
    assert isinstance(model.same, samepad.SamePadConv2d)
    assert isinstance(model.head[1], samepad.SamePadConv1d)
    assert model.head[1].bias is None
    for name, parameter in converted.named_parameters():
        assert parameter is parameters[name]
    torch.testing.assert_close(converted(input), expected)
    lines = str(report).splitlines()
    assert lines[0] == "2 layers replaced, 2 left"
    assert "same" in lines[1]
    assert "Conv2d -> SamePadConv2d" in lines[1]
    assert "padding=(1, 1) is not 'same'" in lines[2]
    assert "padding=(0, 0) is not 'same'" in lines[3]


def test_a_second_time_changes_nothing() -> None:
    model = samepad.convert(Net())
    layers = list(model.modules())
    _, report = samepad.convert(model, return_report=True)
    assert not report.replaced
    assert all(a is b for a, b in zip(layers, model.modules(), strict=True))


@pytest.mark.parametrize(
    "select", [["down"], lambda name, layer: layer.stride == (2, 2)], ids=["names", "predicate"]
)
def test_selected_layers_get_the_padding(select: Any) -> None:
    model = Net()
    samepad.convert(model, select, padding="same_lower")
    assert type(model.same) is nn.Conv2d
    assert isinstance(model.down, samepad.SamePadConv2d)
    assert model.down.padding == "same_lower"
    assert model.down.stride == (2, 2)


def test_a_convolution_alone_is_replaced_itself() -> None:
    layer = nn.Conv3d(2, 4, 3, padding="same", dilation=2, groups=2, padding_mode="circular")
    converted = samepad.convert(layer)
    assert isinstance(converted, samepad.SamePadConv3d)
    assert converted.weight is layer.weight
    input = torch.randn(1, 2, 7, 8, 9)
    torch.testing.assert_close(converted(input), layer(input))


def test_shared_layers_are_converted_once_and_stay_shared() -> None:
    layer = nn.Conv2d(3, 3, 3, padding="same")
    model = nn.Sequential(layer, nn.ReLU(), layer, nn.Sequential(layer))
    samepad.convert(model)
    assert isinstance(model[0], samepad.SamePadConv2d)
    assert model[0] is model[2]
    assert model[0] is model[3][0]


def test_mode_hooks_and_gradients_flags_move_along() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding="same")).eval()
    model[0].weight.requires_grad_(False)
    calls = []
    handle = model[0].register_forward_hook(lambda *_: calls.append(1))
    samepad.convert(model)
    assert not model[0].training
    assert not model[0].weight.requires_grad
    model(torch.randn(1, 3, 5, 5))
    assert calls == [1]
    handle.remove()
    model(torch.randn(1, 3, 5, 5))
    assert calls == [1]


def test_an_optimizer_made_before_trains_the_converted_model() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    samepad.convert(model)
    before = model[0].weight.detach().clone()
    model(torch.randn(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    assert not torch.equal(model[0].weight, before)


def test_what_users_added_to_a_layer_moves_along() -> None:
    layer = nn.Conv2d(3, 4, 3, padding="same")
    layer.tag = "stem"
    layer.extra = nn.Linear(2, 2)
    layer.register_buffer("scale", torch.ones(1))
    converted = samepad.convert(layer)
    assert converted.tag == "stem"
    assert converted.extra is layer.extra
    assert converted.scale is layer.scale


@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm. is deprecated:FutureWarning")
def test_weight_norm_by_hooks_goes_on_and_can_be_removed() -> None:
    layer = nn.utils.weight_norm(nn.Conv2d(3, 4, 3, padding="same"))
    input = torch.randn(1, 3, 5, 5)
    expected = layer(input)
    converted = samepad.convert(layer)
    torch.testing.assert_close(converted(input), expected)
    nn.utils.remove_weight_norm(converted)
    torch.testing.assert_close(converted(input), expected)


def test_samepads_own_layers_can_be_given_another_padding() -> None:
    model = nn.Sequential(samepad.SamePadConv2d(3, 4, 3, stride=2))
    weight = model[0].weight
    _, report = samepad.convert(model, ["0"], padding="same_lower", return_report=True)
    assert model[0].padding == "same_lower"
    assert model[0].weight is weight
    assert names(report.replaced) == ["0"]


def test_a_shared_layer_is_known_by_each_of_its_names() -> None:
    layer = nn.Conv2d(3, 3, 3, padding="same")
    model = nn.ModuleDict({"a": layer, "b": layer})
    samepad.convert(model, lambda name, _: name == "b")
    assert isinstance(model["a"], samepad.SamePadConv2d)
    assert model["a"] is model["b"]


def test_layers_changed_by_hand_are_left() -> None:
    by_hand = nn.Conv2d(3, 3, 3, padding="same")
    by_hand.forward = lambda input: input  # type: ignore[method-assign]
    hooked = nn.Conv2d(3, 3, 3, padding="same")
    hooked.register_load_state_dict_pre_hook(lambda *_: None)
    _, report = samepad.convert(nn.Sequential(by_hand, hooked), return_report=True)
    assert [layer.note for layer in report.left] == [
        "has a forward of its own",
        "has a load_state_dict hook that refers to it",
    ]


class Standardized(nn.Conv2d):
    """A convolution with a computation of its own."""

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight - self.weight.mean(), self.bias)


def test_layers_with_their_own_computation_are_left_with_the_reason() -> None:
    normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 3, padding="same"))
    model = nn.Sequential(
        Standardized(3, 3, 3, padding="same"), normed, nn.LazyConv2d(3, 3, padding="same")
    )
    _, report = samepad.convert(model, return_report=True)
    assert [layer.note for layer in report.left] == [
        "Standardized may compute more than nn.Conv2d: see samepad.register_conversion",
        "is parametrized: convert first, parametrize then",
        "is lazy: run the model once first",
    ]


@pytest.mark.parametrize(
    ("error", "message", "select"),
    [
        (ValueError, "'missing', but the model has no such layer", ["down", "missing"]),
        (ValueError, "'head.0', but ReLU is no convolution or pool", ["down", "head.0"]),
        (ValueError, "chooses 'own', but it can't be replaced", lambda *_: True),
        (TypeError, "not 'down'", "down"),
        (TypeError, "holds 3", ["down", 3]),
        (TypeError, "not 3", 3),
    ],
)
def test_a_wrong_choice_changes_nothing(error: Any, message: str, select: Any) -> None:
    model = Net()
    model.add_module("own", Standardized(3, 3, 3, padding="same"))
    before = list(model.named_modules())
    with pytest.raises(error, match=message):
        samepad.convert(model, select)
    assert list(model.named_modules()) == before


@pytest.mark.parametrize(
    ("error", "message", "padding"),
    [
        (ValueError, "Invalid padding string", "sane"),
        (RuntimeError, "expected padding to be a mode", (1, 2, 3)),
        (TypeError, "argument 'padding' must be", None),
        # "causal" fits only the model's 1-D layer, which comes last.
        (ValueError, "Invalid padding string 'causal'", "causal"),
    ],
)
def test_a_wrong_padding_changes_nothing(error: Any, message: str, padding: Any) -> None:
    model = Net()
    before = list(model.named_modules())
    with pytest.raises(error, match=message):
        samepad.convert(model, padding=padding)
    assert list(model.named_modules()) == before


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, not dict"):
        samepad.convert({})  # type: ignore[call-overload]


STATIC = "was padded for one input size, is now for every size"
PEERS = {
    "timm": (lambda: timm.layers.Conv2dSame(3, 4, 3, stride=2), ""),
    "efficientnet_pytorch dynamic": (
        lambda: efficientnet_pytorch.utils.Conv2dDynamicSamePadding(3, 4, 3, stride=2),
        "",
    ),
    "efficientnet_pytorch static": (
        lambda: efficientnet_pytorch.utils.Conv2dStaticSamePadding(
            3, 4, 3, stride=2, image_size=(14, 15), dilation=2
        ),
        STATIC,
    ),
    "efficientnet_lite_pytorch dynamic": (
        lambda: efficientnet_lite_pytorch.utils.Conv2dDynamicSamePadding(3, 4, 5, stride=[2, 1]),
        "",
    ),
    "efficientnet_lite_pytorch static": (
        lambda: efficientnet_lite_pytorch.utils.Conv2dStaticSamePadding(
            3, 4, 3, stride=2, image_size=(14, 15), bias=False
        ),
        STATIC,
    ),
}


@pytest.mark.parametrize("peer", PEERS)
def test_peers_layers_are_replaced_and_answer_the_same(peer: str) -> None:
    make, note = PEERS[peer]
    theirs = make()
    ours, report = samepad.convert(theirs, return_report=True)
    assert isinstance(ours, samepad.SamePadConv2d)
    assert ours.padding == "same"
    assert report.replaced[0].note == note
    input = torch.randn(2, 3, 14, 15)
    torch.testing.assert_close(ours(input), theirs(input))


def peer(layer: str, **arguments: Any) -> nn.Module:
    package, name = layer.rsplit(".", 1)
    return getattr(sys.modules[package], name)(**arguments)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("layer", "arguments"),
    [
        ("timm.layers.pool2d_same.MaxPool2dSame", {}),
        ("timm.layers.pool2d_same.MaxPool2dSame", {"dilation": 2}),
        ("efficientnet_pytorch.utils.MaxPool2dDynamicSamePadding", {}),
        ("efficientnet_pytorch.utils.MaxPool2dStaticSamePadding", {"image_size": (8, 9)}),
    ],
)
def test_peers_max_pools_of_positive_input_give_what_they_gave(
    layer: str, arguments: dict[str, Any]
) -> None:
    old = peer(layer, kernel_size=3, stride=2, **arguments)
    input = torch.rand(2, 3, 8, 9)
    new = samepad.convert(copy.deepcopy(old))
    assert type(new) is samepad.SamePadMaxPool2d
    assert torch.equal(new(input), old(input))


def test_says_where_a_peers_pool_was_wrong() -> None:
    """The numbers are computed by hand: TensorFlow gives -1, -3 and 3.5."""
    window: dict[str, Any] = {"kernel_size": [1, 3], "stride": [1, 2]}
    zeros = peer("efficientnet_pytorch.utils.MaxPool2dDynamicSamePadding", **window)
    static = peer(
        "efficientnet_pytorch.utils.MaxPool2dStaticSamePadding", **window, image_size=(1, 4)
    )
    counted = peer("timm.layers.pool2d_same.AvgPool2dSame", **window)
    model = nn.ModuleList([zeros, static, counted])
    row = torch.tensor([[[[-1.0, -2, -3, -4]]]])
    assert zeros(row).tolist() == [[[[-1, 0]]]]
    assert counted(-row)[0, 0, 0, 1].item() == pytest.approx(7 / 3)
    model, report = samepad.convert(model, return_report=True)
    assert model[0](row).tolist() == [[[[-1, -3]]]]
    assert model[2](-row).tolist() == [[[[2, 3.5]]]]
    assert names(report.differing) == ["0", "1", "2"]
    assert "padded with 0 rather than -inf" in report.layers[0].note
    assert "for one input size" in report.layers[1].note
    assert "counted its padding" in report.layers[2].note
    assert "3 of the new ones differ" in str(report)


def test_chosen_pools_and_transposed_convolutions_become_same() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, padding=1),
        nn.MaxPool2d(3, 2, padding=1, return_indices=False),
        nn.AvgPool2d(3, 2, padding=1),
        nn.ConvTranspose2d(4, 3, 3, 2, padding=1, output_padding=1),
        nn.MaxPool1d(2),
    )
    parameters = dict(model.named_parameters())
    samepad.convert(model, ["1", "2", "3"], padding="same")
    assert [type(layer).__name__ for layer in model] == [
        "Conv2d",
        "SamePadMaxPool2d",
        "SamePadAvgPool2d",
        "SamePadConvTranspose2d",
        "MaxPool1d",
    ]
    input = torch.randn(2, 4, 9, 8)
    weight, bias = model[3].weight, model[3].bias
    assert torch.equal(model[1](input), samepad.functional.max_pool2d(input, 3, 2))
    assert torch.equal(model[2](input), samepad.functional.avg_pool2d(input, 3, 2))
    expected = samepad.functional.conv_transpose2d(input, weight, bias, 2)
    assert torch.equal(model[3](input), expected)
    for name, parameter in model.named_parameters():
        assert parameter is parameters[name]


class Conv2dSamePadding(nn.Module):
    """A layer that many copy: it holds a convolution and pads in `forward`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, 0, dilation, groups, bias
        )

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for n, k, s, d in zip(
            x.shape[-2:], self.conv.kernel_size, self.conv.stride, self.conv.dilation, strict=True
        ):
            total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            pads = [total // 2, total - total // 2, *pads]
        return self.conv(nn.functional.pad(x, pads))  # type: ignore[no-any-return]


class InheritedSamePadding(nn.Conv2d):
    """The same layer, as a subclass of nn.Conv2d."""

    def forward(self, input: Tensor) -> Tensor:
        (left, right), (top, bottom) = (
            samepad.same_padding(n, k, s)[0]
            for n, k, s in zip(
                reversed(input.shape[-2:]),
                reversed(self.kernel_size),
                reversed(self.stride),
                strict=True,
            )
        )
        return super().forward(nn.functional.pad(input, (left, right, top, bottom)))


@pytest.fixture
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samepad.conversion.registry.REGISTERED", {})


@pytest.mark.usefixtures("_registry")
def test_registered_classes_are_converted() -> None:
    samepad.register_conversion(
        Conv2dSamePadding, lambda layer: samepad.convert(layer.conv, lambda *_: True)
    )
    samepad.register_conversion(InheritedSamePadding, note="was ours", differs=True)
    model = nn.Sequential(
        Conv2dSamePadding(3, 4, (3, 2), stride=2, groups=1, bias=False),
        InheritedSamePadding(4, 5, 3, stride=(2, 1)),
    )
    calls: list[nn.Module] = []
    handle = model[0].register_forward_hook(lambda module, *_: calls.append(module))
    weights = [model[0].conv.weight, model[1].weight]
    input = torch.randn(2, 3, 9, 8)
    expected = model.eval()(input)
    model, report = samepad.convert(model, return_report=True)
    assert [type(layer) for layer in model] == [samepad.SamePadConv2d] * 2
    assert next(layer.weight for layer in model) is weights[0]
    assert model[1].weight is weights[1]
    assert names(report.layers) == ["0", "1"]
    assert (report.layers[1].note, report.layers[1].differs) == ("was ours", True)
    assert not model[0].training
    calls.clear()
    torch.testing.assert_close(model(input), expected)
    assert calls == [model[0]]
    handle.remove()
    model(input)
    assert len(calls) == 1


@pytest.mark.usefixtures("_registry")
def test_a_conversion_may_keep_the_names_of_the_parameters() -> None:
    def replacement(layer: Conv2dSamePadding) -> nn.Module:
        conv = samepad.convert(layer.conv, lambda *_: True)
        return nn.Sequential(OrderedDict(conv=conv))

    samepad.register_conversion(Conv2dSamePadding, replacement)
    model: nn.Module = nn.Sequential(Conv2dSamePadding(3, 4, 3, stride=2))
    state = copy.deepcopy(model.state_dict())
    model = samepad.convert(model)
    assert isinstance(model[0].conv, samepad.SamePadConv2d)  # type: ignore[index, union-attr]
    model.load_state_dict(state)


@pytest.mark.usefixtures("_registry")
def test_hooks_of_both_layers_run() -> None:
    samepad.register_conversion(
        Conv2dSamePadding, lambda layer: samepad.convert(layer.conv, lambda *_: True)
    )
    model = nn.Sequential(Conv2dSamePadding(3, 4, 3))
    calls: list[str] = []
    model[0].register_forward_hook(lambda *_: calls.append("outer"))
    model[0].conv.register_forward_hook(lambda *_: calls.append("inner"))
    samepad.convert(model)(torch.ones(1, 3, 5, 5))
    assert calls == ["outer", "inner"]


@pytest.mark.usefixtures("_registry")
def test_padding_on_top_of_a_registered_layers_own_is_an_obstacle() -> None:
    samepad.register_conversion(InheritedSamePadding)
    model = nn.Sequential(InheritedSamePadding(3, 4, 3))
    model[0].padding = (1, 1)
    _, report = samepad.convert(model, return_report=True)
    assert report.left[0].note == "pads by (1, 1) on top of its SAME padding"


def test_an_empty_selection_selects_nothing() -> None:
    _, report = samepad.convert(nn.Sequential(nn.Conv2d(1, 1, 3)), [], return_report=True)
    assert report.left[0].note == "was not selected"


@pytest.mark.usefixtures("_registry")
def test_a_registered_class_alone_is_meant() -> None:
    class Sub(InheritedSamePadding):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + 1

    samepad.register_conversion(InheritedSamePadding, differs=True)
    layer = Sub(3, 3, 3)
    assert samepad.convert(layer) is layer


@pytest.mark.usefixtures("_registry")
def test_registration_refuses_what_it_can_not_use() -> None:
    with pytest.raises(TypeError, match="must be a subclass of torch"):
        samepad.register_conversion(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="register it with a conversion"):
        samepad.register_conversion(Conv2dSamePadding)
    with pytest.raises(TypeError, match="must be a function of a layer, not 3"):
        samepad.register_conversion(Conv2dSamePadding, 3)  # type: ignore[arg-type]
    samepad.register_conversion(Conv2dSamePadding, lambda _: "no layer")  # type: ignore[return-value, arg-type]
    model = nn.Sequential(Conv2dSamePadding(3, 4, 3))
    with pytest.raises(TypeError, match="the conversion of Conv2dSamePadding must return"):
        samepad.convert(model)
    assert isinstance(model[0], Conv2dSamePadding)


def test_shared_layers_stay_shared() -> None:
    layer = nn.Conv2d(3, 3, 3, padding="same")
    model = nn.ModuleDict({"a": layer, "b": nn.Sequential(layer)})
    model, report = samepad.convert(model, return_report=True)
    assert isinstance(model["a"], samepad.SamePadConv2d)
    assert model["a"] is model["b"][0]
    assert len(report.replaced) == 1


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_converts_while_gradients_are_off(mode: Any) -> None:
    model = nn.Sequential(
        efficientnet_lite_pytorch.utils.Conv2dStaticSamePadding(
            4, 4, 3, stride=1, groups=4, image_size=8
        )
    )
    with mode():
        _, report = samepad.convert(model, return_report=True)
    assert [change.name for change in report.replaced] == ["0"]
