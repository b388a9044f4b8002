"""What `convert` says it did."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerReport:
    """What `convert` did with one layer."""

    #: Qualified name, as in `model.named_modules()`; "" is the model itself.
    name: str
    #: Class before.
    before: str
    #: Class now; None where the layer was left as it is.
    after: str | None
    #: What to know about the replacement, or why the layer was left.
    note: str
    #: Whether the layer now computes something else than before, as where that was wrong.
    differs: bool = False


@dataclass(frozen=True)
class ConversionReport:
    """What `convert` did, layer by layer. `print` it for a table."""

    layers: tuple[LayerReport, ...]

    @property
    def replaced(self) -> tuple[LayerReport, ...]:
        """The layers that were replaced."""
        return tuple(layer for layer in self.layers if layer.after is not None)

    @property
    def left(self) -> tuple[LayerReport, ...]:
        """The convolutions and pools that were left as they are."""
        return tuple(layer for layer in self.layers if layer.after is None)

    @property
    def differing(self) -> tuple[LayerReport, ...]:
        """The layers that compute something else than before; their notes say what."""
        return tuple(layer for layer in self.layers if layer.differs)

    def __str__(self) -> str:
        """A line of totals, then a line per layer."""
        rows = [
            (
                "differs" if layer.differs else "replaced" if layer.after else "left",
                layer.name or "(the model)",
                f"{layer.before} -> {layer.after}" if layer.after else layer.before,
                layer.note,
            )
            for layer in self.layers
        ]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
        totals = f"{len(self.replaced)} layers replaced, {len(self.left)} left"
        if self.differing:
            totals += f"; {len(self.differing)} of the new ones differ from the old, see the notes"
        lines = [totals]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            lines.append("  ".join(["", *cells, row[3]]).rstrip())
        return "\n".join(lines)
