"""What the panel asks of the engine about a pair of radiographs, to tell whether an answer is still the one to what is chosen now."""

from __future__ import annotations

from typing import Any

from .known_bones import knownPlaces


def pairChoices(node: Any) -> tuple[Any, ...]:
    """Which radiographs the panel's parameter node names, and how they are to be understood."""
    volumes = (None if volume is None else volume.GetID() for volume in (node.apVolume, node.lateralVolume))
    return *volumes, node.side, node.geometry, node.rigFile


def positionChoices(node: Any) -> tuple[Any, ...]:
    """What an estimate of the second view's position is of: the pair, and what is known before of its position and of the bones."""
    return *pairChoices(node), node.turnKnownTo, node.shiftKnownTo, knownPlaces(node.knownBones)
