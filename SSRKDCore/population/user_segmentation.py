"""A user's segmentation as bone labels: which segment is which bone, by its code, its name, or the user's word."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES, BONES
from SSRKDCore.errors import InputError
from SSRKDCore.grid import Grid
from SSRKDCore.image_files import write_image
from SSRKDCore.segmentation_files import NO_BONE_WORDS, read_segmentation
from SSRKDCore.volume_files import open_volume, read_voxels

if TYPE_CHECKING:
    import SimpleITK

_SIDE_WORDS = {"right": {"right", "r", "rt"}, "left": {"left", "l", "lt"}}
_SIDE_CODES = {"right": "^24028007^", "left": "^7771000^"}


@dataclass(frozen=True)
class Segment:
    """One segment of a file: what it is called, where its voxels are, and the bone and side that it seems to be."""

    id: str
    name: str
    value: str
    layer: str
    bone: str | None
    side: str | None

    def __str__(self) -> str:
        return f"'{self.name}'" if self.name else f"label {self.value}"


@dataclass(frozen=True)
class UserSegmentation:
    """What `read_user_segmentation` returns.

    Attributes
    ----------
    labels: uint8 [z, y, x], values as in `anatomy`.
    grid: its own grid, LPS mm.
    segments: bone -> name of the segment that was taken for it.
    side: "right" or "left" where all segments that say one say the same, else None.
    """

    labels: NDArray[np.uint8]
    grid: Grid
    segments: Mapping[str, str]
    side: str | None


def parse_assignments(words: Sequence[str]) -> dict[str, str]:
    """Bone -> segment from words such as "femur=Segment_1" or "tibia=4". Raises InputError for other words."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, segment = word.partition("=")
        if not equals or name not in BONE_NAMES or not segment.strip() or name in found:
            raise InputError(
                f"--segments {word} cannot be used: write each bone once, as in femur=Segment_1 (bones: {', '.join(BONE_NAMES)})."
            )
        found[name] = segment.strip()
    return found


def read_user_segmentation(
    path: str | Path, assignments: Mapping[str, str] | None = None, side: str | None = None
) -> UserSegmentation:
    """Read the bones of a Slicer segmentation (.seg.nrrd), or of a label map (NRRD, NIfTI, MHA) whose values are assigned.

    Segments are taken for the bone whose SNOMED CT code they carry, else for the one in their name, unless `assignments` says otherwise
    (bone -> name, ID or label value of a segment). Of a right and a left one, that of `side` is taken.

    Raises InputError when the file cannot be read or contradicts itself about where its voxels are (see `volume_files`), no segment is a
    bone, two are the same one, or an assigned one does not exist.
    """
    path = Path(path)
    image = _read(path)
    segments = _segments(image)
    chosen = _assigned(path, segments, assignments or {})
    for bone in BONE_NAMES:
        if bone not in chosen and (found := _of_bone(path, segments, bone, side, set(chosen.values()))):
            chosen[bone] = found
    if not chosen:
        names = ", ".join(str(segment) for segment in segments) or "no named segments"
        raise InputError(
            f"{path} has {names}, and none is named after a bone: say which is which with --segments, as in femur=Segment_1 or femur=2."
        )
    labels, grid = _labels(path, image, chosen)
    said = {segment.side for segment in chosen.values()} - {None}
    taken = {bone: str(chosen[bone]).strip("'") for bone in BONE_NAMES if bone in chosen}
    return UserSegmentation(labels, grid, taken, said.pop() if len(said) == 1 else None)


def _read(path: Path) -> SimpleITK.Image:
    if not path.is_file():
        raise InputError(f"{path} does not exist: check the path of the segmentation.")
    try:
        return read_voxels(path, open_volume(path))
    except RuntimeError as error:
        raise InputError(
            f"{path} cannot be read as a segmentation: export it from Slicer as .seg.nrrd, or as a NRRD or NIfTI label map."
        ) from error


def _segments(image: SimpleITK.Image) -> list[Segment]:
    """The segments that a header of Slicer names, in their order."""
    keys = set(image.GetMetaDataKeys())

    def value(index: int, field: str, default: str) -> str:
        key = f"Segment{index}_{field}"
        return str(image.GetMetaData(key)) if key in keys else default

    indices = sorted({int(match.group(1)) for key in keys if (match := re.fullmatch(r"Segment(\d{1,5})_ID", key))})
    found = []
    for index in indices:
        id, tags = value(index, "ID", ""), value(index, "Tags", "")
        name = value(index, "Name", id)
        words = set(re.split(r"[^a-z]+", name.lower()))
        coded = [bone.name for bone in BONES if f"^{bone.snomed_code}^" in tags]
        named = [] if words & NO_BONE_WORDS else [bone for bone in BONE_NAMES if bone in words]
        matches = coded or named
        sides = [side for side in _SIDE_WORDS if words & _SIDE_WORDS[side] or _SIDE_CODES[side] in tags]
        found.append(
            Segment(
                id,
                name,
                value(index, "LabelValue", str(index + 1)),
                value(index, "Layer", "0"),
                matches[0] if len(matches) == 1 else None,
                sides[0] if len(sides) == 1 else None,
            )
        )
    return found


def _assigned(path: Path, segments: list[Segment], assignments: Mapping[str, str]) -> dict[str, Segment]:
    chosen = {}
    for bone, word in assignments.items():
        matching = [segment for segment in segments if word.lower() in (segment.id.lower(), segment.name.lower())]
        if not matching and word.isdigit():
            matching = [segment for segment in segments if segment.value == word]
            # A label map names no segments; the value itself is then the segment.
            matching = matching or ([] if segments else [Segment("", "", word, "0", bone, None)])
        if len(matching) != 1:
            names = ", ".join(str(segment) for segment in segments) or "no names, only label values"
            raise InputError(
                f"{path} has {'several segments' if matching else 'no segment'} '{word}' for the {bone}: it has {names}."
            )
        chosen[bone] = matching[0]
    return chosen


def _of_bone(path: Path, segments: list[Segment], bone: str, side: str | None, taken: set[Segment]) -> Segment | None:
    """The one segment that seems to be a bone, or None."""
    matching = [segment for segment in segments if segment.bone == bone and segment not in taken]
    if len(matching) > 1 and side is not None:
        matching = [segment for segment in matching if segment.side == side] or matching
    if len(matching) > 1:
        names = " and ".join(str(segment) for segment in matching)
        raise InputError(
            f"{path} has {names}, each of which may be the {bone}: choose with --segments {bone}=NAME, or state the side."
        )
    return matching[0] if matching else None


def _labels(path: Path, image: SimpleITK.Image, chosen: Mapping[str, Segment]) -> tuple[NDArray[np.uint8], Grid]:
    """The chosen segments under the bones' own names, through the reader of our own segmentations."""
    for key in image.GetMetaDataKeys():
        if re.match(r"Segment\d", key):
            image.EraseMetaData(key)
    for index, (bone, segment) in enumerate(chosen.items()):
        for field, value in (("ID", bone), ("Name", bone), ("LabelValue", segment.value), ("Layer", segment.layer)):
            image.SetMetaData(f"Segment{index}_{field}", value)
    with tempfile.TemporaryDirectory(prefix="ssrkd-segments-") as folder:
        renamed = Path(folder) / "renamed.seg.nrrd"
        write_image(renamed, image)
        try:
            labels, grid, _ = read_segmentation(renamed)
        except InputError as error:
            raise InputError(str(error).replace(str(renamed), str(path))) from error
    return labels, grid
