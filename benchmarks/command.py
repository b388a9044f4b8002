"""The command line: measure, print, write."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.plot import plot, plot_distributions
from benchmarks.process import environment
from benchmarks.report import markdown
from benchmarks.sections import (
    calls,
    compiled,
    layers,
    memory,
    net,
    nets,
    open_sizes,
    pools,
    processes,
    scaling,
    sweep,
    volumes,
)
from benchmarks.tables import VARIANTS, Settings, Table

Section = Callable[[Settings], list[Table]]

#: By name, in the order of the report.
SECTIONS: dict[str, Section] = {
    "inference": layers.inference,
    "training": layers.training,
    "tensorflow": processes.tensorflow,
    "allocator": processes.default_allocator,
    "memory": memory.saved_for_backward,
    "calls": calls.overhead,
    "pools": pools.pools_and_transposed,
    "net": net.efficientnet_lite0,
    "nets": nets.nets,
    "compiled": compiled.compiled,
    "open sizes": open_sizes.open_sizes,
    "bfloat16": layers.bfloat16,
    "scaling": scaling.scaling,
    "sweep": sweep.sweep,
    "volumes": volumes.volumes,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 minutes: layers of batch 1 alone")
    parser.add_argument("--seconds", type=float, help="per row of a table (default: 2, quick 0.1)")
    parser.add_argument("--threads", type=int, help="default: torch's")
    parser.add_argument(
        "--only", action="append", choices=SECTIONS, metavar="SECTION",
        help=f"may be repeated: {', '.join(SECTIONS)}",
    )  # fmt: skip
    parser.add_argument("--layers", type=int, default=60, help="of the sweep (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="of the sweep (default: 1)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("build/bench"),
        help="of the files, without .json, .md and .png or -sweep.png",
    )
    return parser.parse_args()


def main() -> None:
    """Measure the sections, print the tables, write the files."""
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    seconds = options.seconds or (0.1 if options.quick else 2.0)
    settings = Settings(seconds, options.quick, options.layers, options.seed)
    sections = [SECTIONS[name] for name in options.only or SECTIONS]
    described = environment() | asdict(settings)
    tables: list[Table] = []
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for section in tqdm(sections, desc="sections"):
        tables += section(settings)
        # After each section, so that a run that is stopped has measured something.
        figures = {"environment": described, "tables": [asdict(table) for table in tables]}
        options.output.with_suffix(".json").write_text(json.dumps(figures, indent=1))
        options.output.with_suffix(".md").write_text(markdown(described, tables))
    print(markdown(described, tables))
    titles = [str(variant) for variant in VARIANTS]
    if plotted := [table for table in tables if table.title in titles]:
        plot(plotted, options.output.with_suffix(".png"))
    if swept := [table for table in tables if table.title in map(sweep.title, VARIANTS)]:
        plot_distributions(swept, options.output.with_name(f"{options.output.name}-sweep.png"))
