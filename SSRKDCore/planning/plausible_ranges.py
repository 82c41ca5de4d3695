"""Values that legs of adults do not have: of the wrong side, of another leg's bone, in another frame, or on a landmark that went astray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from SSRKDCore.planning.measurements import Measurement

#: Measurement -> lowest and highest value, wide of what deformities that are planned on show.
RANGES: dict[str, tuple[float, float]] = {
    "HKA": (150.0, 210.0),
    "mLDFA": (75.0, 105.0),
    "aLDFA": (70.0, 91.0),
    "MPTA": (70.0, 102.0),
    "aMPTA": (73.0, 97.0),
    "aFTA": (155.0, 205.0),
    "JLCA": (-8.0, 8.0),
    "slope_medial": (-5.0, 25.0),
    "slope_lateral": (-5.0, 25.0),
    "tibial_torsion": (-15.0, 70.0),
    "Insall_Salvati": (0.5, 2.0),
    "Caton_Deschamps": (0.4, 1.9),
    "flexion": (-20.0, 150.0),
}
# Across a joint that is bent more, the lines of femur and tibia are not those of a standing leg.
_BENT_DEGREES = 30.0
_ACROSS_THE_JOINT = ("HKA", "MAD", "Fujisawa", "aFTA", "JLCA")


@dataclass(frozen=True)
class Doubt:
    """A value to be checked before it is used: which measurement, a sentence, the value, and the limit that it passes."""

    name: str
    message: str
    value: float
    limit: float


def doubts(measurements: Mapping[str, Measurement]) -> list[Doubt]:
    """What to check before the measurements are used; none where nothing is unusual."""
    found = []
    for name, (low, high) in RANGES.items():
        item = measurements.get(name)
        if item is None or item.value is None or low <= item.value <= high:
            continue
        unit = "" if item.unit == "ratio" else f" {item.unit}"
        message = (
            f"{name} is {item.value:.1f}{unit}, which no adult's leg is expected to have ({low:g} to {high:g}): check the side, that all "
            "bones are of one leg and in LPS, and the landmarks."
        )
        found.append(Doubt(name, message, item.value, low if item.value < low else high))
    bent = measurements.get("flexion")
    if bent is not None and bent.value is not None and bent.value > _BENT_DEGREES:
        across = [name for name in _ACROSS_THE_JOINT if name in measurements and measurements[name].value is not None]
        if across:
            message = (
                f"The knee is bent by {bent.value:.0f} degrees: {', '.join(across)} are measured across it as it lies, and are not those "
                "of a straight leg."
            )
            found.append(Doubt("flexion", message, bent.value, _BENT_DEGREES))
    return found
