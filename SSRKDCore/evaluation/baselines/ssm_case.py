"""A case as the classical baselines see it: its radiographs about the field of view, and its rig, as those of a right knee."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.cases import Case
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.mirror import MIRROR
from SSRKDCore.geometry.network_view import network_view, resample_to_view
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

# Least difference of line integrals between the darkest and the brightest tenth: a leg has ten times as much.
_LEAST_CONTRAST = 0.05


@dataclass(frozen=True)
class SeenCase:
    """Radiographs and rig, mirrored in x where the knee is a left one: shape models are of right knees.

    Attributes
    ----------
    side: of the knee in the radiographs.
    rig: of the right knee. images: one a view, (rows, columns) line integrals of the whole detector, not mirrored: a mirrored view
        carries the same pixels.
    warnings: of the rig.
    """

    side: str
    rig: Rig
    images: tuple[NDArray[np.float32], ...]
    warnings: tuple[str, ...] = ()

    @property
    def field_of_view(self) -> FieldOfView:
        """The cube of the right knee."""
        return self.rig.field_of_view

    def resampled(self, pixels: int) -> list[tuple[NDArray[np.float32], NDArray[np.float32], View]]:
        """(image, coverage, view) of each view: the field of view at `pixels` x `pixels`; see `network_view`."""
        result = []
        for image, view in zip(self.images, self.rig.views, strict=True):
            target = network_view(view, self.field_of_view, pixels)
            result.append((*resample_to_view(image, view, target), target))
        return result

    def given_back(self, surfaces: Mapping[str, Surface]) -> dict[str, Surface]:
        """The surfaces of the right knee as those of the case's own."""
        return {
            name: surface.transformed(MIRROR) if self.side == "left" else surface for name, surface in surfaces.items()
        }


def as_right_knee(rig: Rig, side: str) -> Rig:
    """The rig, mirrored for a left knee."""
    return rig.transformed(MIRROR) if side == "left" else rig


def seen_case(case: Case) -> SeenCase:
    """Read a case's radiographs. Raises InputError when one cannot be read, does not fit its view, or is blank."""
    from SSRKDCore.geometry.dicom_rig import rig_for_radiographs
    from SSRKDCore.radiographs.radiograph import VIEW_NAMES
    from SSRKDCore.radiographs.reader import read_radiograph

    radiographs = []
    for view in case.rig.views:
        known = view.name if view.name in VIEW_NAMES else None
        radiograph = read_radiograph(case.radiographs[view.name], known, case.intensity)
        radiographs.append(replace(radiograph, view=view.name))
    rig, warnings = rig_for_radiographs(radiographs, case.rig, None, case.side)
    images = tuple(radiograph.pixels for radiograph in radiographs)
    for image, view in zip(images, rig.views, strict=True):
        checked_image(image, view)
    return SeenCase(case.side, as_right_knee(rig, case.side), images, tuple(warnings))


def checked_image(image: NDArray[np.floating], view: View) -> None:
    """Raises InputError for an image that is not its view's, not finite, or blank."""
    if image.shape != (view.rows, view.columns):
        raise InputError(
            f"The radiograph of view '{view.name}' has {image.shape[0]} x {image.shape[1]} pixels and its view "
            f"{view.rows} x {view.columns}: use the rig of these images."
        )
    if not np.isfinite(image).all():
        raise InputError(f"The radiograph of view '{view.name}' holds values that are not finite: export it again.")
    low, high = np.percentile(image, [10.0, 90.0])
    if high - low < _LEAST_CONTRAST:
        raise InputError(f"The radiograph of view '{view.name}' is blank, so no bone can be found: check the image.")
