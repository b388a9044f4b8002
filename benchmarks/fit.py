"""Fits the constants of the cost model (csrc/ops/plans/cost.h): `python -m benchmarks.fit`.

Every plan that can run is timed on the layers of the sweep, in one thread. For each variant
(inference or training, NCHW or channels_last) and implementation, the constants are those that make
the relative errors of the estimated times the smallest, none of them negative. They are written
into csrc/ops/plans/cost_constants.h, in the table of the instruction set that this process uses
(ATEN_CPU_CAPABILITY=avx2 and ONEDNN_MAX_CPU_ISA=AVX2 for AVX2). `--bfloat16` measures that type, on
CPUs with AMX or, with ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16, AVX512-BF16.
"""

import argparse
import dataclasses
import json
import re
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import samepad
import torch
from samepad import _C, backends
from scipy.optimize import nnls
from tqdm import tqdm

from benchmarks.competitors import PlannedConv2d
from benchmarks.draw import swept_layers
from benchmarks.layers import Layer
from benchmarks.process import restart_with_settings
from benchmarks.tables import VARIANTS, Settings, Variant, geometric_mean
from benchmarks.timing import Run, interleaved, training_step

HEADER = Path(__file__).parents[1] / "csrc/ops/plans/cost_constants.h"
IMPLEMENTATIONS = 5
#: The last one, products of matrices, computes float32 only.
OF_FLOAT32 = 1

#: The constants of the first implementations, samepad's own kernels, are multiplied by a margin:
#: estimates are off by a quarter, and to miss a small gain costs less than to be slower than
#: PyTorch.
OWN, MARGIN = 2, 1.1

#: One layer in one variant: by plan, the implementation, the amounts of work and the seconds.
Row = dict[str, tuple[int, list[float], float]]


def measure(layer: Layer, variant: Variant, seconds: float) -> Row:
    """Times of all plans that can compute the layer, with what the model knows of them."""
    input = variant.place(torch.randn(layer.input_shape))
    step = training_step if variant.training else partial
    runs: dict[str, Run] = {}
    with torch.set_grad_enabled(variant.training):
        for plan in backends.plans():
            module: Any = variant.place(PlannedConv2d(plan, *layer.arguments, **layer.options))
            with _C._force_plan(plan):
                if samepad.explain(module, input).plan == plan:
                    runs[plan] = step(module, input)
        dilation = (layer.dilation, layer.dilation)
        weight: torch.Tensor = module.weight
        works = _C._works(input, weight, layer.stride, dilation, layer.groups)
        times = interleaved(runs, seconds)
    return {plan: (work, amounts, times[plan]) for plan, work, amounts, _ in works if plan in times}


def fit(amounts: Any, nanoseconds: Any) -> Any:
    """The constants, for amounts (samples, terms) and times (samples)."""
    weights = 1 / nanoseconds
    constants: Any = None
    # Weights of 1 / sqrt(estimate x time) make the squared error close to that of the logarithm. As
    # they depend on the estimates, the fit is repeated.
    for _ in range(20):
        constants, _ = nnls(amounts * weights[:, None], nanoseconds * weights)
        weights = 1 / np.sqrt(np.maximum(amounts @ constants, 1) * nanoseconds)
    return constants


def fitted(rows: list[Row]) -> tuple[Any, list[str]]:
    """A variant's constants by implementation, and what the model makes of the rows."""
    table: Any = np.zeros((IMPLEMENTATIONS, len(next(iter(rows[0].values()))[1])))
    lines = []
    for implementation in range(IMPLEMENTATIONS):
        # Without samples the constants stay zero, and main() refuses to write them.
        samples = [s for row in rows for s in row.values() if s[0] == implementation]
        if samples:
            amounts = np.array([amounts for _, amounts, _ in samples])
            times = np.array([seconds * 1e9 for _, _, seconds in samples])
            table[implementation] = fit(amounts, times)
            errors = np.log(amounts @ table[implementation] / times)
            lines.append(
                f"implementation {implementation}: {len(samples)} times, root mean square of the "
                f"logarithmic error {np.sqrt(np.mean(errors**2)):.2f}"
            )
    table[:OWN] *= MARGIN
    losses = []
    for row in rows:
        if len(row) > 1:
            estimates = {plan: amounts @ table[i] for plan, (i, amounts, _) in row.items()}
            chosen = min(estimates, key=estimates.__getitem__)
            losses.append(row[chosen][2] / min(seconds for _, _, seconds in row.values()))
    losses.sort()
    worse = statistics.fmean(loss > 1.15 for loss in losses)
    lines.append(
        f"chosen plan / fastest plan: geometric mean {geometric_mean(losses):.3f}, above 1.15: "
        f"{worse:.1%}, worst {losses[-1]:.2f}"
    )
    return table, lines


def written(text: str, name: str, tables: list[Any]) -> str:
    """The header with the table `name` replaced."""
    variants = ",\n".join(
        "    {{"
        + ",\n      ".join(
            "{{" + ", ".join(f"{value:.4g}" for value in constants) + "}}" for constants in table
        )
        + "}}"
        for table in tables
    )
    return re.sub(
        rf"(constexpr CostTable {name}){{.*?}};",
        lambda match: f"{match[1]}{{{{\n{variants}\n}}}};",
        text,
        flags=re.DOTALL,
    )


def main() -> None:
    """Measure, fit, report, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit", description=__doc__)
    parser.add_argument("--layers", type=int, default=300, help="default: 300")
    parser.add_argument("--seed", type=int, default=11, help="default: 11")
    parser.add_argument("--seconds", type=float, default=0.05, help="per layer (default: 0.05)")
    parser.add_argument("--bfloat16", action="store_true", help="instead of float32")
    parser.add_argument("--times", type=Path, default=Path("build/fit.json"))
    options = parser.parse_args()
    capability = torch.backends.cpu.get_cpu_capability().capitalize()
    name = _C._bfloat16_costs() if options.bfloat16 else f"k{capability}Costs"
    if name is None:
        parser.error("--bfloat16: this CPU has neither AMX nor AVX512-BF16")
    torch.set_num_threads(1)
    settings = Settings(options.seconds, layers=options.layers, seed=options.seed)
    layers = [layer for source in swept_layers(settings).values() for layer in source]
    tables = []
    measured = {}
    dtype = torch.bfloat16 if options.bfloat16 else torch.float32
    for variant in (dataclasses.replace(variant, dtype=dtype) for variant in VARIANTS):
        rows = [measure(layer, variant, options.seconds) for layer in tqdm(layers, str(variant))]
        measured[str(variant)] = rows
        table, lines = fitted(rows)
        tables.append(table)
        print(variant, *lines, sep="\n  ")
    measurable = IMPLEMENTATIONS - (OF_FLOAT32 if options.bfloat16 else 0)
    if any(not table[:measurable].any(axis=1).all() for table in tables):
        raise SystemExit("too few layers: an implementation was never measured")
    options.times.parent.mkdir(parents=True, exist_ok=True)
    options.times.write_text(json.dumps(measured))
    HEADER.write_text(written(HEADER.read_text(), name, tables))


if __name__ == "__main__":
    restart_with_settings("benchmarks.fit")
    main()
