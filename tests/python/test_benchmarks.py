"""Tests the benchmarks' code; no test depends on a measured time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.checks import WrongOutputError
from benchmarks.competitors import MODULES, PadConv2d, layer_case
from benchmarks.draw import random_layers, swept_layers
from benchmarks.fit import fit, written
from benchmarks.layers import Layer, read_layers, read_networks
from benchmarks.report import markdown
from benchmarks.sections.memory import saved_bytes
from benchmarks.sections.pools import Window, window_cases
from benchmarks.sections.sweep import summary
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
    assert outcome(0.25, 0.91) is False  # the worst layer misses its target
    assert outcome(0.6, 0.6) is False  # the mean misses its target
    assert outcome(0.25, 0.91, replace(TARGET, worst=None)) is True
    assert outcome(0.25, 0.25, replace(TARGET, rows="")) is False  # counts the dense row too
    assert outcome(0.25, 0.25, replace(TARGET, tables=("not made",))) is None
    assert outcome(0.25, 0.25, replace(TARGET, against="timm")) is None
    # The dense row's ratio of 9 is one of three that are above the bound.
    shared = replace(TARGET, rows="", mean=9, worst=9, share=0.33)
    assert outcome(0.25, 0.25, shared) is False
    assert outcome(0.25, 0.25, replace(shared, share=0.34)) is True


def test_every_target_is_reported() -> None:
    rows = {"depthwise": {"sym": 1.0, "timm": 2.0, "samepad": 1.2}}
    text = markdown({}, [Table(str(VARIANTS[0]), rows)])
    lines = text.split("### Targets")[1].split("###")[0].splitlines()
    assert len([line for line in lines if line.startswith("| ")]) == len(TARGETS) + 2
    assert sum("**not met**" in line for line in lines) == 3  # NCHW, depthwise and timm


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_competitors_agree_and_are_timed(variant: Variant) -> None:
    table = compare("layers", variant, [layer_case(LAYER, variant, MODULES)], Settings(seconds=0))
    assert table.competitors == list(MODULES)
    assert all(value > 0 for value in table.rows[str(LAYER)].values())


@pytest.mark.parametrize("training", [False, True])
def test_wrong_competitors_are_refused(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symmetric padding gives outputs of the same size that are one pixel off."""
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
    """The expected numbers of elements and multiplications are counted by hand."""
    assert LAYER.output_shape == (2, 4, 4, 5)
    assert LAYER.elements == 2 * 4 * 8 * 9 + 4 * 9 + 2 * 4 * 4 * 5
    assert LAYER.flops == 2 * (2 * 4 * 4 * 5) * 9
    assert len(read_layers()) == 17


def test_the_cost_models_constants_are_found() -> None:
    """Of times that a model of the same form has made, up to noise."""
    rng = np.random.default_rng(0)
    constants = np.array([2e4, 0.01, 0, 3.0])
    amounts = np.exp(rng.uniform(0, 12, (200, 4))) * [0, 1, 1, 1] + [1, 0, 0, 0]
    times = amounts @ constants * np.exp(rng.normal(0, 0.05, 200))
    found = fit(amounts, times)
    assert found == pytest.approx(constants, rel=0.2, abs=1e-3)


def test_the_cost_models_table_is_written_in_its_place() -> None:
    text = "constexpr CostTable kA{};\nconstexpr CostTable kB{{1}};\n"
    table = np.arange(4.0).reshape(2, 2)
    new = written(text, "kA", [table, table + 0.5])
    assert new.endswith("\nconstexpr CostTable kB{{1}};\n")
    assert "{{2, 3}}" in new
    assert "{{2.5, 3.5}}" in new
    assert written(new, "kA", [table]).count("{{2, 3}}") == 1


def test_sweeps_are_drawn_by_their_seed() -> None:
    first, again, other = (list(random_layers(20, seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert any(layer.depthwise for layer in first)
    assert any(layer.groups == 1 for layer in first)


def test_sweeps_are_of_published_and_of_random_layers() -> None:
    sources = swept_layers(Settings(seconds=0, layers=21, seed=3))
    assert [len(sources[name]) for name in ("published", "random")] == [10, 11]
    known = {row[1:6] for row in read_networks() if row[0] == "convolution"}
    for layer in sources["published"]:
        row = (layer.channels, layer.size, layer.out, layer.kernel, layer.stride)
        assert row in known or (layer.channels, layer.size[1:], layer.out) in {r[:3] for r in known}
    assert {row[0] for row in read_networks()} == {
        "convolution", "transposed", "max pool", "average pool",
    }  # fmt: skip


@pytest.mark.parametrize("kernel", [3, 4, 5])
@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("kind", ["max pool", "average pool", "transposed"])
def test_pools_and_transposed_convolutions_agree(kind: str, kernel: int, stride: int) -> None:
    window = Window(kind, 2, 4, (9, 10), 4, (kernel, kernel), (stride, stride))
    (case,) = window_cases([window], Variant("channels_last", training=True))
    assert set(case.modules) == {"sym", "by hand", "samepad"}


def test_sweeps_are_summarized() -> None:
    ratios = {"pad+conv": {str(i): 0.5 + i / 100 for i in range(101)}}
    (row,) = summary("sweep", ratios).rows.values()
    assert row["50 %"] == pytest.approx(1.0)
    assert row["worst"] == pytest.approx(1.5)
    assert row["share above 1.1"] == pytest.approx(40 / 101)
