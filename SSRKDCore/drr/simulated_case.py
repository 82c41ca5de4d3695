"""From a CT or a leg's bone surfaces to a case folder: simulated radiographs as DICOM, the rig, and the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.drr.attenuation import attenuation_from_hounsfield, check_hounsfield_like
from SSRKDCore.drr.bone_phantom import LegTissue, leg_attenuation, leg_outline
from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.drr.projector import choose_backend, project
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.presets import PRESET_NAMES, preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.grid import Grid
from SSRKDCore.image_files import write_image
from SSRKDCore.surface import Surface

Progress = Callable[[float, str], None]
Center = tuple[float, float, float]

DEFAULT_VOXEL_MM = 0.6
_MAXIMUM_LEG_VOXELS = 600_000_000
_KNEE_REACH_MM = 40.0
_CLEARLY_LATERAL_MM = 5.0
_LEG_SIZE_MM = (40.0, 2000.0)


@dataclass(frozen=True)
class Subject:
    """What is exposed to the beam.

    Attributes
    ----------
    name: for the case's id and its provenance.
    volume, grid: linear attenuation in 1/mm, float32 [z, y, x], and where it is.
    surfaces: the true bones (LPS mm) by name; empty for a CT.
    provenance: how the attenuation came about.
    warnings: in words.
    """

    name: str
    volume: NDArray[np.float32]
    grid: Grid
    surfaces: Mapping[str, Surface]
    provenance: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


def assumed_side(name: str) -> tuple[str, list[str]]:
    """The side of what does not tell and was not stated: right, with a warning. It turns a preset's lateral view, and is the case's
    side.
    """
    return "right", [
        f"{name} does not tell which knee it shows, and right was assumed: say --side left if it is a left one."
    ]


def leg_side(surfaces: Mapping[str, Surface], name: str, side: str | None) -> tuple[str, list[str]]:
    """The side of a leg, from the fibula, which lies lateral of the tibia (LPS: x grows to the patient's left), and warnings.

    A stated side wins. Where none is stated and the bones do not tell, see `assumed_side`.
    """
    seen = None
    if "fibula" in surfaces and "tibia" in surfaces:
        offset = float(surfaces["fibula"].centroid[0] - surfaces["tibia"].centroid[0])
        if abs(offset) >= _CLEARLY_LATERAL_MM:
            seen = "left" if offset > 0 else "right"
    if side is None and seen is None:
        return assumed_side(name)
    if side is not None and seen is not None and side != seen:
        return side, [f"The fibula of {name} lies where that of a {seen} leg does, but {side} was stated."]
    return str(side or seen), []


def knee_center(surfaces: Mapping[str, Surface]) -> Center:
    """Centre of the knee (x, y, z) in mm: midpoint of the vertex means of femur and tibia within 40 mm of the joint.

    Of other bones, when one of the two lacks, the mean of what is there.
    """
    means = []
    for bone, end in (("femur", 0), ("tibia", 1)):
        if bone in surfaces:
            vertices, limit = surfaces[bone].vertices, surfaces[bone].bounds[end, 2]
            means.append(vertices[np.abs(vertices[:, 2] - limit) <= _KNEE_REACH_MM].mean(axis=0))
    if not means:
        means = [surface.vertices.mean(axis=0) for surface in surfaces.values()]
    middle = np.stack(means).mean(axis=0).round(1)
    return float(middle[0]), float(middle[1]), float(middle[2])


def placed_rig(rig: str | Path, side: str, center: Center | None, default_center: Center) -> Rig:
    """The rig of a preset's name, moved to `center` (else to `default_center`), or of a rig.json.

    A rig.json states where it is and is moved only to a stated `center`.
    """
    if str(rig) in PRESET_NAMES:
        found, target = preset(str(rig), side), center or default_center
    else:
        if not Path(rig).exists():
            raise InputError(
                f"{rig} is neither a rig file nor one of the presets {', '.join(PRESET_NAMES)}: check --rig."
            )
        found = _exactly_known(Rig.load(rig), side)
        target = center or found.field_of_view.center
    return found.translated(np.array(target) - np.array(found.field_of_view.center))


def _exactly_known(rig: Rig, side: str) -> Rig:
    """The rig of simulated radiographs of this side: what nobody measured of a room is true of them."""
    kept = {key: value for key, value in rig.provenance.items() if key != "assumed"}
    return replace(rig, provenance={**kept, "side": side})


def ct_subject(
    name: str, hounsfield: NDArray[np.float32], grid: Grid, energy_kev: float, warnings: tuple[str, ...] = ()
) -> Subject:
    """A CT in Hounsfield units [z, y, x] as attenuation. Raises InputError when the values are no Hounsfield units."""
    warnings = (*warnings, *check_hounsfield_like(hounsfield, name))
    volume = attenuation_from_hounsfield(hounsfield, energy_kev)
    return Subject(name, volume, grid, {}, {"simulated_from": name, "energy_kev": energy_kev}, warnings)


def cropped(volume: NDArray[np.float32], grid: Grid, center: Center, width: float) -> tuple[NDArray[np.float32], Grid]:
    """The part of a volume [z, y, x] within half of `width` (mm) of `center` in x and y, and its grid.

    Raises InputError when nothing is left.
    """
    x, y, _ = grid.axes
    kept = [np.flatnonzero(np.abs(axis - middle) <= width / 2) for axis, middle in zip((x, y), center[:2], strict=True)]
    if not (len(kept[0]) and len(kept[1])):
        raise InputError("Nothing of the volume lies within --crop of the centre: check --center.")
    (first_x, last_x), (first_y, last_y) = ((int(k[0]), int(k[-1]) + 1) for k in kept)
    part = volume[:, first_y:last_y, first_x:last_x]
    nz, ny, nx = part.shape
    return part, Grid((float(x[first_x]), float(y[first_y]), grid.origin[2]), grid.spacing, (nz, ny, nx))


def leg_subject(
    name: str,
    surfaces: Mapping[str, Surface],
    rig: Rig,
    tissue: LegTissue | None = None,
    voxel: float = DEFAULT_VOXEL_MM,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Subject:
    """The part of a leg that a rig sees, as attenuation on voxels of `voxel` mm.

    Raises InputError for bones of an impossible size (another unit than mm), or none where the rig looks.
    """
    tissue = tissue or LegTissue()
    extents = [float(np.ptp(surface.bounds, axis=0).max()) for surface in surfaces.values()]
    low, high = _LEG_SIZE_MM
    if max(extents) < low or max(extents) > high:
        raise InputError(f"The largest bone of {name} is {max(extents):g} mm long: surfaces must be in millimetres.")
    warnings = tuple(
        f"The {bone} of {name} is not closed; it was filled between where rays along x cross it."
        for bone, surface in surfaces.items()
        if not surface.is_closed()
    )
    bounds = np.array([surface.bounds for surface in surfaces.values()])
    seen = _seen_heights(rig)
    bottom, top = max(seen[0], float(bounds[:, 0, 2].min())), min(seen[1], float(bounds[:, 1, 2].max()))
    if top - bottom < 2 * voxel:
        raise InputError(f"No bone of {name} lies where the rig looks: move the rig with --center.")
    z = np.arange(bottom + voxel / 2, top, voxel)
    center, half = leg_outline(surfaces, z, tissue)
    first = (center - half).min(axis=0) - 2 * voxel
    last = (center + half).max(axis=0) + 2 * voxel
    nx, ny = (int(n) for n in np.ceil((last - first) / voxel))
    if nx * ny * len(z) > _MAXIMUM_LEG_VOXELS:
        raise InputError(f"Voxels of {voxel:g} mm are too many for {name}: give larger ones with --voxel.")
    grid = Grid((first[0], first[1], float(z[0])), (voxel, voxel, voxel), (len(z), ny, nx))
    volume = leg_attenuation(surfaces, grid, tissue, progress, cancelled)
    provenance = {"simulated_from": name, "energy_kev": tissue.energy_kev, "voxel_mm": voxel, "tissue": asdict(tissue)}
    return Subject(name, volume, grid, dict(surfaces), provenance, warnings)


def _seen_heights(rig: Rig) -> tuple[float, float]:
    """Lowest and highest z in mm that any ray passes within a field of view's size around the knee's axis."""
    heights = []
    for view in rig.views:
        corners = view.pixel_position([0, 0, view.rows - 1, view.rows - 1], [0, view.columns - 1, 0, view.columns - 1])
        source = np.array(view.source)
        for corner in corners:
            # Where the corner's ray is as deep as the near and the far side of the field of view.
            depth = float((np.array(rig.field_of_view.center) - source) @ view.normal)
            for at in (depth - rig.field_of_view.size, depth + rig.field_of_view.size):
                heights.append(float(source[2] + (corner - source)[2] * at / view.source_to_detector))
    return min(heights), max(heights)


@dataclass(frozen=True)
class SimulatedImages:
    """Line integrals float32 [row, column] by view name, the projector that made them, and its message, if any."""

    images: Mapping[str, NDArray[np.float32]]
    backend: str
    message: str | None


def simulate_images(
    subject: Subject,
    rig: Rig,
    noise: NoiseModel | None = None,
    seed: int = 0,
    backend: str = "auto",
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> SimulatedImages:
    """Project a subject in every view of a rig and add noise, the same for the same seed.

    Raises InputError when a view sees nothing of the subject, or the backend cannot run; Cancelled.
    """
    choice = choose_backend(backend, rig.views, subject.grid)
    images = project(subject.volume, subject.grid, rig, choice.name, progress, cancelled)
    for name, image in images.items():
        if not image.any():
            raise InputError(f"No ray of view '{name}' meets {subject.name}: move the rig with --center.")
    if noise is not None:
        # One stream of random numbers a view, so that a view's noise does not depend on how many there are before it.
        images = {
            name: noise.apply(image, np.random.default_rng([seed, index]))
            for index, (name, image) in enumerate(images.items())
        }
    return SimulatedImages(images, choice.name, choice.message)


def write_case(
    folder: Path,
    subject: Subject,
    rig: Rig,
    side: str,
    simulated: SimulatedImages,
    noise: NoiseModel | None,
    seed: int,
) -> dict[str, str]:
    """Write the files of a case into an existing folder; returns view name -> file name of its radiograph."""
    from pydicom.uid import generate_uid

    from SSRKDCore.cases import save_case
    from SSRKDCore.radiographs.dicom_writer import write_radiograph_dicom
    from SSRKDCore.surface_files import write_surface

    study, series = generate_uid(), generate_uid()
    files = {name: f"{_file_stem(name)}.dcm" for name in simulated.images}
    if len(set(files.values())) < len(files):
        raise InputError(f"The views {', '.join(files)} of the rig have names too alike for files: rename one.")
    for number, (name, image) in enumerate(simulated.images.items(), start=1):
        write_radiograph_dicom(
            folder / files[name],
            image,
            rig.view(name),
            rig,
            side,
            patient_id=subject.name[:64],
            patient_name=f"{subject.name[:50]}^Simulated",
            study_uid=study,
            series_uid=series,
            instance_number=number,
            description=f"simulated {name} radiograph of {subject.name[:40]}",
        )
    references = {}
    for bone, surface in subject.surfaces.items():
        references[bone] = f"{bone}.ply"
        write_surface(folder / references[bone], surface)
    write_preview(folder / "preview.png", simulated.images)
    provenance = {
        **subject.provenance,
        "projector": simulated.backend,
        "noise": None if noise is None else {**asdict(noise), "seed": seed},
    }
    save_case(folder, subject.name, side, rig, files, "line_integral", references or None, None, provenance)
    return files


def _file_stem(view: str) -> str:
    """A view's name as a file name."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in view)


def write_preview(path: Path, images: Mapping[str, NDArray[np.float32]]) -> None:
    """A grey PNG of all views side by side, each from its lowest to its highest line integral (bone bright)."""
    import SimpleITK

    height = max(image.shape[0] for image in images.values())
    parts = []
    for image in images.values():
        low, high = np.percentile(image, (0.5, 99.8))
        grey = np.clip((image - low) / max(float(high - low), 1e-6), 0.0, 1.0) * 255.0
        parts.append(np.pad(grey.astype(np.uint8), ((0, height - image.shape[0]), (4, 4))))
    write_image(path, SimpleITK.GetImageFromArray(np.concatenate(parts, axis=1)))
