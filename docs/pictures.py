"""Draws the pictures of the page on semantics: what each padding adds, and where windows lie.

The amounts come from samepad itself, so that a picture cannot contradict the code.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from samepad import same_padding
from samepad.typing import Mode

INPUT, ADDED, WINDOW = "#9ecae1", "#f4f4f4", "#d9480f"


def draw_cells(
    axes: Axes, y: float, size: int, before: int, after: int, outside: str = "0"
) -> None:
    """Draw a row of elements, numbered from 0, and those before and after them."""
    for x in range(-before, size + after):
        inside = 0 <= x < size
        axes.add_patch(
            Rectangle(
                (x, y),
                1,
                1,
                facecolor=INPUT if inside else ADDED,
                edgecolor="black",
                linestyle="-" if inside else ":",
            )
        )
        axes.text(
            x + 0.5, y + 0.5, str(x) if inside else outside, ha="center", va="center", fontsize=9
        )


def draw_windows(
    axes: Axes, y: float, start: int, count: int, kernel: int, stride: int, dilation: int = 1
) -> float:
    """Draw the windows below each other, a square for each element read; return the last y."""
    for index in range(count):
        y -= 0.55
        first = start + index * stride
        axes.plot(
            [first + 0.5, first + (kernel - 1) * dilation + 0.5], [y, y], color=WINDOW, lw=1.5
        )
        centres = [first + tap * dilation + 0.5 for tap in range(kernel)]
        axes.plot(centres, [y] * kernel, "s", color=WINDOW, ms=6)
    return y


def draw_rows(
    rows: Sequence[tuple[str, int, int]],
    size: int,
    kernel: int,
    stride: int,
    dilation: int = 1,
) -> Figure:
    """Draw one input for each (title, before, after), with all its windows."""
    extent = (kernel - 1) * dilation + 1
    counts = [(size + before + after - extent) // stride + 1 for _, before, after in rows]
    heights = [2.3 + 0.55 * count for count in counts]
    left = max(before for _, before, _ in rows)
    right = max(after for _, _, after in rows)
    width = size + left + right + 6
    figure = Figure(figsize=(0.42 * width, 0.42 * sum(heights)))
    axes = figure.add_axes((0, 0, 1, 1))
    y = 0.0
    for (title, before, after), count, height in zip(rows, counts, heights, strict=True):
        axes.text(-left, y + 1.25, title, fontsize=10)
        draw_cells(axes, y, size, before, after)
        draw_windows(axes, y, -before, count, kernel, stride, dilation)
        y -= height
    axes.set_xlim(-left - 0.5, -left - 0.5 + width)
    axes.set_ylim(y + 1.6, 2.3)
    axes.set_aspect("equal")
    axes.set_axis_off()
    return figure


def amounts(mode: Mode, size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Return how many elements `mode` adds before and after one dimension."""
    ((before, after),) = same_padding((size,), kernel, stride, dilation, mode)
    return before, after


def same_or_symmetric() -> Figure:
    """Draw why padding=1 is no substitute: the same number of outputs, from other elements."""
    return draw_rows(
        [
            ('padding="same"', *amounts("same", 6, 3, 2)),
            ("padding=1, which adds an element that no window reads", 1, 1),
        ],
        size=6,
        kernel=3,
        stride=2,
    )


def modes() -> Figure:
    """Draw each mode for an even kernel, where they all differ."""
    names: tuple[Mode, ...] = ("same", "same_lower", "causal", "valid")
    rows = [(f'padding="{name}"', *amounts(name, 7, 4, 2)) for name in names]
    return draw_rows(rows, size=7, kernel=4, stride=2)


def sizes() -> Figure:
    """Draw that the amounts depend on the size of the input."""
    figure = Figure(figsize=(7, 4.6))
    axes = figure.add_axes((0, 0, 1, 1))
    y = 0.0
    for size in (5, 6, 7, 8):
        before, after = amounts("same", size, 3, 2)
        axes.text(-3.2, y + 0.5, f"n = {size}", va="center", fontsize=10)
        draw_cells(axes, y, size, before, after)
        y = draw_windows(axes, y, -before, -(-size // 2), 3, 2) - 1.6
    axes.set_xlim(-3.5, 11)
    axes.set_ylim(y + 0.9, 1.4)
    axes.set_aspect("equal")
    axes.set_axis_off()
    return figure


def dilated() -> Figure:
    """Draw a dilated kernel, whose elements lie apart."""
    rows = [('padding="same", dilation=2', *amounts("same", 7, 3, 2, 2))]
    return draw_rows(rows, size=7, kernel=3, stride=2, dilation=2)


def transposed() -> Figure:
    """Draw what a transposed convolution adds up, and what SAME crops from it."""
    count, kernel, stride = 4, 3, 2
    full = (count - 1) * stride + kernel
    output = count * stride
    before, after = amounts("same", output, kernel, stride)
    figure = Figure(figsize=(6.5, 3.2))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.text(0, 4.9, f"{count} inputs, each spread over {kernel} elements", fontsize=10)
    for index in range(count):
        y = 4.5 - 0.55 * index
        first = index * stride
        axes.plot([first + 0.5, first + kernel - 0.5], [y, y], color=WINDOW, lw=1.5)
        axes.plot([first + tap + 0.5 for tap in range(kernel)], [y] * kernel, "s", color=WINDOW)
    draw_cells(axes, 1.2, output, before, after, outside="")
    for x in [*range(-before, 0), *range(output, output + after)]:
        axes.plot([x + 0.1, x + 0.9], [1.3, 2.1], color="black", lw=1)
    axes.text(
        0, 0.5, f"{full} sums, of which SAME crops {before} before and {after} after", fontsize=10
    )
    axes.set_xlim(-before - 0.5, 14)
    axes.set_ylim(0, 5.6)
    axes.set_aspect("equal")
    axes.set_axis_off()
    return figure


PICTURES = {
    "same-or-symmetric": same_or_symmetric,
    "modes": modes,
    "sizes": sizes,
    "dilated": dilated,
    "transposed": transposed,
}


def draw_all(folder: Path) -> None:
    """Write all pictures into `folder`, as SVG files that are the same in every build."""
    folder.mkdir(exist_ok=True)
    matplotlib.rcParams["svg.hashsalt"] = "samepad"
    for name, draw in PICTURES.items():
        draw().savefig(folder / f"{name}.svg", metadata={"Date": None}, facecolor="white")
