"""Real legs of the anatomy folder, as right ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.mirror import MIRROR
from SSRKDCore.json_files import read_json
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_bone_surfaces

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Anatomy:
    """Four bones of one right knee in one frame.

    Attributes
    ----------
    name: what it was made from.
    subject: who it was made from; test subjects are left out by this.
    bones: bone name -> closed surface, LPS mm, knee frame (joint near the origin); left legs are mirrored to right ones.
    """

    name: str
    subject: str
    bones: dict[str, Surface]


def read_legs(data: Path, excluded_subjects: Iterable[str] = ()) -> list[Anatomy]:
    """The whole legs of the anatomy folder (manifest.json and legs/), mirrored to right legs, without the excluded subjects.

    Items marked evaluate_only are never read. Raises InputError when the manifest is missing or an excluded subject unknown.
    """
    manifest = read_json(data / "manifest.json", "the manifest of the anatomy folder")
    items = [item for item in manifest["items"] if (data / "legs" / item["id"]).is_dir()]
    excluded = set(excluded_subjects)
    unknown = excluded - {item["subject"] for item in items}
    if unknown:
        raise InputError(f"{data} has no subject {', '.join(sorted(unknown))}: correct the list of excluded subjects.")
    legs = []
    for item in items:
        if item["subject"] in excluded or item.get("suggested_use") == "evaluate_only":
            continue
        bones = read_bone_surfaces(data / "legs" / item["id"])
        if item["side"] == "L":
            bones = {name: surface.transformed(MIRROR) for name, surface in bones.items()}
        legs.append(Anatomy(item["id"], item["subject"], bones))
    return legs
