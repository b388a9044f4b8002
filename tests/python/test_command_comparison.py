"""How `python -m samepad convert` compares a model with its module."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import samepad.onnx
import torch
from keras import layers
from samepad import __main__ as command
from samepad import _comparison, _files


def saved(folder: Path, text: str, opset: int = 19, **weights: Any) -> Path:
    """Write a model, given in onnx's text notation and with these initializers, to a file."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]> {text}')
    for name, value in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    file = folder / "model.onnx"
    onnx.save(model, file)
    return file


def convert(file: Path, *options: str) -> int:
    return command.main(["convert", str(file), "-o", str(file.with_suffix(".py")), *options])


def weight(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def damaged(factor: float) -> Any:
    """Return a samepad.onnx.load that multiplies all parameters and constants by `factor`."""
    load = samepad.onnx.load

    def other(proto: Any) -> Any:
        module = load(proto)
        with torch.no_grad():
            for tensor in (*module.parameters(), *module.buffers()):
                if tensor.dim() > 1:
                    tensor.mul_(factor)
        return module

    return other


#: ONNX Runtime's sigmoid is 0 below -18, which the functions below make visible.
LOW = "h = MatMul(x, w) k = Constant<value = float {-60}>() l = Add(h, k) s = Sigmoid(l)"
IMPRECISE = {
    "small": "y = Identity(s)",
    "scaled": "f = Constant<value = float {1e20}>() y = Mul(s, f)",
    "infinite": "y = Log(s)",
}
#: The digits of such a sine depend on the order of the additions before it.
ILL_CONDITIONED = "h = MatMul(x, w) f = Constant<value = float {5e4}>() g = Mul(h, f) y = Sin(g)"


def low(tail: str) -> str:
    return f"net (float[n, 8] x) => (float[n, 4] y) {{ {LOW} {IMPRECISE[tail]} }}"


@pytest.mark.parametrize("tail", IMPRECISE)
def test_what_the_other_runtime_cannot_compute(
    tail: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(saved(tmp_path, low(tail), w=weight(8, 4))) == 0
    printed = capsys.readouterr().out
    assert "difference from the module in float64: of the module " in printed
    assert "so the module is right" in printed


@pytest.mark.parametrize("tail", IMPRECISE)
def test_a_wrong_module_is_as_close_to_its_own_float64(
    tail: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not close to the model in float64, however, and so is refused."""
    monkeypatch.setattr(samepad.onnx, "load", damaged(1.01))
    assert convert(saved(tmp_path, low(tail), w=weight(8, 4))) == 1
    assert "nothing is written" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx"]


@pytest.mark.parametrize(("factor", "options", "status"), [
    (-3.0, [], 1), (1.0, [], 1), (1.0, ["--atol=1e-6"], 0), (1.0, ["--input-range=12,16"], 0),
])  # fmt: skip
def test_outputs_too_small_to_tell(
    factor: float,
    options: list[str],
    status: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing computes the model in float64, and a wrong module's outputs are as small."""
    monkeypatch.setattr(_files, "_evaluator", None)
    monkeypatch.setattr(samepad.onnx, "load", damaged(factor))
    text = f"net (float[n, 8] x) => (float[n, 4] y) {{ {LOW} y = Identity(s) }}"
    assert convert(saved(tmp_path, text, w=abs(weight(8, 4))), *options) == status
    assert ("too small to tell whether the module is right" in capsys.readouterr().out) == status


#: Models with the weight w whose outputs depend on the order of additions, and the sizes of w: a
#: sine of large numbers, and numbers so close to an integer that they become different ones.
SENSITIVE = {
    "sine": (f"net (float[n, 512] x) => (float[n, 4] y) {{ {ILL_CONDITIONED} }}", (512, 4)),
    "integers": (
        "net (float[400, 256] x) => (int64[400, 64] y) { h = MatMul(x, w) s = Sigmoid(h)"
        " f = Constant<value = float {2000}>() g = Mul(s, f) y = Cast<to = 7>(g) }",
        (256, 64),
    ),
}


@pytest.mark.parametrize("in_double", [True, False])
@pytest.mark.parametrize("factor", [1.0, 1.01])
@pytest.mark.parametrize("kind", SENSITIVE)
def test_ill_conditioned_models(
    kind: str,
    factor: float,
    in_double: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If nothing computes the model in float64, both runtimes' rounding has to be similar."""
    if not in_double:
        monkeypatch.setattr(_files, "_evaluator", None)
    monkeypatch.setattr(samepad.onnx, "load", damaged(factor))
    text, sizes = SENSITIVE[kind]
    assert convert(saved(tmp_path, text, w=weight(*sizes))) == (factor != 1)
    said = "difference from the model in float64" if in_double else "cannot be computed in float64"
    printed = capsys.readouterr().out
    assert said in printed
    assert "difference from the module in float64" in printed
    assert ("so the module is right" in printed) == (factor == 1)


@pytest.mark.parametrize("factor", [1.0, 1.01])
def test_float64_of_keras(
    factor: float,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nested models and adapted layers are computed in float64 too."""
    converted = _files.converted

    def other(model: Any, layout: Any) -> Any:
        made = converted(model, layout)
        with torch.no_grad():
            made.module.get_parameter("last.weight").mul_(factor)
        return made

    monkeypatch.setattr(_files, "converted", other)
    keras.utils.set_random_seed(0)
    adapted = layers.Normalization()
    adapted.adapt(np.random.default_rng(0).random((9, 512)))
    dense = layers.Dense(4)
    inner = keras.Sequential([layers.Input((512,)), layers.Rescaling(1.0, offset=1e5), dense])
    kernel = dense.kernel.numpy()
    dense.kernel.assign(kernel - kernel.mean(0))  # the offset cancels out, not its rounding
    given = layers.Input((512,))
    file = tmp_path / "model.keras"
    keras.Model(given, layers.Dense(3, name="last")(inner(adapted(given)))).save(file)
    assert convert(file) == (factor != 1)
    printed = capsys.readouterr().out
    assert "Keras on tensorflow" in printed
    assert "difference from the model in float64" in printed


def test_tolerances(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samepad.onnx, "load", damaged(1.001))
    file = saved(
        tmp_path, "net (float[n, 8] x) => (float[n, 4] y) { y = MatMul(x, w) }", w=weight(8, 4)
    )
    for options in ([], ["--rtol", "1e-5"], ["--atol", "1e-5"], ["--atol=1e-5", "--rtol=1e-5"]):
        assert convert(file, *options) == 1
    assert "--rtol and --atol" in capsys.readouterr().err
    for options in (["--rtol", "2e-3"], ["--atol", "0.1"], ["--atol", "0.1", "--rtol", "0"]):
        assert convert(file, *options, "--force") == 0
    for wrong in ("-1", "nan", "x"):
        with pytest.raises(SystemExit):
            convert(file, f"--rtol={wrong}")


@pytest.mark.parametrize("kind", ["float16", "double"])
def test_types_that_runtimes_compute_otherwise(kind: str, tmp_path: Path) -> None:
    """ONNX Runtime computes half in single precision, and has no convolution in double."""
    text = (
        f"net ({kind}[n, 3, 9, 9] x) => ({kind}[n, 8, 5, 5] y)"
        '{ h = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(x, w) y = Relu(h) }'
    )
    dtype = {"float16": np.float16, "double": np.float64}[kind]
    assert convert(saved(tmp_path, text, w=weight(8, 3, 3, 3).astype(dtype))) == 0


def test_types_that_numpy_has_not(tmp_path: Path) -> None:
    text = "net (bfloat16[n, 3] x) => (bfloat16[n, 3] y) { y = Relu(x) }"
    assert convert(saved(tmp_path, text)) == 0


def test_without_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evaluator's own BatchNormalization uses the batch's statistics, even in inference."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    text = "net (float[n, 3, 5] x) => (float[n, 3, 5] y) { y = BatchNormalization(x, s, b, m, v) }"
    values = {name: np.arange(1, 4, dtype=np.float32) for name in "sbmv"}
    assert convert(saved(tmp_path, text, 12, **values)) == 0


def test_infinities_and_what_is_no_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = "net (float[n] x) => (float[n] y) { h = Constant<value = float {0.5}>() d = Sub(x, h) "
    assert convert(saved(tmp_path, root + "y = Sqrt(d) }")) == 0  # half of the inputs give NaN
    assert convert(saved(tmp_path, root + "z = Relu(d) y = Log(z) }"), "--force") == 0
    file = saved(tmp_path, root + "r = Relu(x) n = Neg(r) l = Sub(n, h) y = Log(l) }")
    assert convert(file, "--force") == 1
    assert "output 0 has no finite number" in capsys.readouterr().err
    assert convert(file, "--force", "--input-range=-9,-1") == 1
    values = [torch.tensor([1.0, float("nan"), float("inf")])]
    for other in ([1.0, 2.0, float("inf")], [1.0, float("nan"), float("-inf")]):
        assert _comparison._differences(values, [np.array(other)])[0][0] == float("inf")


def drawn(file: Path, *options: Any) -> list[Any]:
    """Return the inputs for which a model is compared."""
    model = _files.OPENERS[file.suffix](file)("torch")
    return _comparison._inputs(model, _comparison.Settings(1e-4, 0.0, *options))[0]


def test_integers_are_from_as_wide_a_range_as_is_taken(tmp_path: Path) -> None:
    text = (
        "net (int64[n, t] a, int32[n, t] b, int64[2] sizes, uint8[n, t] c, bool[n] d)"
        "=> (float[n, t, 2] y, float[n, t, 2] z, float[u, v] s, float[n, t] e, bool[n] f)"
        "{ y = Gather(large, a) z = Gather(small, b) s = ConstantOfShape(sizes) "
        "e = Cast<to = 1>(c) f = Not(d) }"
    )
    a, b, sizes, c, _ = drawn(saved(tmp_path, text, large=weight(300, 2), small=weight(7, 2)))
    assert a.max() > 200
    assert 2 < b.max() < 7
    assert 1 < sizes.max() < 16
    assert c.max() > 200
    file = tmp_path / "embedding.keras"
    keras.Sequential([layers.Input((64,), dtype="int32"), layers.Embedding(9, 2)]).save(file)
    assert 2 < drawn(file)[0].max() < 9


def test_ranges_that_are_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "net (float[n, 99] x, uint8[n, 99] i) => (float[n, 99] y, uint8[n, 99] j)"
    file = saved(tmp_path, text + "{ y = Relu(x) j = Identity(i) }")
    for ranges in ([(3.0, 5.0)], [(-2.0, -1.0), (7.5, 9.5)]):
        for array, (lowest, highest) in zip(drawn(file, None, ranges), ranges * 2, strict=False):
            assert lowest <= array.min() < array.max() <= highest
    assert convert(file, "--input-range=-1,1", "--input-range", "0,255") == 0
    for wrong, message in (
        (["--input-range=-1,1"], "does not fit the input i, which is of uint8"),
        (["--input-range=0,256"], "does not fit the input i"),
        (["--input-range=0.2,0.8"], "does not fit the input i"),
        (["--input-range=0,1"] * 3, "3 input ranges are given, but the model has 2"),
    ):
        assert convert(file, *wrong, "--force") == 1
        assert message in capsys.readouterr().err
    for usage in ("1,0", "1", "a,b", "0,inf", "nan,1"):
        with pytest.raises(SystemExit):
            convert(file, f"--input-range={usage}")


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        (  # the state's shape determines the batch, as in published models for speech
            "net (float[t, n, 4] x, float[1, 3, 5] h) => (float[t, 1, n, 5] y)"
            "{ y = GRU<hidden_size = 5>(x, w, r, , , h) }",
            [(2, 3, 4), (1, 3, 5)],
        ),
        (
            "net (float[n, t, 4] x, float[1, 7, 1] m) => (float[n, t, 4] y) { y = Mul(x, m) }",
            [(2, 7, 4), (1, 7, 1)],
        ),
        (  # two inputs determine two open sizes
            "net (float[n, t] x, float[3, 4] a, float[7, 5] b) => (float[3, 5] y)"
            "{ p = Transpose(x) q = MatMul(a, c) z = Add(q, x) y = MatMul(z, b) }",
            [(3, 7), (3, 4), (7, 5)],
        ),
        (  # sizes of one name are equal, whichever comes first
            "net (float[2, n, 4] h, float[n, t] x) => (float[2, n, 4] y, float[n, t] z)"
            "{ y = Relu(h) z = Relu(x) }",
            [(2, 2, 4), (2, 64)],
        ),
        (  # the graph itself requires one size of the batch
            "net (float[n, 4] x) => (float[1, 2, 2] y) { y = Reshape(x, s) }",
            [(1, 4)],
        ),
    ],
)
def test_open_sizes_that_the_graph_fixes(
    text: str, shapes: list[tuple[int, ...]], tmp_path: Path
) -> None:
    weights = {"w": weight(1, 15, 4), "r": weight(1, 15, 5), "c": weight(4, 7)}
    used = {name: value for name, value in weights.items() if f" {name}" in text}
    file = saved(tmp_path, text, **used, **({"s": np.array([1, 2, 2])} if ", s)" in text else {}))
    assert [array.shape for array in drawn(file)] == shapes
    assert convert(file) == 0


def test_a_module_that_fixes_what_the_model_leaves_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other sizes are tried only if the model does not run, not if the module does not."""

    class One(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.reshape(1, 4)

    traced = torch.fx.symbolic_trace(One())
    monkeypatch.setattr(samepad.onnx, "load", lambda _: traced)
    file = saved(tmp_path, "net (float[n, 4] x) => (float[n, 4] y) { y = Identity(x) }")
    assert convert(file) == 1
    assert "the module cannot run on input of shape (2, 4)" in capsys.readouterr().err


def test_batches_that_one_of_keras_inputs_fixes(tmp_path: Path) -> None:
    state, given = layers.Input(batch_shape=(3, 4)), layers.Input((4,))
    file = tmp_path / "model.keras"
    keras.Model([given, state], layers.Add()([given, state])).save(file)
    assert [array.shape for array in drawn(file)] == [(3, 4), (3, 4)]


def test_shapes_of_scalars(tmp_path: Path) -> None:
    text = "net (float[n, 4] x, float s) => (float[n, 4] y) { y = Mul(x, s) }"
    assert convert(saved(tmp_path, text), "--input-shape", "3,4", "--input-shape", "") == 0
