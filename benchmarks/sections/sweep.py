"""Random layers of every kind, so that no kind is slow unseen."""

import math
import random
import statistics
from collections.abc import Iterator
from typing import Any

import samepad
import torch

from benchmarks.competitors import layer_case
from benchmarks.layers import Layer, Pair
from benchmarks.tables import VARIANTS, Settings, Table, Variant, geometric_mean
from benchmarks.timing import Case, compare

#: What samepad is measured against: what people write by hand, the same layer with equal pads
#: (another answer), and timm's layer.
AGAINST = ("pad+conv", "sym", "timm")

#: A layer in the sweep: no more multiplications than a large layer of a published network has, and
#: no tensor larger than theirs.
MOST_FLOPS = 3e9
MOST_ELEMENTS = 8e6

#: Percentiles of a ratio that are reported; bounds above which layers are counted; how many of the
#: slowest are named.
PERCENTILES = (5, 25, 50, 75, 90, 95, 99)
BOUNDS = (1.1, 1.15, 1.5)
WORST = 10


def _kernel(rng: random.Random) -> Pair:
    square = rng.choice([1, 2, 3, 3, 3, 4, 5, 5, 7, 7, 9, 11])
    long = rng.choice([3, 5, 7, 9, 15, 31, 41, 80, 200, 400])
    return rng.choice(
        [(square, square)] * 6
        + [(1, square), (square, 1), (rng.choice([3, 5]), rng.choice([1, 3, 7])), (1, long)]
    )


def _size(rng: random.Random, kernel: Pair) -> Pair:
    """Images, mostly; where the kernel is long, sequences or spectrograms."""
    if kernel[1] > 11:
        return rng.choice([(1, 16000), (1, 4000), (264, 172), (64, 400), (1, 1000)])
    side = rng.choice(
        [4, 7, 8, 10, 14, 16, 19, 28, 32, 40, 56, 64, 80, 96, 112, 160, 224, 300, 384]
    )
    return rng.choice(
        [(side, side)] * 5
        + [(side, max(side // 2, 1)), (side, side + rng.randrange(4)), (1, 100 * side)]
    )


def _draw(rng: random.Random) -> Layer:
    kernel = _kernel(rng)
    size = _size(rng, kernel)
    kind = rng.choice(["dense"] * 5 + ["depthwise"] * 3 + ["grouped", "few", "few"])
    channels = rng.choice([8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 480, 672, 960])
    out, groups = rng.choice([8, 16, 32, 64, 96, 128, 256, 512, channels]), 1
    if kind == "few":
        channels, out = rng.choice([1, 1, 2, 3, 3, 4, 6]), rng.choice([8, 16, 32, 48, 64])
    elif kind == "depthwise":
        out, groups = channels * rng.choice([1, 1, 1, 1, 2]), channels
    elif kind == "grouped":
        out, groups = channels, rng.choice([2, 4, 8, channels // 4])
    stride = rng.choice([(1, 1)] * 4 + [(2, 2)] * 4 + [(3, 3), (4, 4), (1, 2), (2, 1), (1, 3)])
    dilation = rng.choice([1] * 7 + [2, 3, 4])
    if kernel[1] > 11:
        stride = (1, rng.choice([1, 2, 3, 5, 10]))
        dilation = rng.choice([1, 1, 1, 4, 10, 25]) if kernel[1] <= 41 else 1
    return Layer(
        rng.choice([1, 1, 2, 4, 8, 16]), channels, size, out, kernel, stride, dilation, groups
    )


def random_layers(count: int, seed: int) -> Iterator[Layer]:
    """Layers of all kinds, of sizes that networks have."""
    rng = random.Random(seed)
    while count > 0:
        layer = _draw(rng)
        extents = [(k - 1) * layer.dilation + 1 for k in layer.kernel]
        # No wider than twice the input, and such that equal pads leave an output.
        sensible = all(
            e <= 2 * n and e <= n + (e - 1) // 2 * 2
            for e, n in zip(extents, layer.size, strict=True)
        )
        # PyTorch writes the gradients of such layers past the end of their memory, and the
        # benchmark would die (docs/pytorch-convolution-faults.md, 6).
        crashes = layer.kernel == (1, 1) != layer.stride and layer.channels // layer.groups < 16
        most = max(math.prod(layer.input_shape), layer.outputs)
        if sensible and not crashes and layer.flops <= MOST_FLOPS and most <= MOST_ELEMENTS:
            count -= 1
            yield layer


def summary(title: str, ratios: dict[str, dict[str, float]]) -> Table:
    """How the ratios to each competitor are distributed.

    Args:
        title: The table's.
        ratios: By competitor and layer.
    """
    rows: dict[str, dict[str, float]] = {}
    for against, of_layers in ratios.items():
        values = sorted(of_layers.values())
        # Each value is given twice, because the quantiles of a single value are not defined.
        places = statistics.quantiles([*values, *values], n=100, method="inclusive")
        rows[f"samepad / {against}"] = {
            "geometric mean": geometric_mean(values),
            **{f"{percent} %": places[percent - 1] for percent in PERCENTILES},
            "worst": values[-1],
            **{f"share above {b}": sum(v > b for v in values) / len(values) for b in BOUNDS},
        }
    return Table(title, rows, "ratio")


def worst(table: Table, plans: dict[str, str]) -> Table:
    """The layers whose ratio to padding by hand is the largest, and their plans."""
    ratios = table.ratios("samepad", "pad+conv")
    labels = sorted(ratios, key=lambda label: -ratios[label])[:WORST]
    rows = {f"{label} ({plans[label]})": table.rows[label] for label in labels}
    return Table(f"{table.title}: the worst", rows, table.unit)


def _cases(settings: Settings, variant: Variant, plans: dict[str, str]) -> Iterator[Case]:
    """Yield the layers' cases one after the other, and note in `plans` which plan each runs."""
    for layer in random_layers(settings.layers, settings.seed):
        # Checking so many layers in float64 would take longer than timing them.
        case = layer_case(layer, variant, (*AGAINST, "samepad"), dtype=torch.float32)
        with torch.set_grad_enabled(variant.training):
            ours: Any = case.modules["samepad"]
            plans[case.label] = samepad.explain(ours, case.input).plan
        yield case


def title(variant: Variant) -> str:
    """Return the title of the table that has every layer's times."""
    return f"sweep, {variant}"


def sweep(settings: Settings) -> list[Table]:
    """Each variant's distribution, and the layers that are worst against padding by hand."""
    tables = []
    for variant in VARIANTS:
        plans: dict[str, str] = {}
        cases = _cases(settings, variant, plans)
        table = compare(title(variant), variant, cases, settings)
        table.reported = False
        ratios = {name: table.ratios("samepad", name) for name in AGAINST}
        tables += [table, summary(f"{table.title}: distribution", ratios), worst(table, plans)]
    return tables
