"""Makes models for inference, in which chains of layers are computed in one pass.

`modules` has the layers, `activations` and `folding` know what they can end with and how batch
normalization becomes part of them. `optimizing` makes the copy of a model: `tracing` finds its
graph, `mutation` turns changes in place into new values and back, `chains` finds what can be fused,
`layout` chooses the order in memory, and `report` tells what was done.
"""

from samepad.inference.modules import FusedConv1d, FusedConv2d, FusedConv3d
from samepad.inference.optimizing import optimize_for_inference
from samepad.inference.report import InferenceReport

__all__ = [
    "FusedConv1d",
    "FusedConv2d",
    "FusedConv3d",
    "InferenceReport",
    "optimize_for_inference",
]
