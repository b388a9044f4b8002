"""Replacing layers of an existing model by samepad's.

`converting` goes through the model; `same_layers` and `parents` find what is padded as SAME;
`checking` compares the old with the new.
"""

from samepad.conversion.converting import convert
from samepad.conversion.registry import register_conversion
from samepad.conversion.report import ConversionReport, LayerReport

__all__ = ["ConversionReport", "LayerReport", "convert", "register_conversion"]
