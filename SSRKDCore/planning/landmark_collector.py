"""Landmarks as they are found: a given one takes the place of the computed one at once, so that whatever follows builds on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from SSRKDCore.geometry.mirror import MIRROR
from SSRKDCore.planning.landmark_set import COMPUTED, GIVEN, LANDMARK_BONES, Landmark, LandmarkSet, SeenShaft
from SSRKDCore.planning.shaft_axis import ShaftAxis

Array = NDArray[np.float64]


class LandmarkCollector:
    """Collects the landmarks of one leg.

    Parameters
    ----------
    given: name -> (3,) LPS mm, set by a person. Raises InputError for unknown names and coordinates that are not finite.
    mirrored: whether what is collected is of the leg's mirror image; what is given, and the whole set, are of the leg itself.
    """

    def __init__(self, given: Mapping[str, ArrayLike], mirrored: bool = False) -> None:
        self._mirrored = mirrored
        self._found = {
            name: self._turned(Landmark(name, np.asarray(position, dtype=np.float64), GIVEN))
            for name, position in given.items()
        }
        self._missing: dict[str, str] = {}
        self._shafts: dict[str, SeenShaft] = {}

    def place(self, name: str, position: Array) -> Array:
        """Note a computed position; returns the one that counts."""
        if name not in self._found:
            self._found[name] = Landmark(name, position, COMPUTED)
        return self._found[name].position

    def place_shaft(self, bone: str, axis: ShaftAxis, width: float, near: str, far: str) -> None:
        """Note a shaft's computed axis (its ends by the names `near` and `far`) and how much of the shaft it came from."""
        self.place(near, axis.near)
        self.place(far, axis.far)
        if axis.reach is not None and not (self.is_given(near) or self.is_given(far)):
            self._shafts[bone] = SeenShaft(axis.reach, width)

    def lack(self, reason: str, *names: str) -> None:
        """Note why landmarks cannot be computed."""
        for name in names:
            self._missing.setdefault(name, reason)

    def lack_bone(self, bone: str, reason: str) -> None:
        """Note why no landmark of a bone can be computed."""
        self.lack(reason, *(name for name, owner in LANDMARK_BONES.items() if owner == bone))

    def get(self, name: str) -> Array | None:
        """Position (3,) of a landmark, None while it is unknown."""
        return self._found[name].position if name in self._found else None

    def found(self) -> Mapping[str, Landmark]:
        """All that are known so far, by name."""
        return self._found

    def given(self) -> list[Landmark]:
        """Those that a person set."""
        return [landmark for landmark in self._found.values() if landmark.source == GIVEN]

    def is_given(self, name: str) -> bool:
        """Whether a person set it."""
        return name in self._found and self._found[name].source == GIVEN

    def collected(self, side: str) -> LandmarkSet:
        """All of them, in the order of LANDMARK_BONES."""
        found = {name: self._turned(self._found[name]) for name in LANDMARK_BONES if name in self._found}
        missing = {
            name: self._missing.get(name, "it was not found") for name in LANDMARK_BONES if name not in self._found
        }
        return LandmarkSet(found, missing, side, self._shafts)

    def _turned(self, landmark: Landmark) -> Landmark:
        """From the leg to what is collected, or back."""
        return replace(landmark, position=MIRROR[:3, :3] @ landmark.position) if self._mirrored else landmark
