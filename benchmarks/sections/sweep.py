"""Layers of published networks and random ones of every kind, so that no kind is slow unseen."""

import statistics
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import samepad
import torch

from benchmarks.competitors import layer_case
from benchmarks.draw import published_windows, swept_layers
from benchmarks.layers import Layer
from benchmarks.sections.pools import window_cases
from benchmarks.tables import VARIANTS, Settings, Table, Variant, geometric_mean
from benchmarks.timing import Case, compare

#: What samepad is measured against: what people write by hand, the same layer with equal pads
#: (another answer), and timm's layer.
AGAINST = ("pad+conv", "sym", "timm")

#: Percentiles of a ratio that are reported; bounds above which layers are counted; how many of the
#: slowest are named.
PERCENTILES = (5, 25, 50, 75, 90, 95, 99)
BOUNDS = (1.1, 1.15, 1.5)
WORST = 10


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


def _cases(layers: Iterable[Layer], variant: Variant, plans: dict[str, str]) -> Iterator[Case]:
    """Yield the layers' cases one after the other, and note in `plans` which plan each runs."""
    for layer in layers:
        # Checking so many layers in float64 would take longer than timing them.
        case = layer_case(layer, variant, (*AGAINST, "samepad"), dtype=torch.float32)
        with torch.set_grad_enabled(variant.training):
            ours: Any = case.modules["samepad"]
            plans[case.label] = samepad.explain(ours, case.input).plan
        yield case


def title(variant: Variant) -> str:
    """Return the title of the table that has every layer's times."""
    return f"sweep, {variant}"


def _convolutions(settings: Settings, variant: Variant) -> list[Table]:
    """All times, their distribution in all and by source, and the worst against padding by hand."""
    sources = swept_layers(settings)
    plans: dict[str, str] = {}
    layers = chain.from_iterable(sources.values())
    table = compare(title(variant), variant, _cases(layers, variant, plans), settings)
    table.reported = False
    distributions = {}
    for name in AGAINST:
        ratios = table.ratios("samepad", name)
        distributions[name] = ratios
        for source, those in sources.items():
            labels = set(map(str, those))
            distributions[f"{name}, {len(labels)} {source}"] = {
                label: ratio for label, ratio in ratios.items() if label in labels
            }
    return [table, summary(f"{table.title}: distribution", distributions), worst(table, plans)]


def _windows(settings: Settings, variant: Variant) -> list[Table]:
    """The pools and transposed convolutions of published networks."""
    cases = window_cases(published_windows(settings), variant)
    table = compare(f"sweep, pools and transposed, {variant}", variant, cases, settings)
    ratios = {name: table.ratios("samepad", name) for name in ("by hand", "sym")}
    return [table, summary(f"{table.title}: distribution", ratios)]


def sweep(settings: Settings) -> list[Table]:
    """Each variant's distributions, and the layers that are worst against padding by hand."""
    return [
        table
        for of_kind in (_convolutions, _windows)
        for variant in VARIANTS
        for table in of_kind(settings, variant)
    ]
