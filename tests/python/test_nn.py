"""Tests samepad.nn: torch.nn whose convolutions and pools take "same" at every stride."""

import abc
import copy
import inspect
import pickle
from typing import Any

import pytest
import samepad
import torch
from samepad import nn

FAMILIES = ["Conv", "ConvTranspose", "MaxPool", "AvgPool", "LazyConv", "LazyConvTranspose"]
CLASSES = [f"{family}{d}d" for family in FAMILIES for d in (1, 2, 3)]


def arguments(name: str) -> tuple[int, ...]:
    if "Pool" in name:
        return (3,)
    return (4, 3) if "Lazy" in name else (2, 4, 3)


def size(name: str) -> tuple[int, ...]:
    return (2, 2, *(9, 8, 7)[: int(name[-2])])


def test_every_other_name_is_torch_nns() -> None:
    ours = {name for name in dir(nn) if getattr(getattr(nn, name), "__module__", "") == nn.__name__}
    assert {name for name in ours if not name.startswith("_")} == set(CLASSES)
    for name in dir(torch.nn):
        if name not in CLASSES and not name.startswith("__"):
            assert getattr(nn, name) is getattr(torch.nn, name)
    with pytest.raises(AttributeError, match="Konv2d"):
        nn.Konv2d  # noqa: B018


def test_submodules_are_torch_nns() -> None:
    import samepad.nn.functional as F
    from samepad.nn.parameter import Parameter
    from samepad.nn.utils import parametrize

    assert F is torch.nn.functional
    assert Parameter is torch.nn.Parameter
    assert parametrize is torch.nn.utils.parametrize


def test_star_import_gives_what_torch_nns_gives() -> None:
    names: dict[str, Any] = {}
    exec("from samepad.nn import *", names)
    expected: dict[str, Any] = {}
    exec("from torch.nn import *", expected)
    assert names.keys() == expected.keys()
    assert names["Conv2d"] is nn.Conv2d
    assert names["Linear"] is torch.nn.Linear


def test_a_class_may_have_an_abstract_base_beside() -> None:
    class Base(abc.ABC):
        @abc.abstractmethod
        def name(self) -> str: ...

    class Own(nn.Conv2d, Base):
        def name(self) -> str:
            return "own"

    assert isinstance(Own(1, 1, 1), Base)


@pytest.mark.parametrize("name", CLASSES)
def test_signatures_are_torch_nns(name: str) -> None:
    assert inspect.signature(getattr(nn, name)) == inspect.signature(getattr(torch.nn, name))


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"stride": 2, "padding": 1}], ids=str)
def test_without_same_it_is_torch_nn_bit_for_bit(name: str, options: dict[str, Any]) -> None:
    layers = []
    outputs = []
    input = torch.randn(size(name))
    for module in (nn, torch.nn):
        torch.manual_seed(0)
        layer = getattr(module, name)(*arguments(name), **options)
        outputs.append(layer(input))
        layers.append(layer)
    assert torch.equal(*outputs)
    assert repr(layers[0]) == repr(layers[1])
    assert list(layers[0].state_dict()) == list(layers[1].state_dict())


@pytest.mark.parametrize("padding", ["same", "same_lower"])
@pytest.mark.parametrize("name", CLASSES)
def test_takes_same_at_every_stride(name: str, padding: str) -> None:
    layer = getattr(nn, name)(*arguments(name), stride=2, padding=padding)
    input = torch.randn(size(name))
    output = layer(input)
    transposed = "Transpose" in name
    assert output.shape[2:] == tuple(n * 2 if transposed else -(-n // 2) for n in input.shape[2:])
    plain = f"SamePad{name}".replace("SamePadLazy", "LazySamePad")
    twin = getattr(samepad, plain)(*arguments(name), stride=2, padding=padding)
    twin(input)
    twin.load_state_dict(layer.state_dict())
    assert torch.equal(output, twin(input))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(input), output)
    assert torch.equal(torch.jit.script(layer)(input), output)


def test_means_leave_sames_padding_out_unless_asked() -> None:
    input = torch.ones(1, 1, 4, 4)
    assert nn.AvgPool2d(3, 2, padding="same")(input).min() == 1
    assert nn.AvgPool2d(3, 2, padding="same", count_include_pad=True)(input).min() < 1
    assert nn.AvgPool2d(3, 2, padding=1)(input).min() < 1


@pytest.mark.parametrize("name", CLASSES)
def test_layers_of_torch_nn_count_as_instances(name: str) -> None:
    """A script that initialises layers by class must not miss layers of other packages."""
    ours, theirs = getattr(nn, name), getattr(torch.nn, name)
    assert isinstance(theirs(*arguments(name)), ours)
    if not name.startswith("Lazy"):
        assert isinstance(ours(*arguments(name)), theirs)
    assert issubclass(theirs, ours)
    assert not isinstance(nn.Linear(1, 1), ours)

    class Own(ours):  # type: ignore[misc, valid-type]
        pass

    assert isinstance(Own(*arguments(name)), ours)
    assert not isinstance(theirs(*arguments(name)), Own)
    assert not isinstance(ours(*arguments(name)), Own)


def test_lazy_layers_become_what_they_stand_for() -> None:
    layer = nn.LazyConv2d(4, 3, stride=2, padding="same")
    layer(torch.randn(1, 3, 8, 8))
    assert type(layer) is nn.Conv2d
    assert repr(layer) == "Conv2d(3, 4, kernel_size=(3, 3), stride=(2, 2), padding=same)"


def test_wrong_arguments_are_refused_as_torch_nn_refuses_them() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'kernel_size'"):
        nn.Conv2d(3, 4)
    with pytest.raises(TypeError, match="unexpected keyword argument 'pad'"):
        nn.Conv2d(3, 4, 3, pad="same")
    with pytest.raises(ValueError, match="Invalid padding string 'sane'"):
        nn.MaxPool2d(3, padding="sane")
