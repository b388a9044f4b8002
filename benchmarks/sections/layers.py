"""Every layer of layers.json, in inference and training."""

from collections.abc import Iterable
from dataclasses import replace

import torch

from benchmarks.competitors import MODULES, layer_cases
from benchmarks.layers import read_layers
from benchmarks.roofline import add_roofline, measure_peaks
from benchmarks.runtimes import makers
from benchmarks.tables import VARIANTS, Settings, Table, Variant
from benchmarks.timing import compare


def _measure(
    variants: Iterable[Variant], settings: Settings, names: Iterable[str] = tuple(MODULES)
) -> list[Table]:
    layers = read_layers(settings.batches)
    tables = []
    for variant in variants:
        cases = layer_cases(layers, variant, names, makers(variant))
        table = compare(str(variant), variant, cases, settings)
        peaks = measure_peaks(variant.dtype, torch.get_num_threads())
        add_roofline(table, layers, variant, peaks)
        tables.append(table)
    return tables


def inference(settings: Settings) -> list[Table]:
    """Forward calls without gradients, both layouts."""
    return _measure([v for v in VARIANTS if not v.training], settings)


def training(settings: Settings) -> list[Table]:
    """Forward and backward calls, both layouts."""
    return _measure([v for v in VARIANTS if v.training], settings)


def bfloat16(settings: Settings) -> list[Table]:
    """The same in bfloat16."""
    variants = [replace(variant, dtype=torch.bfloat16) for variant in VARIANTS]
    return _measure(variants, settings, ("sym", "pad+conv", "samepad", "timm"))
