"""The benchmarks' machinery; nothing is timed that a test would compare."""

from dataclasses import replace

import pytest
import torch

from benchmarks.checks import WrongOutputError
from benchmarks.competitors import MODULES, PadConv2d, layer_case
from benchmarks.layers import Layer, read_layers
from benchmarks.report import markdown
from benchmarks.sections.memory import saved_bytes
from benchmarks.tables import VARIANTS, Settings, Table, Variant
from benchmarks.targets import TARGETS, Target, evaluate
from benchmarks.timing import compare, interleaved

LAYER = Layer(2, 4, (8, 9), 4, (3, 3), (2, 2), 1, 4)
TARGET = Target("made up", ("speed",), 0.5, 0.9, rows="depthwise")


def outcome(first: float, second: float, target: Target = TARGET) -> bool | None:
    rows = {
        "a depthwise": {"sym": 2.0, "samepad": 2.0 * first},
        "b depthwise": {"sym": 4.0, "samepad": 4.0 * second},
        "dense": {"sym": 1.0, "samepad": 9.0},
    }
    return evaluate(
        target, [Table("speed", rows), Table("other", {"depthwise": rows["dense"]})]
    ).met


def test_targets_bound_the_mean_and_the_worst() -> None:
    assert outcome(0.25, 0.9) is True
    assert outcome(0.25, 0.91) is False  # the worst
    assert outcome(0.6, 0.6) is False  # the mean
    assert outcome(0.25, 0.91, replace(TARGET, worst=None)) is True
    assert outcome(0.25, 0.25, replace(TARGET, rows="")) is False  # of all rows, the dense one's
    assert outcome(0.25, 0.25, replace(TARGET, tables=("not made",))) is None
    assert outcome(0.25, 0.25, replace(TARGET, against="timm")) is None


def test_every_target_is_reported() -> None:
    rows = {"depthwise": {"sym": 1.0, "timm": 2.0, "samepad": 1.2}}
    text = markdown({}, [Table(str(VARIANTS[0]), rows)])
    lines = text.split("### Targets")[1].split("###")[0].splitlines()
    assert len([line for line in lines if line.startswith("| ")]) == len(TARGETS) + 2
    assert sum("**not met**" in line for line in lines) == 3  # NCHW, depthwise, timm


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_competitors_agree_and_are_timed(variant: Variant) -> None:
    table = compare("layers", variant, [layer_case(LAYER, variant, MODULES)], Settings(seconds=0))
    assert table.competitors == list(MODULES)
    assert all(value > 0 for value in table.rows[str(LAYER)].values())


@pytest.mark.parametrize("training", [False, True])
def test_wrong_competitors_are_refused(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symmetric padding gives outputs of the same size, one pixel off."""
    monkeypatch.setitem(MODULES, "timm", MODULES["sym"])
    with pytest.raises(WrongOutputError, match=r"^timm on .*, output: off by"):
        layer_case(LAYER, Variant(training=training), ("sym", "timm"))


def test_wrong_gradients_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Detached(PadConv2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(0.5 * input + 0.5 * input.detach())

    def detached(layer: Layer) -> Detached:
        return Detached(*layer.arguments, **layer.options)

    monkeypatch.setitem(MODULES, "samepad", detached)
    with pytest.raises(WrongOutputError, match=r"^samepad on .*, gradient: off by"):
        layer_case(LAYER, Variant(training=True), ("sym", "samepad"))


def test_saved_bytes_count_the_padded_copy() -> None:
    case = layer_case(LAYER, Variant(), ("sym", "pad+conv", "samepad"))
    saved = {name: saved_bytes(module, case.input) for name, module in case.modules.items()}
    assert saved["sym"] == 4 * (case.input.numel() + 4 * 9)
    assert saved["samepad"] == saved["sym"] < saved["pad+conv"]


def test_all_runs_have_their_turn() -> None:
    calls: list[str] = []
    runs = {name: lambda name=name: calls.append(name) for name in "ab"}
    assert set(interleaved(runs, seconds=0)) == {"a", "b"}
    assert calls.count("a") == calls.count("b")


def test_layers_work() -> None:
    """Elements and products, counted by hand."""
    assert LAYER.output_shape == (2, 4, 4, 5)
    assert LAYER.elements == 2 * 4 * 8 * 9 + 4 * 9 + 2 * 4 * 4 * 5
    assert LAYER.flops == 2 * (2 * 4 * 4 * 5) * 9
    assert len(read_layers()) == 17
