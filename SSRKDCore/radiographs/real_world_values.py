"""Line integrals inside a DX object: what its stored pixel values stand for, said in a standard way.

A DX image must state a rescale slope of 1 and an intercept of 0 (PS3.3 C.8.11.3), so a scale cannot go there. The Real
World Value Mapping (PS3.3 C.7.6.16.2.11) exists for it: real value = slope x stored value + intercept, with a unit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

LINE_INTEGRAL_LABEL = "LINE_INTEGRAL"


def line_integral_mapping(slope: float, intercept: float, first: int, last: int) -> Dataset:
    """The mapping item: line integral -log(I/I0) = slope x stored value + intercept, for stored values first..last."""
    from pydicom.dataset import Dataset

    unit = Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "1", "UCUM", "no units"
    item = Dataset()
    item.add_new("RealWorldValueFirstValueMapped", "US", first)
    item.add_new("RealWorldValueLastValueMapped", "US", last)
    item.RealWorldValueIntercept = intercept
    item.RealWorldValueSlope = slope
    item.LUTExplanation = "line integral -log(I/I0)"
    item.LUTLabel = LINE_INTEGRAL_LABEL
    item.MeasurementUnitsCodeSequence = [unit]
    return item


def line_integral_scale(dataset: Dataset) -> tuple[float, float] | None:
    """(slope, intercept) from stored values to line integrals, when the object holds such a mapping, else None."""
    from pydicom.dataset import Dataset as DatasetType

    # pydicom converts values on first access, and a damaged value raises whatever its converter raises.
    try:
        for item in dataset.get("RealWorldValueMappingSequence") or ():
            if isinstance(item, DatasetType) and item.get("LUTLabel") == LINE_INTEGRAL_LABEL:
                slope, intercept = float(item.RealWorldValueSlope), float(item.RealWorldValueIntercept)
                if math.isfinite(slope) and math.isfinite(intercept) and slope != 0:
                    return slope, intercept
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OverflowError):
        return None
    return None
