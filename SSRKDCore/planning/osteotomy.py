"""Parameters of a high tibial osteotomy (HTO) by name, with their defaults and where these come from.

Sources
-------
Fujisawa et al. 1979: Fujisawa Y, Masuhara K, Shiomi S. The effect of high tibial osteotomy on osteoarthritis of the knee. Orthop Clin
    North Am 10(3). The mechanical axis is aimed at 62 to 62.5 % of the plateau's width, from medial, in the practice that follows it.
Miniaci et al. 1989: Miniaci A, Ballmer FT, Ballmer PM, Jakob RP. Proximal tibial osteotomy. A new fixation device. Clin Orthop 246.
Lobenhoffer and Agneskirchner 2003: Improvements in surgical technique of valgus high tibial osteotomy. Knee Surg Sports Traumatol
    Arthrosc 11(3). Medial opening wedge with a lateral hinge and an ascending second cut behind the tubercle.
Han et al. 2013: Han SB, Lee DH, Shetty GM et al. A "safe zone" in medial open-wedge high tibia osteotomy to prevent lateral cortex
    fracture. Knee Surg Sports Traumatol Arthrosc 21(1). The hinge lies at the level of the fibular head.
Coventry 1965: Osteotomy of the upper portion of the tibia for degenerative arthritis of the knee. J Bone Joint Surg Am 47.
    Lateral closing wedge above the tubercle.
"Practice" marks a usual value without a single source; set it to what you use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.planning.named_dimensions import check_dimensions, dimension, from_mapping, optional_dimension

MEDIAL_OPENING, LATERAL_CLOSING = "medial-opening", "lateral-closing"
KINDS = (MEDIAL_OPENING, LATERAL_CLOSING)

#: Where the usual values of the two kinds differ.
_CLOSING_DEFAULTS: Mapping[str, float] = {
    "hinge_to_cortex_mm": 5.0,
    "hinge_below_plateau_mm": 25.0,
    "entry_below_plateau_mm": 20.0,
}


@dataclass(frozen=True)
class OsteotomyParameters:
    """Every dimension of the cut; degrees or mm as the name says. Raises InputError for a value out of its range.

    The hinge's cortex is the lateral one of an opening wedge and the medial one of a closing wedge; the entry lies on the other.
    """

    kind: str = MEDIAL_OPENING
    hinge_to_cortex_mm: float = dimension(
        10.0, 1.0, 40.0, "bone left between the hinge and its cortex (practice; 5 for a closing wedge)"
    )
    hinge_below_plateau_mm: float = dimension(
        15.0, 1.0, 60.0, "height of the hinge below the plateau of its side (Han et al. 2013; 25 for a closing wedge)"
    )
    entry_below_plateau_mm: float = dimension(
        35.0, 5.0, 80.0, "height of the entry below the plateau of its side (practice; 20 for a closing wedge)"
    )
    hinge_tilt_degrees: float | None = optional_dimension(
        -10.0, 30.0, "posterior tilt of the hinge axis and of the cut (default: mean slope of both plateaus)"
    )
    hinge_rotation_degrees: float = dimension(
        0.0, -45.0, 45.0, "turn of the hinge axis about the tibia's axis, its front end to lateral"
    )
    biplanar: bool = True
    ascending_angle_degrees: float = dimension(
        130.0,
        90.0,
        150.0,
        "angle between the main and the ascending cut (practice: 110 to 135; a steeper one ends nearer the joint)",
    )
    tubercle_thickness_mm: float = dimension(
        12.0, 5.0, 30.0, "thickness of the tubercle fragment from its front at the main cut (practice)"
    )

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"The osteotomy {self.kind!r} is not known: use {' or '.join(KINDS)}.")
        if self.biplanar and self.kind == LATERAL_CLOSING:
            raise InputError("A biplanar cut is planned for a medial opening wedge only: leave it out.")
        check_dimensions(self)

    @classmethod
    def usual(cls, kind: str, **changed: Any) -> OsteotomyParameters:
        """The usual values of a kind of osteotomy, some of them changed."""
        values: dict[str, Any] = {"kind": kind, "biplanar": kind == MEDIAL_OPENING}
        values |= _CLOSING_DEFAULTS if kind == LATERAL_CLOSING else {}
        return cls(**(values | changed))

    @classmethod
    def from_dict(cls, values: Any) -> OsteotomyParameters:
        """From JSON. Raises InputError."""
        parameters: OsteotomyParameters = from_mapping(cls, values, "The plan")
        return parameters

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
