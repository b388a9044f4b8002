"""The figures as a picture: every layer's ratios, in inference and training."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.tables import Table

#: By competitor: marker and color; samepad's own stand out.
STYLES = {
    "samepad": ("o", "tab:red"),
    "pad+conv": ("x", "tab:blue"),
    "timm": ("+", "tab:green"),
    "efficientnet-pytorch": ("1", "tab:olive"),
    "keras": ("2", "tab:purple"),
    "onnxruntime": ("d", "tab:orange"),
}


def _panels(tables: list[Table], size: tuple[float, float]) -> tuple[Figure, Any]:
    """Make a figure with a panel for each table, whose horizontal axis is for ratios of times."""
    figure = Figure(figsize=size)
    axes = figure.subplots(1, len(tables), sharex=True, sharey=True, squeeze=False)[0]
    for axis, table in zip(axes, tables, strict=True):
        axis.axvline(1.0, color="gray", linewidth=1)
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:.2g}")
        axis.grid(alpha=0.3)
        axis.set_title(table.title, fontsize=10)
    return figure, axes


def plot(tables: list[Table], file: Path) -> None:
    """A panel for each table, a line for each of its rows; less than 1 is faster than sym."""
    rows = list(tables[0].rows)
    figure, axes = _panels(tables, (3.0 + 3.4 * len(tables), 2.0 + 0.24 * len(rows)))
    for axis, table in zip(axes, tables, strict=True):
        for name, (marker, color) in STYLES.items():
            ratios = table.ratios(name, "sym")
            places = [rows.index(label) for label in ratios]
            axis.plot(list(ratios.values()), places, marker, color=color, label=name)
        axis.set_xlabel("time / sym's")
        axis.tick_params(labelsize=8)
    axes[0].set_yticks(range(len(rows)), rows)
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(STYLES), frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    figure.savefig(file, dpi=120)


def plot_distributions(tables: list[Table], file: Path) -> None:
    """A panel for each table: the share of its layers whose ratio is at most so much."""
    figure, axes = _panels(tables, (4.0 * len(tables), 4.0))
    for axis, table in zip(axes, tables, strict=True):
        for name in table.competitors:
            if name != "samepad":
                ratios = sorted(table.ratios("samepad", name).values())
                shares = [(i + 1) / len(ratios) for i in range(len(ratios))]
                axis.step(ratios, shares, where="post", label=f"samepad / {name}")
        axis.set_xlabel("ratio of times")
    axes[0].set_ylabel("share of layers")
    axes[0].legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(file, dpi=120)
