"""The modules: nn.Conv1d, 2d and 3d but for the padding."""

import copy
import io
import pickle
from typing import Any

import pytest
import samepad
import torch
from torch import nn

PAIRS: list[tuple[type[Any], type[Any], tuple[int, ...]]] = [
    (samepad.SamePadConv1d, nn.Conv1d, (11,)),
    (samepad.SamePadConv2d, nn.Conv2d, (11, 8)),
    (samepad.SamePadConv3d, nn.Conv3d, (5, 8, 7)),
]
by_dimension = pytest.mark.parametrize(("ours", "theirs", "size"), PAIRS, ids=["1d", "2d", "3d"])


@by_dimension
def test_is_a_torch_convolution(ours: Any, theirs: Any, size: tuple[int, ...]) -> None:
    layer = ours(4, 6, 3, stride=2)
    assert isinstance(layer, theirs)
    assert layer.padding == "same"
    output = layer(torch.randn(2, 4, *size))
    assert output.shape == (2, 6, *[-(-n // 2) for n in size])


@by_dimension
def test_draws_the_same_parameters(ours: Any, theirs: Any, size: tuple[int, ...]) -> None:
    torch.manual_seed(5)
    mine = ours(4, 6, 3).state_dict()
    torch.manual_seed(5)
    expected = theirs(4, 6, 3).state_dict()
    assert list(mine) == list(expected)
    for name, value in expected.items():
        assert torch.equal(mine[name], value)


@by_dimension
def test_state_dict_goes_both_ways(ours: Any, theirs: Any, size: tuple[int, ...]) -> None:
    mine, other = ours(4, 6, 3), theirs(4, 6, 3, padding=1)
    mine.load_state_dict(other.state_dict())
    input = torch.randn(2, 4, *size)
    assert torch.equal(mine(input), other(input))
    with torch.no_grad():
        mine.weight.mul_(2)
    other.load_state_dict(mine.state_dict())
    assert torch.equal(mine(input), other(input))


@by_dimension
def test_positional_arguments_are_torchs(ours: Any, theirs: Any, size: tuple[int, ...]) -> None:
    arguments = (4, 6, 3, 2, 1, 1, 2, False, "circular", "cpu", torch.float64)
    mine, other = ours(*arguments), theirs(*arguments)
    mine.load_state_dict(other.state_dict())
    input = torch.randn(2, 4, *size, dtype=torch.float64)
    assert torch.equal(mine(input), other(input))


@pytest.mark.parametrize(
    ("padding", "kept", "shown"),
    [
        ("same", "same", "padding=same"),
        ("same_lower", "same_lower", "padding=same_lower"),
        ("valid", "valid", "padding=valid"),
        (1, (1, 1), "padding=(1, 1)"),
        ((1, 2), (1, 2), "padding=(1, 2)"),
        ([[0, 1], [2, 3]], ((0, 1), (2, 3)), "padding=((0, 1), (2, 3))"),
    ],
)
def test_padding_reads_back_and_shows(padding: Any, kept: Any, shown: str) -> None:
    layer = samepad.SamePadConv2d(3, 8, 3, stride=2, padding=padding)
    assert layer.padding == kept
    assert repr(layer) == f"SamePadConv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), {shown})"


def test_a_plain_conv_rebuilt_from_its_attributes_fails_loudly() -> None:
    """Tools rebuild layers from these; computing something else would be worse than failing."""
    for padding in ("same", "same_lower", ((0, 1), (0, 1))):
        layer = samepad.SamePadConv2d(3, 8, 3, stride=2, padding=padding)
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            nn.Conv2d(
                layer.in_channels,
                layer.out_channels,
                layer.kernel_size,
                layer.stride,
                layer.padding,
            )(torch.randn(1, 3, 8, 8))


def test_padding_set_later_takes_effect() -> None:
    layer = samepad.SamePadConv2d(3, 8, 3, stride=2)
    input = torch.randn(1, 3, 8, 8)
    layer.padding = ((1, 0), (1, 0))
    lower = samepad.functional.conv2d(input, layer.weight, layer.bias, 2, "same_lower")
    assert torch.equal(layer(input), lower)


@by_dimension
def test_copies_and_pickles(ours: Any, theirs: Any, size: tuple[int, ...]) -> None:
    layer = ours(4, 6, 3, stride=2, padding="same_lower")
    input = torch.randn(2, 4, *size)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for twin in (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(file, weights_only=False),
    ):
        assert twin.weight is not layer.weight
        assert repr(twin) == repr(layer)
        assert torch.equal(twin(input), layer(input))


def test_loads_state_dicts_with_weights_only() -> None:
    layer = samepad.SamePadConv2d(3, 8, 3)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    samepad.SamePadConv2d(3, 8, 3).load_state_dict(torch.load(file, weights_only=True))


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (1, 30)])
def test_one_layer_serves_every_size(size: tuple[int, int]) -> None:
    layer = samepad.SamePadConv2d(3, 8, 3, stride=2)
    assert not [name for name, _ in layer.named_buffers()]
    assert layer(torch.zeros(1, 3, *size)).shape[2:] == (-(-size[0] // 2), -(-size[1] // 2))


def test_causal_sees_nothing_later() -> None:
    layer = samepad.SamePadConv1d(1, 1, 3, padding="causal", dilation=2)
    input = torch.randn(1, 1, 20)
    changed = input.clone()
    changed[..., 10:] += 1
    before, after = layer(input), layer(changed)
    assert torch.equal(before[..., :10], after[..., :10])
    assert not torch.equal(before[..., 10:], after[..., 10:])
