"""What the panel asks of the engine about a pair of radiographs, to tell whether an answer is still the one to what is chosen now."""

from __future__ import annotations

from typing import Any


def pairChoices(node: Any) -> tuple[Any, ...]:
    """Which radiographs the panel's parameter node names, and how they are to be understood."""
    volumes = (None if volume is None else volume.GetID() for volume in (node.apVolume, node.lateralVolume))
    return *volumes, node.side, node.geometry, node.rigFile
