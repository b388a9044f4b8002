"""The report of `optimize_for_inference`."""

from dataclasses import dataclass

import torch

from samepad.conversion.report import ConversionReport


@dataclass(frozen=True)
class InferenceReport(ConversionReport):
    """What `optimize_for_inference` did, layer by layer. `print` it for a table.

    Each entry of `layers` has the name of a convolution or normalization, the chain of layers that
    began with it, and the class that computes the chain now.
    """

    #: The order in memory that the copy computes in.
    memory_format: torch.memory_format
    #: How long the original and the copy took on the example inputs, in seconds, the shortest of a
    #: few runs; of the copy for each memory format that was tried.
    seconds: dict[str, float]
    #: Largest difference of the outputs from the original's, relative to their largest element.
    difference: float

    def __str__(self) -> str:
        """A line of totals, then one line per layer, then times and the largest difference."""
        times = ", ".join(f"{name} {1e3 * time:.2f} ms" for name, time in self.seconds.items())
        return "\n".join(
            [
                super().__str__(),
                f"memory format: {str(self.memory_format).removeprefix('torch.')}",
                f"times on the example inputs: {times}",
                f"largest difference of outputs, relative: {self.difference:.1e}",
            ]
        )
