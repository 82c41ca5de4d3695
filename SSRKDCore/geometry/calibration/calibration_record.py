"""What was calibrated, how well, and what stays assumed: schema ssrkd-calibration/1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from SSRKDCore.geometry.rig import Rig

SCHEMA = "ssrkd-calibration/1"
KINDS = ("ball", "ruler", "object", "pair")


@dataclass(frozen=True)
class CalibrationRecord:
    """One calibration.

    Attributes
    ----------
    kind: one of KINDS.
    images: names of the files.
    measured: the measurement's own values and residuals.
    uncertainty: in words' order: name -> number, with its unit in the name.
    assumed: sentences: what the calibration does not tell and was taken for granted.
    warnings: sentences.
    """

    kind: str
    images: Sequence[str]
    measured: Mapping[str, Any]
    uncertainty: Mapping[str, float]
    assumed: Sequence[str]
    warnings: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """The content of a calibration.json."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "images": [Path(name).name for name in self.images],
            "measured": dict(self.measured),
            "uncertainty": dict(self.uncertainty),
            "assumed": list(self.assumed),
            "warnings": list(self.warnings),
        }


def calibrated_rig(rig: Rig, record: CalibrationRecord) -> Rig:
    """The rig with a calibration among its provenance, those before it kept."""
    # Provenance is free form: what is no list holds no calibrations.
    stated = rig.provenance.get("calibrations")
    earlier = stated if isinstance(stated, list | tuple) else []
    short = {
        "kind": record.kind,
        "images": [Path(name).name for name in record.images],
        "uncertainty": dict(record.uncertainty),
        "assumed": list(record.assumed),
    }
    if "view" in record.measured:
        short["view"] = record.measured["view"]
    return replace(rig, provenance={**rig.provenance, "calibrations": [*earlier, short]})
