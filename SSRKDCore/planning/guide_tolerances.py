"""How sure a seat is: the same guide with errors of printing and of the reconstruction, many times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.planning.contact_report import contact_report
from SSRKDCore.planning.guide_contacts import GuideContacts, Pose, face_normals
from SSRKDCore.planning.guide_errors import CutSection, moved_plane
from SSRKDCore.planning.guide_gaps import BoneNearGuide
from SSRKDCore.planning.guide_model import Guide
from SSRKDCore.planning.seating import PENETRATION_TOLERANCE_MM, Seat, finished, seat_from
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]
Progress = Callable[[float, str], None]

_WAVES = 96


@dataclass(frozen=True)
class ToleranceParameters:
    """The errors. Lengths in mm. Raises InputError for values that make no sense.

    Attributes
    ----------
    samples: number of guides.
    printing_low_mm, printing_high_mm: standard deviation of the patch's error across its surface; drawn evenly between both.
    printing_correlation_mm: distance over which that error stays alike.
    scale_percent: standard deviation of a uniform scale error of the print.
    reconstruction_mm: standard deviation of the reconstruction's surface error; 0 leaves it out.
    reconstruction_correlation_mm: distance over which it stays alike.
    """

    samples: int = 60
    printing_low_mm: float = 0.1
    printing_high_mm: float = 0.3
    printing_correlation_mm: float = 5.0
    scale_percent: float = 0.1
    reconstruction_mm: float = 0.0
    reconstruction_correlation_mm: float = 15.0

    def __post_init__(self) -> None:
        if not 0 <= self.samples <= 10000:
            raise InputError(f"{self.samples} samples were asked for: use 0 to 10000.")
        if not 0 <= self.printing_low_mm <= self.printing_high_mm <= 2:
            raise InputError("The printing error must be two rising numbers from 0 to 2 mm.")
        if not (0 <= self.scale_percent <= 5 and 0 <= self.reconstruction_mm <= 10):
            raise InputError("The scale error must be 0 to 5 percent, the reconstruction's error 0 to 10 mm.")
        if min(self.printing_correlation_mm, self.reconstruction_correlation_mm) <= 0:
            raise InputError("Correlation lengths must be positive.")


def random_field(points: Array, correlation_mm: float, generator: np.random.Generator) -> Array:
    """(N,) a random smooth field at points (N, 3): mean 0, variance 1, correlation exp(-r^2 / (2 correlation_mm^2)).

    By random Fourier features (Rahimi and Recht, NIPS 2007).
    """
    waves = generator.normal(size=(_WAVES, 3)) / correlation_mm
    phases = generator.uniform(0, 2 * np.pi, _WAVES)
    return np.asarray(np.sqrt(2.0 / _WAVES) * np.cos(points @ waves.T + phases).sum(axis=1))


def perturbed(
    contacts: GuideContacts,
    parameters: ToleranceParameters,
    generator: np.random.Generator,
    reconstruction_field: tuple[Array, Array] | None = None,
) -> GuideContacts:
    """One printed guide: its patch moved along its normals, and all of it scaled about the patch's centre.

    reconstruction_field: points (N, 3) and standard deviations (N,) of the reconstruction's error there, in place of one number.
    """
    vertex_count = len(contacts.patch.vertices)
    places = np.concatenate([contacts.patch.vertices, contacts.points])
    normals = np.concatenate([contacts.vertex_normals, contacts.normals])
    printing = generator.uniform(parameters.printing_low_mm, parameters.printing_high_mm)
    error = printing * random_field(places, parameters.printing_correlation_mm, generator)
    spread: Any = parameters.reconstruction_mm
    if reconstruction_field is not None:
        from scipy.spatial import cKDTree

        spread = reconstruction_field[1][cKDTree(reconstruction_field[0]).query(places)[1]]
    error = error + spread * random_field(places, parameters.reconstruction_correlation_mm, generator)
    scale = 1.0 + 0.01 * parameters.scale_percent * generator.normal()
    moved = contacts.centre + scale * (places + error[:, None] * normals - contacts.centre)
    patch = Surface(moved[:vertex_count], contacts.patch.faces)
    # A sliver that the error turned over would take the bone's points for points inside the guide.
    kept = np.einsum("ij,ij->i", face_normals(patch), face_normals(contacts.patch)) > 0
    return replace(
        contacts,
        patch=Surface(patch.vertices, patch.faces[kept]),
        points=moved[vertex_count:],
        body=contacts.centre + scale * (contacts.body - contacts.centre),
    )


def seat_with_tolerances(
    bone: BoneNearGuide,
    contacts: GuideContacts,
    guide: Guide,
    seat: Seat,
    section: CutSection,
    parameters: ToleranceParameters,
    generator: np.random.Generator,
    reconstruction_field: tuple[Array, Array] | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Seat perturbed guides from near the found seat.

    Returns for translation_mm, rotation_degrees (from the designed pose), cut_angle_degrees, cut_largest_mm and
    contact_percent_within_0.5_mm the mean and the 5th, 50th and 95th percentiles, and how many guides found no seat without
    penetration. Distances are exact. Raises Cancelled.
    """
    rows: list[tuple[float, ...]] = []
    lost = 0
    for number in range(parameters.samples):
        if cancelled is not None and cancelled():
            raise Cancelled
        printed = perturbed(contacts, parameters, generator, reconstruction_field)
        nudge = np.concatenate(
            [0.5 * generator.normal(size=3), np.deg2rad(0.5) * contacts.radius * generator.normal(size=3)]
        )
        found = seat_from(bone, printed, seat.pose.moved(nudge, contacts.radius))
        if found.touches:
            found = finished(bone, printed, found)
        if found.touches and found.penetration_mm <= PENETRATION_TOLERANCE_MM:
            rows.append(_measured(bone, printed, guide, found.pose, section))
        else:
            lost += 1
        if progress is not None:
            progress((number + 1) / parameters.samples, f"printed guide {number + 1} of {parameters.samples}")
    return {"samples": parameters.samples, "samples_lost": lost} | _summary(np.array(rows))


_MEASURES = (
    "translation_mm",
    "rotation_degrees",
    "cut_angle_degrees",
    "cut_largest_mm",
    "contact_percent_within_0.5_mm",
)


def _measured(
    bone: BoneNearGuide, contacts: GuideContacts, guide: Guide, pose: Pose, section: CutSection
) -> tuple[float, ...]:
    error = section.error_of(moved_plane(guide.cut_plane, pose.matrix(contacts.centre)))
    contact = contact_report(bone, contacts, pose, guide.clearance_mm).contact_percent[0.5]
    shift = float(np.linalg.norm(pose.shift))
    return shift, pose.rotation_degrees, error.angle_degrees, error.largest_mm, contact


def _summary(rows: Array) -> dict[str, Any]:
    if not len(rows):
        return dict.fromkeys(_MEASURES)
    return {
        name: {"mean": float(column.mean())}
        | {f"percentile_{share}": float(np.percentile(column, share)) for share in (5, 50, 95)}
        for name, column in zip(_MEASURES, rows.T, strict=True)
    }
