"""How the time grows: with threads, the batch and the size of the image."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from benchmarks.competitors import layer_case
from benchmarks.layers import Layer
from benchmarks.tables import VARIANTS, Settings, Table, Variant
from benchmarks.timing import compare

#: A depthwise layer and a dense one.
LAYERS = [
    Layer(8, 96, (56, 56), 96, (3, 3), (2, 2), 1, 96),
    Layer(8, 64, (56, 56), 128, (3, 3), (2, 2), 1, 1),
]
BATCHES = (1, 2, 4, 8, 16, 32, 64)
SIZES = (14, 28, 56, 112, 224)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """torch's threads, while it lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _grown(variant: Variant, title: str, layers: list[Layer], settings: Settings) -> Table:
    """A table with the time of one output element, which is the same where growth is linear."""
    cases = (layer_case(layer, variant, ("sym", "samepad")) for layer in layers)
    table = compare(f"{title}, {variant.layout}", variant, cases, settings)
    for name in table.competitors:
        table.extra[f"{name}, ns / output"] = {
            str(layer): table.rows[str(layer)][name] / layer.outputs * 1e9 for layer in layers
        }
    return table


def _threads(variant: Variant, settings: Settings) -> Table:
    rows: dict[str, dict[str, float]] = {}
    for number in range(1, min(2, os.cpu_count() or 1) + 1):
        with threads(number):
            cases = (layer_case(layer, variant, ("sym", "samepad")) for layer in LAYERS)
            table = compare(f"{number} thread(s)", variant, cases, settings)
        rows |= {f"{label}, {number} thread(s)": row for label, row in table.rows.items()}
    return Table(f"threads, {variant.layout}", rows)


def scaling(settings: Settings) -> list[Table]:
    """Inference, both layouts."""
    batches = [replace(layer, batch=batch) for layer in LAYERS for batch in BATCHES]
    sizes = [replace(layer, batch=1, size=(size, size)) for layer in LAYERS for size in SIZES]
    return [
        table
        for variant in VARIANTS
        if not variant.training
        for table in (
            _threads(variant, settings),
            _grown(variant, "batches", batches, settings),
            _grown(variant, "sizes", sizes, settings),
        )
    ]
