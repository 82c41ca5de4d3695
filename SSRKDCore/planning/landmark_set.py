"""Landmarks of a leg by name, each with where it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError

Array = NDArray[np.float64]

#: Every landmark that planning knows: name -> the bone it lies on (hip and ankle centres lie on none of a knee's field of view).
LANDMARK_BONES: dict[str, str | None] = {
    "hip_centre": None,
    "ankle_centre": None,
    "femoral_shaft_proximal": "femur",
    "femoral_shaft_distal": "femur",
    "medial_epicondyle": "femur",
    "lateral_epicondyle": "femur",
    "medial_condyle_distal": "femur",
    "lateral_condyle_distal": "femur",
    "medial_condyle_posterior": "femur",
    "lateral_condyle_posterior": "femur",
    "intercondylar_notch": "femur",
    "tibial_shaft_proximal": "tibia",
    "tibial_shaft_distal": "tibia",
    "medial_plateau_edge": "tibia",
    "lateral_plateau_edge": "tibia",
    "medial_plateau_centre": "tibia",
    "lateral_plateau_centre": "tibia",
    "medial_plateau_anterior": "tibia",
    "medial_plateau_posterior": "tibia",
    "lateral_plateau_anterior": "tibia",
    "lateral_plateau_posterior": "tibia",
    "tibial_eminence": "tibia",
    "tibial_tubercle": "tibia",
    "medial_malleolus": "tibia",
    "fibular_head": "fibula",
    "fibula_at_plafond": "fibula",
    "lateral_malleolus": "fibula",
    "patella_superior_pole": "patella",
    "patella_inferior_pole": "patella",
    "patella_articular_superior": "patella",
    "patella_articular_inferior": "patella",
}

COMPUTED, GIVEN = "computed", "given"


@dataclass(frozen=True)
class Landmark:
    """One point.

    Attributes
    ----------
    name: a key of LANDMARK_BONES.
    position: (3,) LPS mm.
    source: "computed" from the surfaces, or "given" by a person.
    """

    name: str
    position: Array
    source: str = COMPUTED

    def __post_init__(self) -> None:
        if self.name not in LANDMARK_BONES:
            raise InputError(f"There is no landmark {self.name!r}: use one of {', '.join(LANDMARK_BONES)}.")
        position = np.array(self.position, dtype=np.float64).reshape(-1)
        if position.shape != (3,) or not np.isfinite(position).all():
            raise InputError(f"The landmark {self.name} needs three finite coordinates in mm: correct it.")
        object.__setattr__(self, "position", position)


@dataclass(frozen=True)
class SeenShaft:
    """How much of a shaft its axis was found on.

    Attributes
    ----------
    reach: distance from the bone's joint surface to the end of the stretch that was used, mm.
    width: of the bone at the knee, mm.
    """

    reach: float
    width: float

    @property
    def reach_in_widths(self) -> float:
        """The reach in widths of the bone."""
        return self.reach / self.width


@dataclass(frozen=True)
class LandmarkSet(Mapping[str, Array]):
    """Landmarks of one leg: name -> position (3,) in LPS mm.

    Attributes
    ----------
    landmarks: by name; what could not be found is absent.
    missing: name -> why it is absent, in words.
    side: "right" or "left".
    shafts: bone -> how much of its shaft was seen; absent where its axis was not computed, or a person gave one of its ends.
    """

    landmarks: Mapping[str, Landmark]
    missing: Mapping[str, str]
    side: str
    shafts: Mapping[str, SeenShaft] = field(default_factory=dict)

    @property
    def reach(self) -> dict[str, float]:
        """Bone -> mm from its joint surface to the end of the shaft that was used: measures another leg's shafts no further."""
        return {bone: shaft.reach for bone, shaft in self.shafts.items()}

    def moved(self, positions: Mapping[str, Array]) -> LandmarkSet:
        """The same landmarks with the positions (3,) of some of them replaced."""
        changed = {name: replace(self.landmarks[name], position=position) for name, position in positions.items()}
        return replace(self, landmarks={**self.landmarks, **changed})

    def __getitem__(self, name: str) -> Array:
        return self.landmarks[name].position

    def __iter__(self) -> Iterator[str]:
        return iter(self.landmarks)

    def __len__(self) -> int:
        return len(self.landmarks)
