"""PyTorch's own samples: the arguments that its tests call its functions and layers with.

They are in torch.testing._internal, which imports expecttest. What samepad makes of each is
compared with what PyTorch does.
"""

import copy
import inspect
import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import hypothesis
import pytest
import samepad
import torch
from torch import Tensor, nn

_profile = hypothesis.settings.get_current_profile_name()
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db  # noqa: E402

hypothesis.settings.load_profile(_profile)  # importing these loads PyTorch's

FAMILIES = ("conv", "conv_transpose", "max_pool", "avg_pool")
FUNCTIONS = [f"{family}{dimensions}d" for family in FAMILIES for dimensions in (1, 2, 3)]
OPS = {op.name.removeprefix("nn.functional."): op for op in op_db}
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.complex64, torch.int64)
#: The fewest samples of a function for a type that there are in PyTorch 2.13.
LEAST = {"conv": 10, "conv_transpose": 10, "max_pool": 500, "avg_pool": 7}


class Sub(Tensor):
    """Calls with one go through the operator, as compiled ones do, and not through the binding."""


def dimensions_of(name: str) -> int:
    return int(name[-2])


def named(function: Callable[..., Any], args: Sequence[Any], kwargs: Any) -> dict[str, Any]:
    """Arguments by the names that `function` has for them, `padding` as PyTorch defaults it."""
    return {"padding": 0, **inspect.signature(function).bind(*args, **kwargs).arguments}


def paired(padding: Any, dimensions: int) -> Any:
    """Amounts for both sides as (before, after) pairs."""
    if isinstance(padding, str):
        return padding
    amounts = list(padding) if isinstance(padding, tuple) else [padding]
    return [(amount, amount) for amount in amounts * (dimensions // len(amounts))]


def results(value: Any) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


#: Strides and dilations of the samples that samepad computes in another way than PyTorch, which is
#: right about them but not about all of their kind (docs/pytorch-convolution-faults.md): one output
#: where there is a stride, and parts of the kernel that see padding alone.
COMPUTED_ELSEWHERE = [((3, 2), (4, 4)), (2, (2, 3, 2)), ((2, 2, 2), 1)]


def is_exact(padding: Any, stride: Any = 1, dilation: Any = 1) -> bool:
    """Whether the result is PyTorch's, bit for bit: "same" may take kernels of samepad's own."""
    return bool(padding != "same") and (stride, dilation) not in COMPUTED_ELSEWHERE


def assert_identical(ours: Any, theirs: Any, exact: bool = True) -> None:
    """Laid out alike and, if `exact`, bit for bit (any nan is any other)."""
    for mine, expected in zip(results(ours), results(theirs), strict=True):
        tolerance = {"rtol": 0.0, "atol": 0.0} if exact else {}
        if not exact and mine.dtype in (torch.bfloat16, torch.float16):
            # Rounded once here and after each of several parts there.
            scale = max(expected.abs().max().item(), 1)
            tolerance = {"rtol": 0.016, "atol": scale * torch.finfo(mine.dtype).eps}
        elif not exact and mine.dim() == 5 and mine.dtype == torch.float32:
            # Sums of hundreds of products in another order, of which the results cancel in part.
            scale = max(expected.abs().max().item(), 1)
            tolerance = {
                "rtol": 1.3e-6,
                "atol": max(1e-5, 16 * scale * torch.finfo(mine.dtype).eps),
            }
        torch.testing.assert_close(mine, expected, equal_nan=True, **tolerance)
        assert mine.stride() == expected.stride()


def gradients(output: Any, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    values = results(output)[0]
    cotangent = torch.linspace(-1, 1, values.numel()).reshape(values.shape).to(values.dtype)
    return torch.autograd.grad(values, inputs, cotangent)


def samples(name: str, dtype: torch.dtype, requires_grad: bool = False) -> Iterator[Any]:
    return iter(OPS[name].sample_inputs("cpu", dtype, requires_grad=requires_grad))


def supported(name: str, dtype: torch.dtype) -> bool:
    # samepad's convolutions take no integers.
    return dtype in OPS[name].dtypes and not (dtype == torch.int64 and "conv" in name)


CALLS = [
    *[("given", name, dtype) for name in FUNCTIONS for dtype in DTYPES if supported(name, dtype)],
    *[(form, name, torch.float32) for form in ("pairs", "traced") for name in FUNCTIONS],
]


@pytest.mark.parametrize(("form", "name", "dtype"), CALLS, ids=str)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_samples_of_functions(form: str, name: str, dtype: torch.dtype) -> None:
    """With amounts as given and as equal pairs, through the binding and through the operator."""
    ours = getattr(samepad.functional, name)
    differentiable = dtype.is_floating_point or dtype.is_complex
    count = 0
    for sample in samples(name, dtype, differentiable):
        count += 1
        theirs = OPS[name].op(sample.input, *sample.args, **sample.kwargs)
        arguments = named(ours, (sample.input, *sample.args), sample.kwargs)
        inputs = [each for each in arguments.values() if isinstance(each, Tensor)]
        exact = is_exact(*(arguments.get(key, 1) for key in ("padding", "stride", "dilation")))
        if form == "pairs":
            arguments["padding"] = paired(arguments["padding"], dimensions_of(name))
        if form == "traced":
            arguments["input"] = sample.input.as_subclass(Sub)
        output = ours(**arguments)
        assert_identical(output, theirs, exact)
        if differentiable:
            assert_identical(gradients(output, inputs), gradients(theirs, inputs), exact)
    assert count >= LEAST[name[:-2]]


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if "conv" in name])
def test_convolutions_refuse_samples_of_integers(name: str) -> None:
    """PyTorch's happen to work on CPU, nowhere else."""
    for sample in samples(name, torch.int64):
        arguments = named(getattr(samepad.functional, name), (sample.input, *sample.args), {})
        with pytest.raises(RuntimeError, match="floating point or complex type, but got Long"):
            getattr(samepad.functional, name)(**arguments)


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if OPS[name].error_inputs_func])
def test_error_inputs_of_functions(name: str, traced: bool) -> None:
    ours = getattr(samepad.functional, name)
    errors = list(OPS[name].error_inputs("cpu"))
    assert errors
    for error in errors:
        sample = error.sample_input
        arguments = named(ours, (sample.input, *sample.args), sample.kwargs)
        if traced:
            arguments["input"] = sample.input.as_subclass(Sub)
        if error.error_regex == "padding='same' is not supported for strided convolutions":
            assert ours(**arguments).shape[2:] == (5, 1, 5)  # this one samepad is there for
            continue
        with pytest.raises(error.error_type) as raised:
            ours(**arguments)
        assert raised.type is error.error_type


def twin_of(cls: type[nn.Module]) -> Any:
    """samepad's layer that stands in for torch.nn's, if any."""
    name = cls.__name__
    lazy = "Lazy" if name.startswith("Lazy") else ""
    return getattr(samepad, f"{lazy}SamePad{name.removeprefix('Lazy')}", None)


INFOS = [info for info in module_db if twin_of(info.module_cls)]
by_info = pytest.mark.parametrize("info", INFOS, ids=[info.name for info in INFOS])


class Twins(NamedTuple):
    """A layer of samepad's, the one of torch.nn's with its parameters, and a call's arguments."""

    ours: Any
    theirs: Any
    input: Tensor
    reference: Callable[..., Tensor] | None


def twins(
    info: Any, dtype: torch.dtype = torch.float64, requires_grad: bool = False
) -> list[Twins]:
    """The layers of every sample, lazy ones after their first input."""
    inputs = info.module_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=requires_grad, training=True
    )
    assert inputs
    result = []
    for each in inputs:
        args, kwargs = each.constructor_input.args, each.constructor_input.kwargs
        cls = twin_of(info.module_cls)
        ours = cls(**named(cls, args, kwargs)).to(dtype)
        theirs = info.module_cls(*args, **kwargs).to(dtype)
        (input,) = each.forward_input.args
        assert not each.forward_input.kwargs
        with torch.no_grad():
            ours(input)
            theirs(input)
        ours.load_state_dict(theirs.state_dict())
        result.append(Twins(ours, theirs, input, each.reference_fn))
    return result


def test_all_layers_have_samples() -> None:
    layers = [f"{name}{d}d" for name in ("Conv", "ConvTranspose") for d in (1, 2, 3)]
    pools = [f"{name}{d}d" for name in ("MaxPool", "AvgPool") for d in (1, 2, 3)]
    lazy = [f"Lazy{name}" for name in layers]
    assert {info.module_cls.__name__ for info in INFOS} == {*layers, *pools, *lazy}


@pytest.mark.parametrize(
    ("info", "dtype"),
    [(info, dtype) for info in INFOS for dtype in DTYPES if dtype in info.dtypes],
    ids=lambda value: getattr(value, "name", str(value)),
)
@pytest.mark.filterwarnings("ignore:Complex modules are a new feature:UserWarning")
def test_samples_of_layers(info: Any, dtype: torch.dtype) -> None:
    for ours, theirs, input, reference in twins(info, dtype):
        assert_identical(ours(input), theirs(input), is_exact(ours.padding))
        if reference:
            torch.testing.assert_close(ours(input), reference(ours, input))


@by_info
def test_gradients_of_layers(info: Any) -> None:
    """PyTorch's gradients; first and second order against finite differences."""
    for ours, theirs, input, _ in twins(info, requires_grad=True):
        mine = gradients(ours(input), (input, *ours.parameters()))
        expected = gradients(theirs(input), (input, *theirs.parameters()))
        assert_identical(mine, expected, is_exact(ours.padding))

        def function(input: Tensor, *_: Tensor, layer: Any = ours) -> Tensor:
            return results(layer(input))[0]

        arguments = (input, *ours.parameters())
        assert torch.autograd.gradcheck(function, arguments, fast_mode=True)
        assert torch.autograd.gradgradcheck(function, arguments, fast_mode=True)


@by_info
def test_layers_show_as_torchs(info: Any) -> None:
    for ours, theirs, *_ in twins(info):
        assert repr(ours) == repr(theirs).replace(type(theirs).__name__, type(ours).__name__)
        assert ours.state_dict().keys() == theirs.state_dict().keys()


@by_info
def test_layers_are_saved_and_copied(info: Any) -> None:
    for ours, _, input, _ in twins(info):
        file = io.BytesIO()
        torch.save(ours, file)
        file.seek(0)
        for copied in (
            copy.deepcopy(ours),
            pickle.loads(pickle.dumps(ours)),
            torch.load(file, weights_only=False),
        ):
            assert type(copied) is type(ours)
            assert copied.__dict__.keys() == ours.__dict__.keys()
            assert_identical(copied(input), ours(input))


@by_info
def test_training_and_evaluation_are_the_same(info: Any) -> None:
    assert not info.train_and_eval_differ
    for ours, _, input, _ in twins(info):
        training = ours.train()(input)
        assert_identical(ours.eval()(input), training)
        assert not ours.training


@pytest.mark.parametrize("device", ["cpu", "meta"])
@by_info
def test_factory_arguments_reach_every_parameter(info: Any, device: str) -> None:
    cls = twin_of(info.module_cls)
    if "Pool" in info.name:
        assert "device" not in inspect.signature(cls).parameters
        return
    for each in info.module_inputs_func(
        info, device="cpu", dtype=torch.float64, requires_grad=False, training=True
    ):
        arguments = named(cls, each.constructor_input.args, each.constructor_input.kwargs)
        layer = cls(**arguments, device=device, dtype=torch.float64)
        assert len(list(layer.parameters())) == 2
        for parameter in layer.parameters():
            assert (parameter.device.type, parameter.dtype) == (device, torch.float64)


@by_info
def test_layers_move_between_devices_and_types(info: Any) -> None:
    for ours, theirs, input, _ in twins(info):
        moved = copy.deepcopy(ours).to("meta")
        outputs = zip(results(moved(input.to("meta"))), results(theirs(input)), strict=True)
        for output, expected in outputs:
            assert (output.device.type, output.shape) == ("meta", expected.shape)
            assert output.dtype == expected.dtype
        back = moved.to_empty(device="cpu")
        back.load_state_dict(theirs.state_dict())
        exact = is_exact(ours.padding)
        assert_identical(back(input), theirs(input), exact)
        assert_identical(back.float()(input.float()), theirs.float()(input.float()), exact)


@by_info
def test_layers_of_noncontiguous_inputs(info: Any) -> None:
    for ours, theirs, input, _ in twins(info, requires_grad=True):
        spread = torch.empty(*input.shape, 2, dtype=input.dtype)[..., 0]
        spread = spread.copy_(input.detach()).requires_grad_()
        assert not spread.is_contiguous()
        assert_identical(ours(spread), theirs(spread), is_exact(ours.padding))
        mine = gradients(ours(spread), (spread, *ours.parameters()))
        torch.testing.assert_close(mine, gradients(ours(input), (input, *ours.parameters())))


@by_info
def test_layers_of_every_memory_format(info: Any) -> None:
    """Output and gradients are laid out as torch.nn's, whichever of input and layer is."""
    for ours, theirs, input, _ in twins(info):
        formats = {
            4: [torch.contiguous_format, torch.channels_last],
            5: [torch.contiguous_format, torch.channels_last_3d],
        }.get(input.dim(), [torch.contiguous_format])
        for of_layer in formats:
            for layer in (ours, theirs):
                for parameter in layer.parameters():
                    # A layer of the other number of dimensions has no such format.
                    if parameter.dim() == input.dim():
                        parameter.data = parameter.data.contiguous(memory_format=of_layer)
            for of_input in formats:
                laid_out = input.detach().contiguous(memory_format=of_input).requires_grad_()
                outputs = ours(laid_out), theirs(laid_out)
                assert_identical(*outputs, is_exact(ours.padding))
                mine, expected = (
                    gradients(output, (laid_out, *layer.parameters()))
                    for output, layer in zip(outputs, (ours, theirs), strict=True)
                )
                assert_identical(mine, expected, is_exact(ours.padding))


@pytest.mark.parametrize(
    "info", [info for info in INFOS if info.module_error_inputs_func], ids=lambda info: info.name
)
def test_error_inputs_of_layers(info: Any) -> None:
    cls = twin_of(info.module_cls)
    errors = info.module_error_inputs_func(
        info, device="cpu", dtype=torch.float64, requires_grad=False, training=True
    )
    assert errors
    for error in errors:
        each = error.module_error_input
        arguments = named(cls, each.constructor_input.args, each.constructor_input.kwargs)
        assert error.error_on == ModuleErrorEnum.FORWARD_ERROR
        layer = cls(**arguments)
        with pytest.raises(error.error_type) as raised:
            layer(*each.forward_input.args, **each.forward_input.kwargs)
        assert raised.type is error.error_type
