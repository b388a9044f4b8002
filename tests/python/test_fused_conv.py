"""Tests samepad.FusedConv1d, 2d and 3d against formulas in float64."""

import copy
import io
import itertools
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import onnxruntime
import pytest
import samepad
import torch
import torch.nn.functional as F
from samepad import _C
from samepad.inference.activations import ACTIVATIONS, recognize
from torch import Tensor, nn

Fused = samepad.FusedConv2d
FUSED = (samepad.FusedConv1d, samepad.FusedConv2d, samepad.FusedConv3d)
SAME = (samepad.SamePadConv1d, samepad.SamePadConv2d, samepad.SamePadConv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
SIZES = (11, 9, 7)
LAST = {2: torch.channels_last, 3: torch.channels_last_3d}

#: Each activation's parameters and formula.
FORMULAS: dict[str, tuple[tuple[float, ...], Callable[[Tensor], Tensor]]] = {
    "identity": ((), lambda x: x),
    "relu": ((), lambda x: torch.where(x > 0, x, 0.0)),
    "clamp": ((-0.5, 1.25), lambda x: torch.where(x < -0.5, -0.5, torch.where(x > 1.25, 1.25, x))),
    "leaky_relu": ((0.2,), lambda x: torch.where(x > 0, x, 0.2 * x)),
    "hardswish": ((), lambda x: x * (x + 3).clamp(0, 6) / 6),
    "hardsigmoid": ((), lambda x: (x + 3).clamp(0, 6) / 6),
    "silu": ((), lambda x: x / (1 + torch.exp(-x))),
    "sigmoid": ((), lambda x: 1 / (1 + torch.exp(-x))),
    "tanh": ((), lambda x: 1 - 2 / (1 + torch.exp(2 * x))),
    "gelu": ((), lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2),
    "gelu_tanh": (
        (),
        lambda x: x / 2 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))),
    ),
    "elu": ((0.7,), lambda x: torch.where(x > 0, x, 0.7 * (torch.exp(x) - 1))),
}


def padded_convolution(input: Tensor, layer: Any) -> Tensor:
    """Convolve in float64, with padding by F.pad."""
    dimensions = input.dim() - 2
    padding = layer.padding
    if padding == "valid":
        padding = 0
    if isinstance(padding, int):
        padding = (padding,) * dimensions
    if isinstance(padding, str) or isinstance(padding[0], str):
        pairs = samepad.same_padding(
            input.shape[2:], layer.kernel_size, layer.stride, layer.dilation, padding
        )
    else:
        pairs = tuple(p if isinstance(p, tuple) else (p, p) for p in padding)
    flat = [amount for pair in reversed(pairs) for amount in pair]
    convolve: Any = (F.conv1d, F.conv2d, F.conv3d)[dimensions - 1]
    bias = None if layer.bias is None else layer.bias.double()
    options = layer.stride, 0, layer.dilation, layer.groups
    return convolve(F.pad(input.double(), flat), layer.weight.double(), bias, *options)  # type: ignore[no-any-return]


def assert_right(layer: Any, input: Tensor, expected: Tensor, *residual: Tensor) -> None:
    with torch.no_grad():
        found = layer(input, *residual)
    assert found.dtype == input.dtype
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5}.get(input.dtype, 0.02)
    scale = expected.abs().max().item()
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance * scale)


def placed(tensor: Tensor, channels_last: bool) -> Tensor:
    layout = LAST.get(tensor.dim() - 2)
    return tensor.contiguous(memory_format=layout) if channels_last and layout else tensor


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("activation", FORMULAS)
def test_computes_every_activation_in_every_layout_with_every_residual(
    activation: str, dimensions: int
) -> None:
    torch.manual_seed(0)
    parameters, formula = FORMULAS[activation]
    for residual, channels_last, groups, dtype in itertools.product(
        (None, "before", "after"), (False, True), (1, 6), (torch.float32, torch.float64)
    ):
        layer = FUSED[dimensions - 1](
            6, 18, 3, 2, groups=groups, activation=activation, activation_parameters=parameters,
            residual=residual, dtype=dtype,
        )  # fmt: skip
        if channels_last and dimensions > 1:
            layer.to(memory_format=LAST[dimensions])
        input = placed(3 * torch.randn(2, 6, *SIZES[:dimensions], dtype=dtype), channels_last)
        result = padded_convolution(input, layer)
        extra = placed(torch.randn(result.shape, dtype=dtype), channels_last)
        if residual == "before":
            result = formula(result + extra)
        else:
            result = formula(result) + (extra if residual else 0)
        assert_right(layer, input, result, *([extra] if residual else []))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("plan", samepad.backends.plans())
def test_every_plan_is_finished_in_the_same_way(plan: Any, channels_last: bool) -> None:
    """PyTorch's convolutions are followed by its own functions, samepad's kernels finish theirs."""
    torch.manual_seed(0)
    ran = set()
    for channels, out, kernel, stride, groups, residual in (
        (16, 16, 3, 2, 1, "before"), (3, 24, 5, 1, 1, "after"), (8, 8, 3, 2, 8, "before"),
        (8, 16, 3, 1, 8, "after"), (8, 16, (1, 3), 2, 4, None), (32, 16, 1, 1, 1, "after"),
    ):  # fmt: skip
        layer = Fused(
            channels, out, kernel, stride, groups=groups, activation="silu", residual=residual
        )
        input = placed(torch.randn(2, channels, 12, 11), channels_last)
        if channels_last:
            layer.to(memory_format=torch.channels_last)
        result = padded_convolution(input, layer)
        extra = placed(torch.randn(result.shape), channels_last)
        before, after = (extra if residual == place else 0 for place in ("before", "after"))
        with _C._force_plan(plan):
            ran.add(samepad.explain(layer, input).plan)
            others = [extra] if residual else []
            assert_right(layer, input, F.silu(result + before) + after, *others)
    assert plan in ran


PADDINGS: list[tuple[int, Any]] = [
    (1, "same"), (1, "same_lower"), (1, "causal"), (1, "valid"), (1, 2), (1, (1,)), (1, ((2, 1),)),
    (2, "same"), (2, "same_lower"), (2, ("causal", "same")), (2, "valid"), (2, 1), (2, (0, 2)),
    (2, ((1, 0), (2, 3))), (3, "same"), (3, ("causal", "same", "same_lower")), (3, "valid"),
    (3, 1), (3, (1, 0, 2)), (3, ((1, 0), (2, 3), (0, 1))),
]  # fmt: skip


@pytest.mark.parametrize(("dimensions", "padding"), PADDINGS)
def test_pads_as_the_other_layers_do(dimensions: int, padding: Any) -> None:
    torch.manual_seed(0)
    for stride, dilation, groups, bias in ((1, 1, 1, True), (2, 1, 2, False), (1, 2, 4, True)):
        layer = FUSED[dimensions - 1](4, 8, 3, stride, padding, dilation, groups, bias, "hardswish")
        input = torch.randn(2, 4, *SIZES[:dimensions])
        for channels_last in (False, True):
            expected = FORMULAS["hardswish"][1](padded_convolution(input, layer))
            assert_right(layer, placed(input, channels_last), expected)
        conv = SAME[dimensions - 1](4, 8, 3, stride, padding, dilation, groups, bias)
        assert layer.padding == conv.padding


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("kind", ["same", "plain"])
def test_is_made_of_a_convolution_a_normalization_and_an_activation(
    dimensions: int, kind: str
) -> None:
    torch.manual_seed(0)
    conv: Any = SAME[dimensions - 1](3, 4, 3, 2)
    if kind == "plain":
        conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1](3, 4, 3, 2, 1, bias=False)
    norm: Any = NORMS[dimensions - 1](4)
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.normal_(norm.bias)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    norm.eval()
    input = torch.randn(2, 3, *SIZES[:dimensions])
    with torch.no_grad():
        expected = nn.Sequential(conv, norm, nn.Hardtanh(0, 0.5)).double()(input.double())
    fused = FUSED[dimensions - 1].from_conv(conv.float(), norm.float(), nn.Hardtanh(0, 0.5))
    assert (fused.activation, fused.activation_parameters) == ("clamp", (0.0, 0.5))
    assert_right(fused, input, expected)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_is_made_of_a_normalization_alone(dimensions: int) -> None:
    torch.manual_seed(0)
    norm: Any = NORMS[dimensions - 1](5)
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.normal_(norm.running_mean)
    norm.eval()
    input = torch.randn(2, 5, *SIZES[:dimensions])
    with torch.no_grad():
        expected = F.silu(copy.deepcopy(norm).double()(input.double()))
    assert_right(FUSED[dimensions - 1].from_norm(norm, "silu"), input, expected)


def test_a_normalization_without_parameters_is_folded() -> None:
    conv, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False).eval()
    assert norm.running_mean is not None
    nn.init.normal_(norm.running_mean)
    input = torch.randn(1, 3, 9, 9)
    with torch.no_grad():
        expected = norm(conv(input)).double()
    assert_right(Fused.from_conv(conv, norm), input, expected)


def layer_of(**options: Any) -> samepad.FusedConv2d:
    torch.manual_seed(0)
    return Fused(16, 24, 3, 2, activation="silu", **options)


def test_has_the_convolutions_state() -> None:
    conv, fused = nn.Conv2d(3, 4, 3), Fused(3, 4, 3, padding=0)
    assert list(fused.state_dict()) == list(conv.state_dict())
    assert list(fused.parameters()) == []
    fused.load_state_dict(conv.state_dict())
    input = torch.randn(1, 3, 9, 9)
    assert_right(fused, input, conv(input).detach().double())


@pytest.mark.parametrize("assign", [False, True])
def test_loading_a_state_packs_its_weight(assign: bool) -> None:
    one, other = layer_of().to(memory_format=torch.channels_last), layer_of()
    other.weight = other.weight * 2
    input = torch.randn(1, 16, 9, 9).contiguous(memory_format=torch.channels_last)
    one.load_state_dict(other.state_dict(), assign=assign)
    assert_right(one, input, F.silu(padded_convolution(input, other)))


def test_the_packed_weight_follows_the_layout_and_type() -> None:
    layer = layer_of()
    assert layer.packed is None
    layer.to(memory_format=torch.channels_last)
    packed = _C.packed_weight(layer.weight, 1, True)
    assert packed is not None
    assert layer.packed is not None
    assert torch.equal(layer.packed, packed)
    layer.double()  # the layout stays
    assert layer.packed is not None
    assert layer.packed.dtype == torch.float64
    assert layer.to(memory_format=torch.contiguous_format).packed is None
    # A kernel of one pixel lies in memory in both orders at once.
    pixel = Fused(16, 24, 1).to(memory_format=torch.channels_last)
    assert pixel.packed is not None
    assert pixel.to(memory_format=torch.contiguous_format).packed is None


@pytest.mark.parametrize("inference", [False, True])
def test_a_weight_that_was_changed_in_place_is_packed_anew(inference: bool) -> None:
    with torch.inference_mode(inference):
        layer = layer_of().to(memory_format=torch.channels_last)
        input = torch.randn(1, 16, 9, 9).contiguous(memory_format=torch.channels_last)
        for change in range(3):
            if change == 1:
                layer.weight = torch.rand_like(layer.weight)
            elif change == 2 and not inference:  # PyTorch does not count changes in inference mode
                layer.weight.mul_(-2)
            assert_right(layer, input, F.silu(padded_convolution(input, layer)))
            assert layer.packed is not None


def test_is_explained() -> None:
    explanation = samepad.explain(layer_of(), torch.randn(1, 16, 9, 9))
    assert explanation.plan in samepad.backends.plans()
    assert explanation.output_size == (1, 24, 5, 5)


def saved(layer: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, copy.copy, saved, lambda layer: pickle.loads(pickle.dumps(layer))]
)
def test_copies_compute_the_same(copied: Any) -> None:
    layer = layer_of(residual="before").to(memory_format=torch.channels_last)
    new = copied(layer)
    assert repr(new) == repr(layer)
    assert new.packed is not None
    input, residual = torch.randn(1, 16, 9, 9), torch.randn(1, 24, 5, 5)
    assert torch.equal(new(input, residual), layer(input, residual))


def test_a_packed_weight_of_another_type_is_not_used() -> None:
    """Modules that are made from exported programs convert all of their tensors alike."""
    for given, type in [(torch.double, torch.bfloat16), (torch.bfloat16, torch.double)]:
        layer = Fused(32, 32, 3, 2).to(given).to(memory_format=torch.channels_last)
        input = torch.randn(2, 32, 9, 9, dtype=given).to(memory_format=torch.channels_last)
        module = torch.export.export(layer, (input,)).module()
        wanted = module(input)
        output = module.to(type)(input.to(type))
        assert (output - wanted).abs().max() < 0.02 * wanted.abs().max()


def test_the_packed_weight_is_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine packs weights in another way."""
    layer = layer_of().to(memory_format=torch.channels_last)
    data = pickle.dumps(layer)
    monkeypatch.setattr(_C, "packed_weight", lambda *_: torch.zeros(7))
    assert torch.equal(pickle.loads(data).packed, torch.zeros(7))
    assert "packed" not in layer.state_dict()


def test_a_weight_packed_for_another_machine_is_ignored() -> None:
    layer = layer_of().to(memory_format=torch.channels_last)
    input = torch.randn(1, 16, 9, 9).contiguous(memory_format=torch.channels_last)
    expected = layer(input)
    layer.packed = torch.zeros(3)
    assert torch.equal(layer(input), expected)


def test_moves_between_devices() -> None:
    layer = layer_of().to("meta")
    assert layer(torch.empty(1, 16, 9, 9, device="meta")).shape == (1, 24, 5, 5)
    layer.to_empty(device="cpu").load_state_dict(layer_of().state_dict())
    input = torch.randn(1, 16, 9, 9)
    assert torch.equal(layer(input), layer_of()(input))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    layer = layer_of(dtype=dtype)
    input = torch.randn(1, 16, 9, 9, dtype=dtype)
    assert_right(layer, input, F.silu(padded_convolution(input, layer)))


def test_compiles_as_a_whole() -> None:
    layer = layer_of(residual="after")
    input, residual = torch.randn(1, 16, 9, 9), torch.randn(1, 24, 5, 5)
    with torch.no_grad():
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(input, residual), layer(input, residual))


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("residual", [None, "before", "after"])
def test_exports_to_onnx_in_steps(residual: str | None, dynamo: bool, tmp_path: Any) -> None:
    layer = layer_of(residual=residual)
    inputs = (torch.randn(1, 16, 9, 9), *([torch.randn(1, 24, 5, 5)] if residual else []))
    file = str(tmp_path / "layer.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(layer, inputs, file, dynamo=dynamo)
    session = onnxruntime.InferenceSession(file)
    names = [given.name for given in session.get_inputs()]
    (found,) = session.run(None, dict(zip(names, (x.numpy() for x in inputs), strict=True)))
    torch.testing.assert_close(torch.from_numpy(found), layer(*inputs), rtol=1e-5, atol=1e-5)


def test_says_what_it_computes() -> None:
    shown = repr(
        Fused(
            3, 8, 3, activation="clamp", activation_parameters=(0, 6), residual="before", bias=False
        )
    )
    assert shown == (
        "FusedConv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=same, bias=False, "
        "convolution + residual + clamp(0.0, 6.0))"
    )
    assert "convolution + silu + residual" in repr(layer_of(residual="after"))


def test_inference_alone() -> None:
    layer = layer_of()
    assert not layer.training
    assert layer.eval() is layer
    with pytest.raises(RuntimeError, match="FusedConv2d is for inference and can't be put in trai"):
        layer.train()
    with pytest.raises(RuntimeError, match="gradient"):
        layer(torch.randn(1, 16, 9, 9, requires_grad=True))
    with torch.no_grad():
        layer(torch.randn(1, 16, 9, 9, requires_grad=True))


CONV, NORM = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval()


class OtherConv(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * 2


BAD: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: Fused(3, 4, 3, activation="mish"), ValueError, "activation must be one of identity, "),
    (lambda: Fused(3, 4, 3, activation=3), ValueError, "activation must be one of"),  # type: ignore[arg-type]
    (lambda: Fused(3, 4, 3, activation="clamp"), ValueError, r"'clamp' must be \(low, high\), but"),
    (
        lambda: Fused(3, 4, 3, activation_parameters=(1,)),
        ValueError,
        r"parameters of 'identity' must be \(\), but got \(1.0,\)",
    ),
    (
        lambda: Fused(3, 4, 3, activation="elu", activation_parameters=("a",)),  # type: ignore[arg-type]
        TypeError,
        "parameters must be a tuple of numbers, not",
    ),
    (
        lambda: Fused(3, 4, 3, activation="elu", activation_parameters=1),
        TypeError,
        "must be a tuple of",
    ),  # type: ignore[arg-type]
    (lambda: Fused(3, 4, 3, residual="first"), ValueError, "None, 'before' or 'after', not 'fi"),
    (lambda: Fused(3, 4, 3, padding="sam"), ValueError, "Invalid padding string 'sam'"),
    (lambda: Fused(3, 4, 3, groups=2), ValueError, "groups"),
    (lambda: Fused.from_conv(nn.Linear(3, 4)), TypeError, "conv is no convolution, but Linear"),
    (lambda: Fused.from_conv(nn.Conv1d(3, 4, 3)), ValueError, "conv has 1 spatial dimensions, bu"),
    (lambda: Fused.from_conv(nn.ConvTranspose2d(3, 4, 3)), ValueError, "conv is transposed"),
    (
        lambda: Fused.from_conv(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")),
        ValueError,
        "conv has padding_mode='reflect', expected 'zeros'",
    ),
    (lambda: Fused.from_conv(OtherConv(3, 4, 3)), ValueError, "conv is OtherConv, whose forward"),
    (
        lambda: Fused.from_conv(nn.Conv2d(3, 4, 3, dtype=torch.complex64)),
        ValueError,
        "conv is of torch.complex64, expected floating point",
    ),
    (lambda: Fused.from_conv(CONV, nn.ReLU()), TypeError, "norm is no batch normalization, but Re"),
    (lambda: Fused.from_conv(CONV, nn.BatchNorm2d(4)), ValueError, "norm is in training mode"),
    (
        lambda: Fused.from_conv(CONV, nn.BatchNorm2d(4, track_running_stats=False)),
        ValueError,
        "norm has no running statistics",
    ),
    (lambda: Fused.from_conv(CONV, NORM, nn.Mish()), ValueError, "activation Mish.. is none that"),
    (lambda: Fused.from_norm(CONV), TypeError, "norm is no batch normalization, but Conv2d"),
    (lambda: Fused.from_norm(NORM, "mish"), ValueError, "activation must be one of"),
    (lambda: layer_of(residual="after")(torch.ones(1, 16, 9, 9)), TypeError, "without a residual"),
    (lambda: layer_of()(*[torch.ones(1, 16, 9, 9)] * 2), TypeError, "called with a residual"),
    (lambda: layer_of()(torch.ones(1, 3, 9, 9)), RuntimeError, "channel"),
    (lambda: layer_of()(torch.ones(1, 16, 9)), RuntimeError, "input"),
    (lambda: layer_of()(torch.ones(1, 16, 9, 9).double()), RuntimeError, "type|dtype"),
    (
        lambda: layer_of(residual="after")(torch.ones(1, 16, 9, 9), torch.ones(1, 24, 1, 1)),
        RuntimeError,
        "residual",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD)
def test_bad_arguments(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message), torch.no_grad():
        call()


def test_the_formulas_are_those_of_the_table() -> None:
    assert list(FORMULAS) == list(ACTIVATIONS)
    input = torch.linspace(-9, 9, 101, dtype=torch.float64)
    for name, (parameters, formula) in FORMULAS.items():
        torch.testing.assert_close(ACTIVATIONS[name].function(input, *parameters), formula(input))
        assert recognize(formula) == (name, parameters), name


@pytest.mark.parametrize(
    "function",
    [
        F.mish,
        F.softplus,
        lambda x: x * torch.sigmoid(1.702 * x),
        lambda x: x + 1e-3,
        lambda x: torch.softmax(x, -1),
        lambda x: torch.relu(x.flip(-1)),
        lambda x: torch.relu(x.mean(-1, keepdim=True).expand_as(x)),
        lambda x: torch.relu(x)[..., :1],
        lambda x: torch.where(x > 100, 100.0, torch.sigmoid(x)),
        lambda x: x / 0,
        lambda _: "text",
        lambda _: 1 / 0,
    ],
)
def test_takes_nothing_else_for_an_activation(function: Any) -> None:
    assert recognize(function) is None


@pytest.mark.parametrize("mode", [None, "same"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_opcheck(dimensions: int, residual: bool, mode: str | None) -> None:
    input = torch.randn(2, 4, *(6, 5, 4)[:dimensions])
    weight = torch.randn(8, 2, *[3] * dimensions)
    sizes = [(n + 1) // 2 for n in input.shape[2:]]
    added = torch.randn(2, 8, *sizes) if residual else None
    # Where they are given, the pads are those of the mode, so that the residual fits both.
    pads = [0] * (2 * dimensions)
    if mode is None:
        pads = [amount for pair in samepad.same_padding(input.shape[2:], 3, 2) for amount in pair]
    windows = ([2] * dimensions, [1] * dimensions, 2)
    arguments = (input, weight, torch.randn(8), added, None, mode, pads, *windows)
    torch.library.opcheck(torch.ops.samepad.fused_conv, (*arguments, "clamp", [0.0, 6.0], False))
