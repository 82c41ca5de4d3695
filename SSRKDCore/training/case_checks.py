"""What is wrong with a training case, found before hours are spent on it.

`check_training_cases` looks at every case without reading voxels, in some hundredths of a second a case; `check_content` looks at a
case that has been read anyway. Both name the case and say what to do. Their limits are guesses, set far from what any usable case shows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES, lateral_direction
from SSRKDCore.cases import Case, load_case
from SSRKDCore.drr.attenuation import check_hounsfield_like
from SSRKDCore.errors import InputError
from SSRKDCore.segmentation_files import read_segmentation
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_surface
from SSRKDCore.volume_files import open_volume

if TYPE_CHECKING:
    from SSRKDCore.training.case_volume import CaseVolume

Array = NDArray[np.float64]

_EVALUATION_WORDS = ("evaluate_only", "external_oai")
_BONE_HU = 200.0
_SMALLEST_BONE_ML = 5.0
_SMALLEST_CONTRAST_HU = 50.0
_LEG_HU = -300.0
_CLEARLY_MEDIAL_MM = 5.0
_SECOND_LEG_MM2 = 2500.0
_SMALLEST_SHARE = 0.5


@dataclass(frozen=True)
class Problem:
    """Why a case must not be trained on.

    Attributes
    ----------
    case: its folder.
    sentence: what is wrong, naming the case, and what to do.
    """

    case: Path
    sentence: str


def check_training_cases(
    paths: Sequence[str | Path],
    unlabelled: Sequence[str | Path] = (),
    read_volumes: bool = False,
    checked: Collection[Path] = (),
    progress: Callable[[float, str], None] | None = None,
) -> list[Problem]:
    """The problems of training cases; an empty list when there are none. At most one a case, the first that is found.

    Parameters
    ----------
    paths: folders of labelled and unlabelled cases.
    unlabelled: folders of cases whose reference, if there is one, is not used and not looked at.
    read_volumes: also read every CT, which takes about half a second a case; False reads headers, case files and surfaces only.
    checked: folders whose files were found good before; only their ids and provenance are looked at.
    progress: called with the fraction done and words.
    """
    problems, seen = [], dict[str, Path]()
    folders = [(Path(path), True) for path in paths] + [(Path(path), False) for path in unlabelled]
    for number, (folder, use_reference) in enumerate(folders, start=1):
        try:
            case = load_case(folder)
            _check_identity(case, seen)
            if folder not in checked:
                _check_files(case, use_reference)
            if read_volumes:
                from SSRKDCore.training.case_volume import load_case_volume

                check_content(load_case_volume(folder, None if use_reference else False))
        except InputError as error:
            problems.append(Problem(folder, _naming(folder, str(error))))
        if progress is not None:
            progress(number / len(folders), f"checked {number} of {len(folders)} cases")
    return problems


def check_content(volume: CaseVolume) -> None:
    """Refuse a case whose CT or reference cannot be what it is said to be.

    Raises InputError, naming the case, for a CT that is not in Hounsfield units, shows no bone where the rig looks or shows two legs,
    and for a reference that is not where the CT is brighter.
    """
    folder = volume.case.folder
    check_hounsfield_like(volume.hounsfield, f"{folder}: the CT")
    seen = volume.seen_part()
    bone_ml = float((seen > _BONE_HU).sum()) * float(np.prod(volume.grid.spacing)) / 1000.0
    if bone_ml < _SMALLEST_BONE_ML:
        raise InputError(
            f"{folder}: the CT shows no bone ({bone_ml:.1f} ml above {_BONE_HU:g} HU) where the case's rig looks: "
            "give a CT of a knee, or correct the field of view of the case's rig."
        )
    if _second_leg_mm2(volume) > _SECOND_LEG_MM2:
        raise InputError(f"{folder}: the CT shows more than one leg: crop it to the leg of the case.")
    for name, surface in (volume.bones or {}).items():
        contrast = _contrast(volume, surface)
        if contrast is not None and contrast < _SMALLEST_CONTRAST_HU:
            raise InputError(
                f"{folder}: along its surface the {name} of the reference is only {contrast:.0f} HU denser inside than outside, so "
                "it is not where the CT shows it: bring CT and reference into one frame."
            )


def _naming(folder: Path, sentence: str) -> str:
    return sentence if str(folder) in sentence else f"{folder}: {sentence}"


def _check_identity(case: Case, seen: dict[str, Path]) -> None:
    """Refuse a case that is there twice, or must never be trained on. Adds its id to `seen`."""
    if case.id in seen:
        raise InputError(f"{case.folder} has the same id {case.id!r} as {seen[case.id]}: leave one out, or rename it.")
    seen[case.id] = case.folder
    refuse_evaluation_only(case)


def refuse_evaluation_only(case: Case) -> None:
    """Raises InputError, naming the case, when its provenance says that it must never be trained on."""
    for word in _EVALUATION_WORDS:
        if word in _words(case.provenance) and case.provenance.get(word, True) is not False:
            raise InputError(
                f"{case.folder} is for evaluation only (its provenance says {word}): take it out of the training cases."
            )


def _words(value: Any) -> str:
    """All keys and texts of nested JSON values, as one text."""
    if isinstance(value, Mapping):
        return " ".join(f"{key} {_words(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(_words(item) for item in value)
    return str(value)


def _check_files(case: Case, use_reference: bool) -> None:
    """Refuse a case whose files cannot be, as far as headers and surfaces tell."""
    folder = case.folder
    if case.ct is None:
        raise InputError(f"{folder} has no CT, so it cannot be trained on: leave it out, or add its CT.")
    box = ct_box(case.ct)
    cube = case.rig.field_of_view.bounds
    if _overlap(cube, box) < _SMALLEST_SHARE**3:
        raise InputError(
            f"{folder}: the CT and the field of view of the case's rig have little in common: correct the rig, or give the right CT."
        )
    if not use_reference or case.reference is None:
        return
    bones = dict(_reference_places(case))
    missing = [name for name in BONE_NAMES if name not in bones]
    if missing:
        raise InputError(
            f"{folder}: the reference has no {' and no '.join(missing)}: segment every bone, or use the case without labels."
        )
    for name, (bounds, _) in bones.items():
        common = np.minimum(bounds[1], box[1]) - np.maximum(bounds[0], box[0])
        # A bone is often longer than the CT, but across the leg it must be inside.
        if (common <= 0).any() or (common[:2] < _SMALLEST_SHARE * np.ptp(bounds, axis=0)[:2]).any():
            raise InputError(
                f"{folder}: the {name} of the reference lies outside the CT: bring CT and reference into one frame."
            )
        if (np.minimum(bounds[1], cube[1]) <= np.maximum(bounds[0], cube[0])).any():
            raise InputError(
                f"{folder}: the {name} of the reference lies outside the field of view of the case's rig: correct the rig."
            )
    _check_side(case, bones)


def _check_side(case: Case, bones: Mapping[str, tuple[Array, Array]]) -> None:
    lateral = lateral_direction(case.side) * float(bones["fibula"][1][0] - bones["tibia"][1][0])
    if lateral < -_CLEARLY_MEDIAL_MM:
        raise InputError(
            f"{case.folder} is said to be a {case.side} knee, but its fibula lies {-lateral:.0f} mm medial of the tibia: correct the "
            "side, or the axes of CT and reference if they are mirrored."
        )


def _reference_places(case: Case) -> Iterator[tuple[str, tuple[Array, Array]]]:
    """(bone, ((2, 3) bounds, (3,) centre)) in mm of what the reference holds of it."""
    if isinstance(case.reference, Mapping):
        for name, path in case.reference.items():
            surface = read_surface(path)
            check_solid(surface, f"{case.folder}: the surface of the {name}")
            yield name, (surface.bounds, surface.centroid)
    elif case.reference is not None:
        labels, grid, _ = read_segmentation(case.reference)
        for number, name in enumerate(BONE_NAMES, start=1):
            voxels = np.argwhere(labels == number)
            if len(voxels):
                points = grid.points(*voxels.T)
                yield name, (np.stack([points.min(axis=0), points.max(axis=0)]), points.mean(axis=0))


def check_solid(surface: Surface, what: str) -> None:
    """Refuse a surface that encloses nothing. Raises InputError, naming `what`, when it is open or inside out."""
    if not surface.is_closed():
        raise InputError(f"{what} is not closed, so that nothing is inside it: close it.")
    if surface.volume <= 0:
        raise InputError(f"{what} is inside out: turn the winding of its triangles.")


def ct_box(path: Path) -> Array:
    """(2, 3): lowest and highest corner in mm of a volume file, from its header. Raises InputError for a damaged one."""
    try:
        reader = open_volume(path)
    except RuntimeError as error:
        raise InputError(f"{path} is damaged or not a volume: write the CT again.") from error
    if reader.GetDimension() != 3:
        raise InputError(f"{path} is no volume: a three-dimensional CT is needed.")
    size, spacing = np.array(reader.GetSize(), dtype=np.float64), np.array(reader.GetSpacing())
    direction = np.array(reader.GetDirection()).reshape(3, 3)
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * size - 0.5
    places = corners * spacing @ direction.T + np.array(reader.GetOrigin())
    return np.stack([places.min(axis=0), places.max(axis=0)])


def _overlap(box: Array, other: Array) -> float:
    """Share of a box (2, 3) that lies in another."""
    common = np.clip(np.minimum(box[1], other[1]) - np.maximum(box[0], other[0]), 0, None)
    return float(common.prod() / np.ptp(box, axis=0).prod())


def _second_leg_mm2(volume: CaseVolume) -> float:
    """Area in mm^2 of the largest piece of tissue beside the one in the field of view, in the slice through its centre."""
    from scipy.ndimage import label

    z, y, x = volume.grid.indices(np.array([volume.center]))[0]
    plane = volume.hounsfield[int(np.clip(round(z), 0, volume.grid.shape[0] - 1))]
    pieces, count = label(plane > _LEG_HU)
    areas = np.bincount(pieces.ravel(), minlength=count + 1)[1:] * volume.grid.spacing[0] * volume.grid.spacing[1]
    half = volume.case.rig.field_of_view.size / 2
    rows = slice(max(0, int(y - half / volume.grid.spacing[1])), max(1, int(y + half / volume.grid.spacing[1])))
    columns = slice(max(0, int(x - half / volume.grid.spacing[0])), max(1, int(x + half / volume.grid.spacing[0])))
    central = np.unique(pieces[rows, columns])
    areas[central[central > 0] - 1] = 0.0
    return float(areas.max(initial=0.0))


def _contrast(volume: CaseVolume, surface: Surface) -> float | None:
    """Mean HU 0 to 2 mm inside a surface less the mean 1 to 3 mm outside, where the CT shows it; None where it does not."""
    corners = surface.triangles
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    centers, unit = corners.mean(axis=1), normals / np.maximum(lengths, 1e-12)[:, None]
    box = volume.grid.bounds + np.array([[4.0], [-4.0]])
    kept = ((centers > box[0]) & (centers < box[1])).all(axis=1) & (lengths > 0)
    if kept.sum() < 20:
        return None

    def mean(depths: tuple[float, ...]) -> float:
        places = np.concatenate([centers[kept] + depth * unit[kept] for depth in depths])
        index = np.rint(volume.grid.indices(places)).astype(int)
        return float(volume.hounsfield[index[:, 0], index[:, 1], index[:, 2]].mean(dtype=np.float64))

    return mean((-0.5, -1.0, -2.0)) - mean((1.0, 2.0, 3.0))
