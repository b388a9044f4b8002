"""The report of `convert`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerReport:
    """What `convert` did with one layer."""

    #: Qualified name, as in `model.named_modules()`; "" is the model itself.
    name: str
    #: Name of the class before.
    before: str
    #: Name of the class now; None if the layer was left as it is.
    after: str | None
    #: A remark about the replacement, or the reason why the layer was left.
    note: str
    #: Whether the new layer's results differ from the old one's, which were then wrong.
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
        """The layers whose results differ from before; their notes say how."""
        return tuple(layer for layer in self.layers if layer.differs)

    def __str__(self) -> str:
        """A line of totals, then one line per layer."""
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
