"""Tests samepad.resolve_static: plain torch.nn layers that compute the same for one size."""

import copy
from typing import Any

import pytest
import samepad
import torch
from samepad.modules.padded import Padded
from torch import Tensor, nn

SIZES = [(9, 8), (8, 11), (5, 7)]
PADDINGS = ["same", "same_lower", "valid", ("same_lower", "valid"), 1, ((0, 1), (1, 0))]


def layers(padding: Any) -> list[nn.Module]:
    return [
        samepad.SamePadConv2d(2, 4, 3, 2, padding),
        samepad.SamePadConv2d(2, 4, (2, 5), (1, 2), padding, dilation=(1, 1)),
        samepad.SamePadConv2d(2, 4, 3, 1, padding, dilation=2, groups=2, bias=False),
        samepad.SamePadConv2d(2, 4, 4, 2, padding, padding_mode="replicate"),
        samepad.SamePadConv2d(2, 4, 3, 1, padding, padding_mode="reflect"),
        samepad.SamePadConv2d(2, 4, 2, 3, padding, padding_mode="circular"),
        samepad.SamePadConvTranspose2d(2, 4, 3, 2, padding),
        samepad.SamePadConvTranspose2d(2, 4, (2, 4), (3, 2), padding),
        samepad.SamePadConvTranspose2d(2, 4, 2, 1, padding),
        samepad.SamePadMaxPool2d(3, 2, padding),
        samepad.SamePadMaxPool2d((2, 3), 1, padding),
        samepad.SamePadMaxPool2d(3, (1, 2), padding, dilation=2),
        samepad.SamePadAvgPool2d(3, 2, padding),
        samepad.SamePadAvgPool2d((2, 3), 1, padding),
        samepad.SamePadAvgPool2d(2, 2, padding, count_include_pad=True),
        samepad.SamePadAvgPool2d(3, 2, padding, divisor_override=5),
        samepad.SamePadSeparableConv2d(2, 4, 3, 2, padding),
    ]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("index", range(17))
def test_plain_layers_compute_what_the_same_layer_computes(
    index: int, padding: Any, size: tuple[int, int]
) -> None:
    layer = layers(padding)[index].double()
    input = torch.randn(2, 2, *size, dtype=torch.float64)
    try:
        resolved = samepad.resolve_static(layer, input)
    except ValueError as error:
        # The only case without a plain layer: an average that excludes one-sided padding.
        assert "out of its means" in str(error)  # noqa: PT017
        assert isinstance(layer, samepad.SamePadAvgPool2d)
        assert padding == ((0, 1), (1, 0))
        return
    assert not [each for each in resolved.modules() if isinstance(each, Padded)]
    plain = [each for each in resolved.modules() if not list(each.children())]
    assert all(type(each).__module__.startswith("torch.nn.modules.") for each in plain)
    torch.testing.assert_close(resolved(input), layer(input), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dimensions", [1, 3])
@pytest.mark.parametrize("padding", ["same", "same_lower"])
def test_in_one_and_three_dimensions(padding: str, dimensions: int) -> None:
    def cls(family: str) -> Any:
        return getattr(samepad, f"SamePad{family}{dimensions}d")

    model = nn.Sequential(
        cls("Conv")(2, 4, 3, 2, padding),
        cls("MaxPool")(3, 2, padding),
        cls("ConvTranspose")(4, 2, 3, 2, padding),
        cls("AvgPool")(2, 1, padding),
    )
    input = torch.randn(1, 2, *[12] * dimensions)
    resolved = samepad.resolve_static(model, input)
    torch.testing.assert_close(resolved(input), model(input))
    assert not [each for each in resolved.modules() if isinstance(each, Padded)]


def test_a_mode_per_dimension_in_three_dimensions() -> None:
    model = nn.Sequential(
        samepad.SamePadConv3d(2, 4, 3, 2, ("causal", "same", "same")),
        samepad.SamePadMaxPool3d(3, 2, ("valid", "same", "same_lower"), ceil_mode=True),
        samepad.SamePadConvTranspose3d(4, 2, 3, 2, ("same", "valid", "same_lower")),
    )
    input = torch.randn(1, 2, 15, 12, 11)
    resolved = samepad.resolve_static(model, input)
    torch.testing.assert_close(resolved(input), model(input))
    assert not [each for each in resolved.modules() if isinstance(each, Padded)]


def test_ceil_mode_of_valid_pools() -> None:
    for padding in ("valid", ("valid", "valid"), ("same", "valid")):
        for cls in (samepad.SamePadMaxPool2d, samepad.SamePadAvgPool2d):
            layer: nn.Module = cls(2, 2, padding, ceil_mode=True)
            input = torch.randn(1, 2, 7, 7)
            assert layer(input).shape == (1, 2, 4, 4)
            torch.testing.assert_close(samepad.resolve_static(layer, input)(input), layer(input))


def test_symmetric_pads_become_one_plain_layer() -> None:
    layer = samepad.SamePadConv2d(3, 8, 3, stride=2)
    resolved = samepad.resolve_static(layer, torch.randn(1, 3, 225, 225))
    assert type(resolved) is nn.Conv2d
    assert resolved.padding == (1, 1)
    pool = samepad.resolve_static(samepad.SamePadMaxPool2d(3, 2), torch.randn(1, 3, 8, 8))
    assert type(pool) is nn.MaxPool2d
    assert pool.ceil_mode


def test_the_model_itself_stays_as_it_was() -> None:
    model = nn.Sequential(samepad.SamePadConv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.Dropout())
    before = copy.deepcopy(model.state_dict())
    state = torch.random.get_rng_state()
    resolved = samepad.resolve_static(model, torch.randn(2, 3, 8, 8, generator=torch.Generator()))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert isinstance(model[0], samepad.SamePadConv2d)
    assert resolved.training
    # Running the copy, to see its sizes, must not have changed its statistics either.
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    for (_, value), (_, twin) in zip(model.named_buffers(), resolved.named_buffers(), strict=True):
        assert torch.equal(value, twin)


def test_hooks_and_attributes_come_along() -> None:
    layer = samepad.SamePadConv2d(3, 4, 3, 2)
    layer.tag = "stem"
    layer.register_forward_hook(lambda _, __, output: output * 0)
    resolved = samepad.resolve_static(layer, torch.randn(1, 3, 9, 9))
    assert resolved.tag == "stem"
    assert not resolved(torch.randn(1, 3, 9, 9)).any()


class Twice(nn.Module):
    """Calls one layer with inputs of two sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = samepad.SamePadConv2d(3, 3, 3, 2)

    def forward(self, input: Tensor, other: Tensor) -> Tensor:
        return self.conv(input).sum() + self.conv(other).sum()  # type: ignore[no-any-return]


def test_two_sizes_with_the_same_pads_are_fine() -> None:
    inputs = torch.randn(1, 3, 8, 9), torch.randn(1, 3, 10, 11)
    resolved = samepad.resolve_static(Twice(), *inputs)
    assert not isinstance(resolved.conv, samepad.SamePadConv2d)


def test_two_sizes_with_different_pads_are_refused_by_name() -> None:
    with pytest.raises(
        ValueError, match=r"'conv': it meets sizes \(8, 9\) to \(4, 5\) and \(9, 9\)"
    ):
        samepad.resolve_static(Twice(), torch.randn(1, 3, 8, 9), torch.randn(1, 3, 9, 9))


class UNet(nn.Module):
    """Calls a transposed convolution with an output_size."""

    def __init__(self) -> None:
        super().__init__()
        self.down = samepad.SamePadConv2d(3, 4, 3, 2)
        self.up = samepad.SamePadConvTranspose2d(4, 3, 3, 2)

    def forward(self, input: Tensor) -> Tensor:
        return self.up(self.down(input), output_size=input.shape[-2:])  # type: ignore[no-any-return]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_calls_with_an_output_size(size: tuple[int, int]) -> None:
    model = UNet()
    input = torch.randn(2, 3, *size)
    resolved = samepad.resolve_static(model, input)
    torch.testing.assert_close(resolved(input), model(input))


@pytest.mark.parametrize(
    ("layer", "size", "output_size"),
    [
        # Needs an output_padding above the stride, with which nn.ConvTranspose2d takes no size.
        (
            samepad.SamePadConvTranspose2d(3, 4, 2, 1, "same_lower", dilation=3),
            (17, 18),
            (17, 18),
        ),
        # Windows that would start in the padding after the input.
        (samepad.SamePadAvgPool2d(4, 4, ((0, 3), (1, 2)), ceil_mode=True), (2, 2), None),
        (samepad.SamePadMaxPool2d(4, 4, ((0, 3), (1, 2)), ceil_mode=True), (2, 2), None),
        (samepad.SamePadAvgPool2d(4, 3, ((0, 3), (1, 2)), divisor_override=3), (5, 6), None),
        (samepad.SamePadMaxPool2d((3,), 2), (8, 9), None),  # type: ignore[arg-type]
    ],
)
def test_corners(layer: nn.Module, size: tuple[int, int], output_size: Any) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, input: Tensor) -> Any:
            if output_size is None:
                return self.layer(input)
            return self.layer(output_size=output_size, input=input)

    model = Model().double()
    input = torch.randn(2, 3, *size, dtype=torch.float64)
    if isinstance(layer, samepad.SamePadAvgPool2d) and not layer.divisor_override:
        layer.count_include_pad = True
    torch.testing.assert_close(samepad.resolve_static(model, input)(input), model(input))


def test_integers_are_not_padded_for_a_maximum() -> None:
    layer, input = samepad.SamePadMaxPool2d(4, 1, dilation=2), torch.ones(1, 1, 9, 9).int()
    with pytest.raises(ValueError, match="no plain layer pads integers"):
        samepad.resolve_static(layer, input)


def test_a_forward_of_its_own_is_refused() -> None:
    layer = samepad.SamePadConv2d(1, 1, 3)
    layer.forward = lambda input: input  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="has a computation of its own"):
        samepad.resolve_static(layer, torch.ones(1, 1, 9, 9))


def test_indices_of_windows_that_a_plain_pool_has() -> None:
    layer = samepad.SamePadMaxPool2d(3, 2, return_indices=True)
    input = torch.randn(1, 2, 8, 9)
    for mine, expected in zip(
        samepad.resolve_static(layer, input)(input), layer(input), strict=True
    ):
        assert torch.equal(mine, expected)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, "needs example inputs", lambda: samepad.resolve_static(nn.Linear(1, 1))),
        (TypeError, "must be a torch.nn.Module, not str", lambda: samepad.resolve_static("a", 1)),
        (
            ValueError,
            "'\\(the model\\)': no plain pool has its windows",
            lambda: samepad.resolve_static(
                samepad.SamePadMaxPool2d(2, 1, return_indices=True), torch.ones(1, 1, 4, 4)
            ),
        ),
        (
            ValueError,
            "plain layers refuse an empty input",
            lambda: samepad.resolve_static(samepad.SamePadConv2d(1, 1, 3), torch.ones(1, 1, 0, 4)),
        ),
        (
            ValueError,
            "is parametrized",
            lambda: samepad.resolve_static(
                nn.utils.parametrizations.weight_norm(samepad.SamePadConv2d(1, 1, 3)),
                torch.ones(1, 1, 4, 4),
            ),
        ),
    ],
)
def test_refuses(error: type[Exception], message: str, call: Any) -> None:
    with pytest.raises(error, match=message):
        call()


class Scaled(samepad.SamePadConv2d):
    """A subclass that computes more than its base."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class Named(samepad.SamePadConv2d):
    """A subclass that computes the same as its base."""


def test_subclasses_that_compute_more_are_refused() -> None:
    input = torch.ones(1, 1, 4, 4)
    with pytest.raises(ValueError, match="this Scaled has a computation of its own"):
        samepad.resolve_static(Scaled(1, 1, 3), input)
    assert type(samepad.resolve_static(Named(1, 1, 3), input)) is nn.Conv2d
    assert type(samepad.resolve_static(samepad.nn.Conv2d(1, 1, 3), input)) is nn.Conv2d


def test_layers_that_are_not_reached_are_named() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main = samepad.SamePadConv2d(1, 1, 3)
            self.aside = samepad.SamePadConv2d(1, 1, 3)

        def forward(self, input: Tensor) -> Tensor:
            return self.main(input)  # type: ignore[no-any-return]

    model = Head()
    with pytest.warns(UserWarning, match="leaves 'aside' as it is"):
        resolved = samepad.resolve_static(model, torch.ones(1, 1, 4, 4))
    assert isinstance(resolved.aside, samepad.SamePadConv2d)


def test_shared_layers_stay_shared() -> None:
    layer = samepad.SamePadConv2d(3, 3, 3, stride=1)
    resolved = samepad.resolve_static(nn.Sequential(layer, layer), torch.randn(1, 3, 6, 6))
    assert resolved[0] is resolved[1]
