"""The bones that a shape model learns from: who they come from, which share a frame, and how much each counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.mirror import MIRROR
from SSRKDCore.json_files import read_json
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_surface

Array = NDArray[np.float64]
DRAWS_SUBJECT = "clouthier100"
_DRAWS_PEOPLE = 14

# What the anatomy folder's README warns of, as heights (mm, knee frame) beyond which a bone is taken as missing.
_FLAWED_BEYOND = {("MC22", "femur"): 45.0}


@dataclass(frozen=True)
class BoneSource:
    """The bones of one side of one person.

    Attributes
    ----------
    name: the item's id.
    subject: the person; both sides of one have the same.
    bones: bone name -> closed surface of a right bone (left ones are mirrored), LPS mm.
    frames: sets of bones whose position to one another is that of the body.
    usable_to: bone name -> distance in mm from the joint line beyond which the surface is flawed.
    """

    name: str
    subject: str
    bones: dict[str, Surface]
    frames: tuple[frozenset[str], ...]
    usable_to: dict[str, float]


@dataclass(frozen=True)
class ModelDraws:
    """Draws from a published shape model: vertices of each bone in correspondence, all of one size, in one pose.

    Attributes
    ----------
    mean: bone name -> surface of the mean, LPS mm, knee frame, right.
    vertices: bone name -> (N, V, 3) mm.
    subjects: how many people the model was made from.
    """

    mean: dict[str, Surface]
    vertices: dict[str, Array]
    subjects: int


def manifest_items(data: Path, excluded_subjects: Iterable[str] = ()) -> list[dict[str, Any]]:
    """The manifest's items that may be trained on, without the excluded subjects.

    Raises InputError when there is no manifest, or an excluded subject is unknown (a misspelt one would be learnt from).
    """
    manifest = read_json(data / "manifest.json", "the manifest of the anatomy folder")
    items = [item for item in manifest.get("items", []) if item.get("suggested_use") == "train"]
    if not items:
        raise InputError(f"{data} lists no bones to learn from: check that it is the anatomy folder.")
    for item in items:
        lacking = [key for key in ("id", "side", "files", "pose_is_anatomical") if key not in item]
        if lacking:
            raise InputError(f"{data}/manifest.json: an item lacks {lacking[0]} ({item.get('id')}): complete it.")
    known = {item.get("subject") or item["id"] for item in items}
    unknown = set(excluded_subjects) - known
    if unknown:
        raise InputError(
            f"{data} has no subject {', '.join(sorted(unknown))} to exclude: choose from {', '.join(sorted(known))}."
        )
    return [item for item in items if (item.get("subject") or item["id"]) not in set(excluded_subjects)]


def read_bone_sources(data: Path, excluded_subjects: Iterable[str] = ()) -> list[BoneSource]:
    """Every real bone of the anatomy folder that may be trained on. Raises InputError as `manifest_items` does."""
    sources = []
    for item in manifest_items(data, excluded_subjects):
        if not item.get("subject"):
            continue
        bones = {}
        for name, entry in item["files"].items():
            surface = read_surface(data / entry["file"])
            bones[name] = surface.transformed(MIRROR) if item["side"] == "L" else surface
        if item["pose_is_anatomical"]:
            frames: tuple[frozenset[str], ...] = (frozenset(bones),)
        else:
            # Two scans, one of the thigh and one of the shank.
            pairs = ({"femur", "patella"} & set(bones), {"tibia", "fibula"} & set(bones))
            frames = tuple(frozenset(pair) for pair in pairs if pair)
        usable = {
            name: _FLAWED_BEYOND[item["subject"], name] for name in bones if (item["subject"], name) in _FLAWED_BEYOND
        }
        sources.append(BoneSource(item["id"], item["subject"], bones, frames, usable))
    return sources


def read_model_draws(data: Path, excluded_subjects: Iterable[str] = ()) -> ModelDraws | None:
    """The draws of the Clouthier model, or None when they are excluded or absent.

    The draws have one size (it varies by 0.04 %) and one pose (0.01 degrees), and a random motion of the whole knee; after that is
    taken off, 13 components hold 99.9 % of their variance: 14 people (Clouthier et al., Med Eng Phys 66, 2019).
    """
    if not any(item["id"] == DRAWS_SUBJECT for item in manifest_items(data, excluded_subjects)):
        return None
    path = data / "ssm_clouthier" / "clouthier100.npz"
    names = ("femur", "tibia", "patella")
    try:
        with np.load(path, allow_pickle=False) as file:
            mean = {name: Surface(file[f"mean_{name}"], file[f"faces_{name}"]) for name in names}
            return ModelDraws(mean, {name: file[name].astype(np.float64) for name in names}, _DRAWS_PEOPLE)
    except Exception as error:  # A damaged archive fails in any way that reading can fail; each means the same here.
        raise InputError(f"{path} is missing or damaged: fetch it again, since the templates come from it.") from error
