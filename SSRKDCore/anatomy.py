"""The four bones of the knee: labels, names, SNOMED CT codes and colours, said once.

Labels and their order follow Lin et al. (npj Digital Medicine 2026): 0 outside, 1 patella, 2 femur, 3 fibula, 4 tibia.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bone:
    """One bone.

    Attributes
    ----------
    name: lower-case English name, used in file names and reports.
    label: its value in label volumes and its class index in the networks.
    snomed_code, snomed_meaning: SNOMED CT (SCT) code and meaning, as DICOM and Slicer terminologies use them.
    color: red, green, blue in 0..1.
    """

    name: str
    label: int
    snomed_code: str
    snomed_meaning: str
    color: tuple[float, float, float]


BONES: tuple[Bone, ...] = (
    Bone("patella", 1, "64234005", "Patella", (0.94, 0.55, 0.20)),
    Bone("femur", 2, "71341001", "Femur", (0.91, 0.84, 0.68)),
    Bone("fibula", 3, "87342007", "Fibula", (0.56, 0.74, 0.56)),
    Bone("tibia", 4, "12611008", "Tibia", (0.45, 0.62, 0.82)),
)
BONE_NAMES: tuple[str, ...] = tuple(bone.name for bone in BONES)
CLASS_COUNT = len(BONES) + 1
SIDES = ("right", "left")

_BY_NAME = {bone.name: bone for bone in BONES}


def bone(name: str) -> Bone:
    """The bone of that name. Raises KeyError for any other word."""
    return _BY_NAME[name]


def lateral_direction(side: str) -> float:
    """Sign of LPS x (patient's left is positive) that points away from the body's midline: right -1, left +1."""
    return {"right": -1.0, "left": 1.0}[side]
