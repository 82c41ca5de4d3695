"""Dimensions of a cutting guide by name.

All defaults are from practice with printed guides (laser-sintered polyamide or resin) and common instruments: oscillating saw
blades of 1.0 to
1.3 mm, K-wires of 2.0 to 2.5 mm, walls of at least 2 mm. That a wire at the hinge protects it: Donnez et al. (J Exp Orthop 5(1), 2018).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from SSRKDCore.errors import InputError
from SSRKDCore.planning.named_dimensions import check_dimensions, dimension, from_mapping


@dataclass(frozen=True)
class GuideParameters:
    """Every dimension of the guide; mm or degrees as the name says. Raises InputError for a value out of its range, or for a
    combination without room.
    """

    clearance_mm: float = dimension(
        0.2, 0.0, 1.0, "designed gap between the guide and the bone, for printing tolerance"
    )
    thickness_mm: float = dimension(5.0, 2.0, 12.0, "of the body, away from the bone")
    contact_above_cut_mm: float = dimension(11.0, 3.0, 30.0, "how far the contact patch reaches above the cut")
    contact_below_cut_mm: float = dimension(19.0, 6.0, 50.0, "how far the contact patch reaches below the cut")
    slot_thickness_mm: float = dimension(1.4, 0.6, 4.0, "of the saw slot: blade and play")
    slot_width_mm: float = dimension(22.0, 8.0, 60.0, "of the saw slot, across the blade")
    slot_wall_mm: float = dimension(3.0, 1.5, 8.0, "material above, below and beside the slot")
    guiding_depth_mm: float = dimension(14.0, 5.0, 30.0, "way of the blade in the slot before it meets the bone")
    wire_diameter_mm: float = dimension(2.4, 1.0, 4.0, "of the K-wires")
    wire_play_mm: float = dimension(0.2, 0.0, 1.0, "by which a hole is wider than its wire")
    wire_wall_mm: float = dimension(2.5, 1.0, 6.0, "material around a hole")
    wire_guiding_length_mm: float = dimension(11.0, 4.0, 30.0, "of a hole, from the bone outwards")
    wire_below_cut_mm: float = dimension(
        12.0, 4.0, 40.0, "distance of the two fixing wires below the cut, parallel to it"
    )
    wire_spacing_mm: float = dimension(18.0, 6.0, 60.0, "between the two fixing wires")
    hinge_wire_above_cut_mm: float = dimension(
        7.0, 3.0, 25.0, "where the wire to the hinge enters the bone, above the cut"
    )
    fillet_mm: float = dimension(2.0, 0.0, 5.0, "radius of inner corners, where parts of the guide meet")
    edge_radius_mm: float = dimension(1.5, 0.0, 4.0, "radius of outer edges")
    corner_radius_mm: float = dimension(5.0, 1.0, 15.0, "radius of the patch's corners")
    tubercle_distance_mm: float = dimension(
        10.0, 0.0, 40.0, "of the patch to the tubercle: room for the patellar tendon"
    )
    joint_distance_mm: float = dimension(8.0, 0.0, 40.0, "of the patch below the plateau")
    steepest_contact_degrees: float = dimension(
        62.0, 30.0, 85.0, "largest angle between the bone's normal and the seating direction in the patch"
    )
    front_degrees: float = dimension(
        35.0, 0.0, 80.0, "where on the bone: 0 at the side, 90 in front; the patch then takes the place that has room"
    )
    least_wall_mm: float = dimension(1.5, 0.5, 5.0, "wall thinner than this is reported")
    voxel_mm: float = dimension(
        0.5, 0.25, 1.0, "grid on which the rounded body is made; contact, slot and holes are exact"
    )

    def __post_init__(self) -> None:
        check_dimensions(self)
        hole = (self.wire_diameter_mm + self.wire_play_mm) / 2
        room = hole + self.slot_thickness_mm / 2 + self.least_wall_mm
        for name in ("wire_below_cut_mm", "hinge_wire_above_cut_mm"):
            if getattr(self, name) < room:
                raise InputError(f"{name} leaves no wall between wire and slot: use at least {room:.1f} mm.")
        if self.wire_spacing_mm < 2 * hole + self.least_wall_mm:
            raise InputError("wire_spacing_mm leaves no wall between the two wires: enlarge it.")
        if self.wire_below_cut_mm + hole + self.wire_wall_mm > self.contact_below_cut_mm:
            raise InputError("The fixing wires lie below the contact patch: enlarge contact_below_cut_mm.")
        if self.hinge_wire_above_cut_mm > self.contact_above_cut_mm:
            raise InputError("The hinge wire lies above the contact patch: enlarge contact_above_cut_mm.")
        if 2 * self.edge_radius_mm > self.thickness_mm:
            raise InputError(
                "edge_radius_mm is more than half of thickness_mm: make the edges sharper or the body thicker."
            )

    @property
    def width_mm(self) -> float:
        """Of the contact patch: the slot and a wall on either side."""
        return self.slot_width_mm + 2 * (self.slot_wall_mm + self.edge_radius_mm)

    @property
    def hole_diameter_mm(self) -> float:
        """Of a wire's hole."""
        return self.wire_diameter_mm + self.wire_play_mm

    @classmethod
    def from_dict(cls, values: Any) -> GuideParameters:
        """From JSON. Raises InputError."""
        parameters: GuideParameters = from_mapping(cls, values, "The guide")
        return parameters

    def to_dict(self) -> dict[str, float]:
        """Plain values by name."""
        return asdict(self)
