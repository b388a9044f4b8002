"""Compares operators that become layers with ONNX Runtime: recurrent, normalizations, Resize."""

import pickle
from typing import Any

import numpy as np
import onnx
import pytest
import samepad.onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_models import assert_as_onnxruntime, from_source, one_node, run
from samepad.gru import ResetBeforeGRU
from samepad.source import write_source
from torch import nn

GENERATOR = np.random.default_rng(0)


def normal(*shape: int) -> NDArray[Any]:
    return GENERATOR.normal(size=shape).astype(np.float32)


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


# torch.export warns so about every nn.LSTM.
@pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights:UserWarning")
@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    ("kind", "options", "layer"),
    [
        ("LSTM", {}, nn.LSTM),
        ("GRU", {"linear_before_reset": 1}, nn.GRU),
        ("GRU", {}, ResetBeforeGRU),
        ("RNN", {}, nn.RNN),
        ("RNN", {"activations": ["Relu"]}, nn.RNN),
    ],
    ids=["LSTM", "GRU", "GRU that resets before", "RNN", "RNN of relu"],
)
def test_recurrent(
    kind: str, options: dict[str, Any], layer: Any, direction: str, bias: bool, state: bool
) -> None:
    steps, batch, inputs, hidden = 5, 2, 3, 4
    directions = 2 if direction == "bidirectional" else 1
    rows = GATES[kind] * hidden
    if "activations" in options:
        options = {"activations": options["activations"] * directions}
    weights: list[Any] = [normal(directions, rows, inputs), normal(directions, rows, hidden)]
    weights.append(normal(directions, 2 * rows) if bias else None)
    states = [normal(directions, batch, hidden) for _ in range(2 if kind == "LSTM" else 1)]
    weights += [None, *states] if state else []
    model = one_node(
        kind,
        (steps, batch, inputs),
        weights,
        outputs=3 if kind == "LSTM" else 2,
        hidden_size=hidden,
        direction=direction,
        **options,
    )
    array = normal(steps, batch, inputs)
    module = assert_as_onnxruntime(model, array)
    (found,) = module.children()
    assert type(found) is layer
    sound = torch.from_numpy(array)
    twin = from_source(module)
    exported = torch.export.export(module, (sound,)).module()
    for copy in (twin, exported, pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(copy(sound), module(sound))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gru_that_resets_before(batch_first: bool, bidirectional: bool) -> None:
    """It equals nn.GRU if the reset gate is one."""
    torch.manual_seed(0)
    plain = nn.GRU(3, 4, batch_first=batch_first, bidirectional=bidirectional)
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if name.startswith("bias"):
                parameter[:4] = 50.0
    ours = ResetBeforeGRU(3, 4, batch_first=batch_first, bidirectional=bidirectional)
    ours.load_state_dict(plain.state_dict())
    sound = torch.randn(2, 5, 3)
    torch.testing.assert_close(ours(sound), plain(sound))


#: Settings that torch.nn's layers lack, for each operator.
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "clip": ("LSTM", {"clip": 0.3}),
    "input_forget": ("LSTM", {"input_forget": 1}),
    "lstm": ("LSTM", {"activations": ["HardSigmoid", "Relu", "Softsign"] * 2}),
    "lstm, parameters": (
        "LSTM",
        {
            "activations": ["HardSigmoid", "LeakyRelu", "ScaledTanh"] * 2,
            "activation_alpha": [0.3, 0.02, 0.8, 0.25, 0.05, 0.9],
            "activation_beta": [0.4, 0.6, 0.45, 0.7],
        },
    ),
    "gru": ("GRU", {"activations": ["HardSigmoid", "Softplus"] * 2}),
    "gru, reset after": (
        "GRU",
        {"activations": ["Sigmoid", "Relu"] * 2, "linear_before_reset": 1, "clip": 0.5},
    ),
    "rnn": ("RNN", {"activations": ["Affine", "Elu"], "activation_alpha": [0.5, 0.7]}),
    "rnn, others": (
        "RNN",
        {"activations": ["ThresholdedRelu", "Tanh"], "activation_alpha": [0.1]},
    ),
}


@pytest.mark.parametrize("lengths", [None, [5, 0, 3]])
@pytest.mark.parametrize("name", SETTINGS)
def test_recurrent_settings_that_torch_has_not(name: str, lengths: Any) -> None:
    kind, options = SETTINGS[name]
    gates = GATES[kind]
    weights: list[Any] = [
        *(normal(2, gates * 4, 3), normal(2, gates * 4, 4), normal(2, gates * 8)),
        None if lengths is None else np.array(lengths, np.int32),
        normal(2, 3, 4),
        *([normal(2, 3, 4), normal(2, 12)] if kind == "LSTM" else []),
    ]
    model = one_node(
        kind,
        (5, 3, 3),
        weights,
        outputs=3 if kind == "LSTM" else 2,
        hidden_size=4,
        direction="bidirectional",
        **options,
    )
    module = assert_as_onnxruntime(model, normal(5, 3, 3))
    twin = from_source(module)
    sound = torch.from_numpy(normal(5, 3, 3))
    exported = torch.export.export(module, (sound,)).module()
    for copy in (twin, exported):
        torch.testing.assert_close(copy(sound), module(sound))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activations": ["Sigmoid", "Cosine", "Tanh"]}, "activations=.*cosine.*expected 3 of"),
        ({"activations": ["Tanh"]}, r"activations=\['tanh'\], expected 3 of"),
        ({"clip": 1.0, "hidden_size": 3}, "hidden_size=3, expected 2"),
    ],
)
def test_wrong_recurrent_settings(options: dict[str, Any], message: str) -> None:
    weights: list[Any] = [normal(1, 8, 3), normal(1, 8, 2)]
    with pytest.raises(ValueError, match=message) as raised:
        samepad.onnx.load(one_node("LSTM", (4, 1, 3), weights, **{"hidden_size": 2} | options))
    assert "b'" not in str(raised.value)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_compile(kind: str) -> None:
    """They compile if a setting of torch allows it; otherwise torch's error names the setting."""
    weights: list[Any] = [normal(1, GATES[kind] * 2, 3), normal(1, GATES[kind] * 2, 2)]
    module = samepad.onnx.load(one_node(kind, (5, 2, 3), weights, hidden_size=2))
    sound = torch.from_numpy(normal(5, 2, 3))
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        with pytest.raises(torch._dynamo.exc.Unsupported, match="allow_rnn"):
            compiled(sound)
        with torch._dynamo.config.patch(allow_rnn=True):  # type: ignore[no-untyped-call]
            torch.testing.assert_close(compiled(sound), module(sound))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_lengths_of_sequences(kind: str) -> None:
    """Lengths equal to the input's are accepted, because they change nothing."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    weights: list[Any] = [normal(1, gates * 2, 3), normal(1, gates * 2, 2), None]
    array = normal(5, 2, 3)
    whole = one_node(kind, array.shape, [*weights, np.array([5, 5], "i4")], hidden_size=2)
    assert_as_onnxruntime(whole, array)
    shorter = np.array([5, 4], np.int32)
    for shape, lengths in ((array.shape, shorter), (("t", 2, 3), np.array([5, 5], np.int32))):
        model = one_node(kind, shape, [*weights, lengths], hidden_size=2)
        module = assert_as_onnxruntime(model, array)
        assert not list(module.children())


def misfit(
    kind: str, shape: Any, *weights: tuple[int, ...], opset: int = 21, **attributes: Any
) -> Any:
    """Make a model of one node, called odd_one, whose weights have these shapes."""
    model = one_node(kind, shape, [normal(*size) for size in weights], opset, **attributes)
    model.graph.node[0].name = "odd_one"
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            misfit("Conv", (1, 3, 8, 8), (4, 5, 3, 3)),
            r"\(1, 3, 8, 8\), expected 5 along dimension 1",
        ),
        (misfit("Conv", ("n", 3, "h", 8), (4, 2, 3, 3), group=2), r"\(\?, 3, \?, 8\), expected 4"),
        (misfit("Conv", (1, 3, 8), (4, 3, 3), (5,)), r"input 2 has shape \(5\), expected 4"),
        (misfit("Conv", (1, 3, 8), (4, 3, 3), (1,)), r"input 2 has shape \(1\), expected 4"),
        (misfit("ConvTranspose", (1, 3, 8), (4, 3, 3)), "expected 4 along dimension 1"),
        (
            misfit("ConvTranspose", (1, 4, 8), (4, 3, 3), (3,), group=2),
            r"input 2 has shape \(3\), expected 6",
        ),
        (misfit("Gemm", (2, 4), (3, 5)), r"\(2, 4\), expected 3 along dimension 1"),
        (misfit("Gemm", (2, 4), (5, 3), transB=1, alpha=2.0), "expected 3 along dimension 1"),
        (misfit("Gemm", (4, 2), (3, 5), transA=1), "expected 3 along dimension 0"),
        (misfit("MatMul", (2, 4), (3, 5)), "expected 3 along dimension -1"),
        (misfit("MatMul", (2, 4), (3,)), "expected 3 along dimension -1"),
        (misfit("BatchNormalization", (2, 3, 4), *[(5,)] * 4), r"\(5\), expected 3"),
        (misfit("BatchNormalization", ("n", "c", 4), (5,), *[(1,)] * 3), "bias has shape"),
        (misfit("InstanceNormalization", (2, 3, 4), (5,), (5,)), r"\(5\), expected 3"),
        (misfit("GroupNormalization", (2, 4, 4), (2,), (2,), num_groups=2), r"\(2\), expected 4"),
        (misfit("LayerNormalization", (2, 3), (5,)), r"\(2, 3\), expected 5 along dimension -1"),
        (misfit("LayerNormalization", (2, 3), (1,), (5,)), "expected 5 along dimension -1"),
        (misfit("RMSNormalization", (2, 3), (5,), opset=23), "expected 5 along dimension -1"),
        (misfit("PRelu", (2, 3, 4), (5, 1)), "expected 5 along dimension 1"),
        (
            misfit("LSTM", (4, 1, 3), (1, 8, 3), (1, 8, 2), hidden_size=5),
            "hidden_size=5, expected 2",
        ),
        (misfit("GRU", (4, 1, 3), (1, 6, 4), (1, 6, 2), hidden_size=2), "expected 4 along"),
        (misfit("RNN", (4, 1, 3), (2, 2, 3), (2, 2, 2), hidden_size=2), "expected 1 along"),
        (misfit("RNN", (4, 1, 3), (1, 3, 3), (1, 2, 2), hidden_size=2), "weight_ih_l0 has shape"),
    ],
)
def test_weights_of_other_sizes(model: Any, message: str) -> None:
    """ONNX's checker accepts them; samepad refuses the node by its name and attributes."""
    node = model.graph.node[0]
    with pytest.raises(ValueError, match=rf"odd_one \({node.op_type} \{{.*{message}") as raised:
        samepad.onnx.load(model)
    for attribute in node.attribute:
        assert f"'{attribute.name}'" in str(raised.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        *(
            (misfit(kind, (1, 3, 8, 8), *weights, **numbers, **options), f"{name}=.*expected {n} n")
            for kind, weights, options in (
                ("Conv", [(3, 3, 3, 3)], {}),
                ("ConvTranspose", [(3, 3, 3, 3)], {}),
                ("MaxPool", [], {"kernel_shape": [3, 3]}),
                ("AveragePool", [], {"kernel_shape": [3, 3]}),
            )
            for name, n in (("pads", 4), ("strides", 2))
            for numbers in ({name: [1]}, {name: [1] * 6})
        ),
        (misfit("Conv", (1, 3, 8, 8), (3, 3, 3, 3), dilations=[2]), "dilations=.* 2 numbers"),
        (
            misfit("ConvTranspose", (1, 3, 8, 8), (3, 3, 3, 3), output_padding=[1]),
            r"output_padding=\[1\], expected 2 numbers",
        ),
        (misfit("Conv", (1, 3, *[8] * 4), (3, 3, *[3] * 4)), "4 spatial dimensions, expected 1, 2"),
        (misfit("MaxPool", (1, 3, *[8] * 4), kernel_shape=[2] * 4), "4 spatial dimensions"),
        (misfit("Conv", (1, 3, 8), (3, 3, 3, 3)), "input 0 has 3 dimensions, expected 4"),
        (misfit("MaxPool", (1, 3, 8, 8), kernel_shape=[2]), "input 0 has 4 dimensions, expected 3"),
    ],
)
def test_attributes_of_other_dimensions(model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"odd_one \({model.graph.node[0].op_type} .*{message}"):
        samepad.onnx.load(model)


def test_weights_that_broadcast() -> None:
    """Weights may be broadcast where ONNX allows it."""
    array = normal(2, 3, 4)
    for scale, bias in (((1,), (4,)), ((4,), (1,)), ((3, 4), (4,))):
        model = misfit("LayerNormalization", array.shape, scale, bias, axis=-len(scale))
        (expected,) = ReferenceEvaluator(model).run(None, {"x": array})
        found = samepad.onnx.load(model)(torch.from_numpy(array))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [(1,), (1, 1), ("h", "w")])
@pytest.mark.parametrize("kind", ["InstanceNormalization", "GroupNormalization"])
def test_one_value_for_each_channel(kind: str, sizes: Any) -> None:
    """A single value, as after a global pool, gives the bias."""
    attributes = {"num_groups": 4} if kind == "GroupNormalization" else {}
    model = misfit(kind, (1, 4, *sizes), (4,), (4,), **attributes)
    module = assert_as_onnxruntime(model, normal(1, 4, *[1] * len(sizes)), tolerance=1e-4)
    large = torch.from_numpy(normal(2, 4, *[5] * len(sizes)))
    twin = from_source(module)
    for copy in (twin, pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(copy(large), module(large))


def test_one_value_for_each_channel_and_weights_that_are_computed() -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["m"]),
        helper.make_node("Squeeze", ["m"], ["s"]),
        helper.make_node("InstanceNormalization", ["m", "s", "s"], ["y"]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, *sizes])
        for name, sizes in (("x", (3, 3)), ("y", (1, 1)))
    ]
    graph = helper.make_graph(nodes, "net", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 21)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    assert_as_onnxruntime(model, normal(1, 4, 3, 3), tolerance=1e-4)


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("Gemm", {}),
        ("Gemm", {"transA": 1}),
        ("ReduceMean", {}),
        ("ReduceMean", {"axes": [1]}),
        *((f"Reduce{name}", {"axes": [0]}) for name in ("L2", "LogSum", "LogSumExp")),
        ("MatMul", {}),
    ],
)
def test_integers(kind: str, attributes: dict[str, Any]) -> None:
    array = np.array([[5, -8], [-2, 90_001]], np.int32)  # the last square overflows
    weights: list[Any] = [] if kind.startswith("Reduce") else [np.array([[1, 2], [3, 4]], np.int32)]
    model = one_node(kind, (2, 2), weights, 13, **attributes)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.INT32
    found = samepad.onnx.load(model)(torch.from_numpy(array))
    # ONNX Runtime's Gemm does not multiply integers.
    runs = (
        ReferenceEvaluator(model).run(None, {"x": array}) if kind == "Gemm" else run(model, array)
    )
    np.testing.assert_array_equal(found, runs[0], strict=True)


@pytest.mark.parametrize("kind", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("axis", [0, -1])
def test_which_of_equal_elements(kind: str, last: int, axis: int) -> None:
    model = one_node(kind, (3, 4), [], 13, axis=axis, select_last_index=last)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    array = np.array([[1, 2, 2, 1], [2, 2, 1, 1], [1, 1, 1, 1]], np.float32)
    assert_as_onnxruntime(model, array)


def test_the_mask_of_a_dropout() -> None:
    """In inference, the mask keeps everything, whether or not the model uses it."""
    array = normal(2, 3)
    model = one_node("Dropout", array.shape, [], 13, outputs=2)
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.BOOL
    expected = run(model, array)
    for ours, theirs in zip(
        samepad.onnx.load(model)(torch.from_numpy(array)), expected, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    del model.graph.output[1]
    assert_as_onnxruntime(model, array)


def test_a_transposed_scalar() -> None:
    assert_as_onnxruntime(one_node("Transpose", (), []), np.array(3, np.float32))
    assert_as_onnxruntime(one_node("Transpose", (2, 3, 4), []), normal(2, 3, 4))


@pytest.mark.parametrize(
    ("kind", "rank", "name"),
    [
        ("BatchNormalization", 2, "BatchNorm1d"),
        ("BatchNormalization", 3, "BatchNorm1d"),
        ("BatchNormalization", 4, "BatchNorm2d"),
        ("BatchNormalization", 5, "BatchNorm3d"),
        ("InstanceNormalization", 3, "InstanceNorm1d"),
        ("InstanceNormalization", 4, "InstanceNorm2d"),
        ("InstanceNormalization", 5, "InstanceNorm3d"),
        *(("GroupNormalization", rank, "GroupNorm") for rank in (3, 4, 5)),
        *(("LayerNormalization", rank, "LayerNorm") for rank in (2, 3, 4, 5)),
        *(("PRelu", rank, "PReLU") for rank in (2, 3, 4, 5)),
    ],
)
def test_layers_of_known_weights(kind: str, rank: int, name: str) -> None:
    shape = (2, 4, 5, 3, 2)[:rank]
    attributes: dict[str, Any] = {"epsilon": 1e-3} if kind != "PRelu" else {}
    weights: list[Any] = [normal(4), normal(4)]
    if kind == "BatchNormalization":
        weights += [normal(4), np.abs(normal(4))]
    elif kind == "GroupNormalization":
        attributes["num_groups"] = 2
    elif kind == "LayerNormalization":
        attributes["axis"] = 1
        weights = [normal(*shape[1:]), normal(*shape[1:])]
    elif kind == "PRelu":
        weights = [normal(4, *[1] * (rank - 2))]
    module = assert_as_onnxruntime(one_node(kind, shape, weights, 21, **attributes), normal(*shape))
    (layer,) = module.children()
    assert type(layer).__name__ == name


@pytest.mark.parametrize(
    ("kind", "attributes", "opset", "layer"),
    [
        ("Flatten", {}, 18, nn.Flatten),
        ("Softmax", {"axis": 3}, 11, nn.Softmax),
        ("Softmax", {"axis": 1}, 13, nn.Softmax),
        ("GlobalAveragePool", {}, 18, nn.AdaptiveAvgPool2d),
        ("GlobalMaxPool", {}, 18, nn.AdaptiveMaxPool2d),
        ("Selu", {}, 18, nn.SELU),
        ("HardSigmoid", {"alpha": 1 / 6}, 18, nn.Hardsigmoid),
        ("Swish", {}, 24, nn.SiLU),
    ],
)
def test_layers_of_known_ranks(
    kind: str, attributes: dict[str, Any], opset: int, layer: type[nn.Module]
) -> None:
    model = one_node(kind, (2, 3, 4, 5), [], opset, **attributes)
    array = normal(2, 3, 4, 5)
    module = samepad.onnx.load(model)
    (found,) = module.children()
    assert type(found) is layer
    if opset <= 18:  # ONNX Runtime does not have Swish, of opset 24, yet
        assert_as_onnxruntime(model, array)


def test_of_nothing() -> None:
    """An empty batch can be flattened at each axis."""
    for axis in (0, 1, 2, -1):
        module = samepad.onnx.load(one_node("Flatten", ("n", 2, 3), [], axis=axis))
        assert module(torch.zeros(0, 2, 3)).numel() == 0


@pytest.mark.parametrize("uses", [1, 2])
def test_a_product_and_its_bias_are_one_layer(uses: int) -> None:
    """This holds if nothing else uses the product."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["b", "p"], ["a"]),
        helper.make_node("Mul", ["a", "p" if uses == 2 else "a"], ["y"]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2, size])
        for name, size in (("x", 3), ("y", 4))
    ]
    weights = [numpy_helper.from_array(normal(3, 4), "w"), numpy_helper.from_array(normal(4), "b")]
    graph = helper.make_graph(nodes, "linear", values[:1], values[1:], weights)
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    module = assert_as_onnxruntime(model, normal(5, 2, 3))
    (layer,) = module.children()
    assert isinstance(layer, nn.Linear)
    assert (layer.bias is not None) == (uses == 1)


MODES = ["nearest", "linear", "cubic"]
TRANSFORMS = [
    *("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize"),
]


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("by", ["scales", "sizes"])
def test_resize(mode: str, transform: str, by: str) -> None:
    generator = np.random.default_rng(sum(map(ord, mode + transform + by)))
    classes = set()
    for _ in range(25):
        shape = (2, 3, *generator.integers(2, 9, 2).tolist())
        attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": transform}
        if mode == "nearest":
            roundings = ["round_prefer_floor", "floor", "ceil"]
            if transform != "asymmetric":  # ONNX Runtime rounds positions that should be halves
                roundings.append("round_prefer_ceil")
            attributes["nearest_mode"] = str(generator.choice(roundings))
        elif mode == "cubic":
            attributes["cubic_coeff_a"] = float(generator.choice([-0.75, -0.5]))
            attributes["exclude_outside"] = int(generator.integers(2))
        roi = None
        if transform == "tf_crop_and_resize":
            roi = np.array([0, 0, 0.1, -0.2, 1, 1, 0.8, 1.1], np.float32)
            attributes["extrapolation_value"] = 7.0
            if mode == "cubic":
                attributes["exclude_outside"] = 0
        weights: list[Any] = [roi]
        if by == "sizes":
            # ONNX Runtime does not crop along a dimension whose size does not change.
            sizes = [
                m + (m == n) for m, n in zip(generator.integers(1, 14, 2), shape[2:], strict=True)
            ]
            weights += [None, np.array([2, 3, *sizes], np.int64)]
        else:
            weights.append(np.array([1, 1, *generator.choice([0.5, 0.75, 1.5, 2, 3], 2)], "f4"))
        model = one_node("Resize", shape, weights, 18, **attributes)
        array = generator.normal(size=shape).astype(np.float32)
        module = assert_as_onnxruntime(model, array, tolerance=1e-4)
        classes |= {type(layer) for layer in module.children()}
    if transform in ("half_pixel", "align_corners") and mode != "nearest":
        assert classes == {nn.Upsample}


@pytest.mark.parametrize(
    ("opset", "mode"), [(10, "nearest"), (10, "linear"), (18, "nearest"), (18, "linear")]
)
@pytest.mark.parametrize("scales", [(0.6, 0.6), (2, 0.6), (1.3, 1.7), (2.2, 2), (3, 2)])
def test_resize_by_any_scale(opset: int, mode: str, scales: tuple[float, float]) -> None:
    """Before opset 11 rounding depends on the scale; a size of 2 times 1.3 is 2, but no copy."""
    given: list[Any] = [np.array([1, 1, *scales], np.float32)]
    attributes = {"mode": mode}
    if opset > 10:
        given.insert(0, None)
        attributes["nearest_mode"] = "floor"
        attributes["coordinate_transformation_mode"] = "asymmetric"
    array = np.arange(1, 9, dtype=np.float32).reshape(1, 1, 2, 4)
    assert_as_onnxruntime(one_node("Resize", array.shape, given, opset, **attributes), array)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("scale", [1.3, 2.2])
def test_resize_that_keeps_or_doubles_a_size(mode: str, scale: float) -> None:
    """Only one dimension keeps its size, because ONNX Runtime just copies if all do."""
    attributes = {"mode": mode}
    if mode == "nearest":
        attributes["nearest_mode"] = "round_prefer_ceil"
    given = [None, np.array([1, 1, scale, 3], np.float32)]
    array = normal(1, 2, 3, 3)
    assert_as_onnxruntime(one_node("Resize", array.shape, given, 18, **attributes), array)


@pytest.mark.parametrize("mode", MODES)
def test_resize_by_rounded_scales(mode: str) -> None:
    """The nearest number of float32 to 19 / 14 is too small, and 14 times it is 19 nonetheless.

    With such scales, ONNX Runtime rounds positions that should be halves either way.
    """
    attributes = {"mode": mode} | ({"nearest_mode": "floor"} if mode == "nearest" else {})
    generator = np.random.default_rng(sum(map(ord, mode)))
    pairs = [(14, 19), (14, 10), *generator.integers(2, 40, (30, 2)).tolist()]
    for n, m in pairs:
        given = [None, np.array([1, 1, m / n, 1], np.float32)]
        array = generator.normal(size=(1, 2, n, 3)).astype(np.float32)
        model = one_node("Resize", array.shape, given, 18, **attributes)
        assert_as_onnxruntime(model, array, tolerance=1e-4)


def test_resize_to_another_tensors_size() -> None:
    """Decoders do this; it must work for every size."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "zero", "two"], ["first"]),
        helper.make_node("Shape", ["z"], ["t"]),
        helper.make_node("Slice", ["t", "two", "four"], ["last"]),
        helper.make_node("Concat", ["first", "last"], ["sizes"], axis=0),
        helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear"),
    ]
    numbers = {"zero": 0, "two": 2, "four": 4}
    constants = [numpy_helper.from_array(np.array([n]), name) for name, n in numbers.items()]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3, None, None])
        for name in ("x", "z", "y")
    ]
    graph = helper.make_graph(nodes, "decoder", values[:2], values[2:], constants)
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model)
    small, large = normal(2, 3, 4, 5), normal(2, 3, 9, 7)
    module = assert_as_onnxruntime(model, small, large)
    assert "interpolate" in write_source(module)
    given = torch.from_numpy(small), torch.from_numpy(large)
    open_sizes = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    program = torch.export.export(module, given, dynamic_shapes=(open_sizes, open_sizes)).module()
    other = torch.randn(3, 3, 6, 6), torch.randn(3, 3, 11, 8)
    torch.testing.assert_close(program(*other), module(*other))


def test_local_response_normalization_of_an_even_size() -> None:
    """ONNX Runtime takes only odd sizes, so the reference is ONNX's formula."""
    x = normal(2, 6, 5, 4)
    expected = np.empty_like(x)
    for channel in range(6):
        window = x[:, max(channel - 1, 0) : channel + 3]
        expected[:, channel] = x[:, channel] / (1 + 0.5 / 4 * (window**2).sum(1)) ** 0.75
    module = samepad.onnx.load(one_node("LRN", x.shape, [], size=4, alpha=0.5))
    np.testing.assert_allclose(module(torch.from_numpy(x)).numpy(), expected, rtol=1e-5)


def test_the_last_parts_of_a_split_may_be_empty() -> None:
    module = samepad.onnx.load(one_node("Split", [6, 2], [], outputs=4, axis=0, num_outputs=4))
    parts = module(torch.zeros(6, 2))
    assert [part.shape[0] for part in parts] == [2, 2, 2, 0]


def test_sizes_that_are_made_floats_divide_as_floats() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Cast", ["shape"], ["sizes"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["sizes", "one", "two"], ["height"]),
        helper.make_node("Slice", ["sizes", "two", "three"], ["width"]),
        helper.make_node("Concat", ["height", "width"], ["a"], axis=0),
        helper.make_node("Concat", ["width", "height"], ["b"], axis=0),
        helper.make_node("Div", ["a", "b"], ["y"]),
    ]
    numbers = [("one", 1), ("two", 2), ("three", 3)]
    graph = helper.make_graph(
        nodes,
        "ratios",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(np.array([number]), name) for name, number in numbers],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    assert_as_onnxruntime(model, normal(2, 5, 4))


@pytest.mark.parametrize("transform", ["half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("scales", [(0.5, 0.6), (0.3, 1.7)])
def test_antialiased_resize(mode: str, transform: str, scales: tuple[float, float]) -> None:
    weights = [None, np.array([1, 1, *scales], np.float32)]
    model = one_node(
        "Resize",
        (1, 2, 11, 9),
        weights,
        mode=mode,
        coordinate_transformation_mode=transform,
        antialias=1,
    )
    assert_as_onnxruntime(model, normal(1, 2, 11, 9))


#: Nodes of opsets 5 and 6: the operator, its constants, its attributes, and the same of opset 8.
OLD: dict[str, tuple[str, list[Any], dict[str, Any], list[Any], dict[str, Any]]] = {
    "Add": ("Add", [(3,)], {"broadcast": 1, "axis": 1}, [(3, 1, 1)], {}),
    "Mul": ("Mul", [(3, 4)], {"broadcast": 1, "axis": -3}, [(3, 4, 1)], {}),
    "Sub": ("Sub", [(4, 5)], {"broadcast": 1}, [(4, 5)], {}),
    "Pow": ("Pow", [(2, 3, 4, 5)], {"broadcast": 0}, [(2, 3, 4, 5)], {}),
    "PRelu": ("PRelu", [(3,)], {}, [(3, 1, 1)], {}),
    "Dropout": ("Dropout", [], {"is_test": 1, "ratio": 0.3}, [], {"ratio": 0.3}),
    "Clip": ("Clip", [], {"min": 0.2, "max": 0.5}, [], {"min": 0.2, "max": 0.5}),
    "Softmax": ("Softmax", [], {}, [], {}),
    "BatchNormalization": ("BatchNormalization", [(3,)] * 4, {"is_test": 1}, [(3,)] * 4, {}),
}


@pytest.mark.parametrize("opset", [5, 6])
@pytest.mark.parametrize("name", OLD)
def test_old_operators(name: str, opset: int) -> None:
    kind, shapes, attributes, new_shapes, new_attributes = OLD[name]
    if kind == "BatchNormalization" and opset == 5:
        attributes = attributes | {"consumed_inputs": [0, 0, 0, 1, 1]}
    array = np.abs(normal(2, 3, 4, 5))
    constants = [np.abs(normal(*shape)) for shape in shapes]
    model = one_node(kind, array.shape, list(constants), opset=opset, **attributes)
    newer = [c.reshape(shape) for c, shape in zip(constants, new_shapes, strict=True)]
    expected = run(one_node(kind, array.shape, list(newer), opset=8, **new_attributes), array)
    module = samepad.onnx.load(model)
    np.testing.assert_allclose(
        module(torch.from_numpy(array)).detach(), expected[0], rtol=1e-5, atol=1e-6, strict=True
    )
    assert "notes" not in module.meta


def test_old_casts_tiles_and_upsamples() -> None:
    array = normal(1, 2, 3, 2)
    cast = one_node("Cast", array.shape, [], opset=5, to="INT32")
    cast.graph.output[0].type.tensor_type.elem_type = TensorProto.INT32
    found = samepad.onnx.load(cast)(torch.from_numpy(array))
    np.testing.assert_array_equal(found, array.astype(np.int32), strict=True)
    tile = one_node("Tile", array.shape, [np.float32(3), np.float32(2)], opset=5)
    found = samepad.onnx.load(tile)(torch.from_numpy(array))
    np.testing.assert_array_equal(found, np.tile(array, (1, 1, 3, 1)), strict=True)


def test_training_is_as_in_inference() -> None:
    """The outputs equal those of the same node in inference, and the module says so."""
    array = normal(2, 3, 4)
    statistics: list[Any] = [normal(3), normal(3), normal(3), np.abs(normal(3))]
    options = {"training_mode": 1, "momentum": 0.5}
    training = one_node("BatchNormalization", array.shape, statistics, 15, 3, **options)
    expected = run(one_node("BatchNormalization", array.shape, statistics, 15), array)[0]
    module = samepad.onnx.load(training)
    outputs = module(torch.from_numpy(array))
    np.testing.assert_allclose(outputs[0].detach(), expected, rtol=1e-4, atol=1e-5)
    for found, given in zip(outputs[1:], statistics[2:], strict=True):
        np.testing.assert_array_equal(found, given)
    assert "computed as in inference" in module.meta["notes"]
    assert "computed as in inference" in write_source(module)
