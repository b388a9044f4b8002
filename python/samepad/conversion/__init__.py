"""Replaces layers of an existing model by samepad's.

`converting` walks through the model, `same_layers` and `parents` find layers that are padded as
SAME, and `checking` compares the old layers with the new ones.
"""

from samepad.conversion.converting import convert
from samepad.conversion.registry import register_conversion
from samepad.conversion.report import ConversionReport, LayerReport

__all__ = ["ConversionReport", "LayerReport", "convert", "register_conversion"]
