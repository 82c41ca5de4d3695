"""Whether a rig agrees with what the image files themselves say of the detector, its distance and the magnification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.known_geometry import scale_is_calibrated
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.radiographs.radiograph import Radiograph


@dataclass(frozen=True)
class Contradiction:
    """view: name. what: in words. percent: by how much the rig's value is larger than the file's."""

    view: str
    what: str
    percent: float


def largest_contradiction(radiographs: Sequence[Radiograph], rig: Rig) -> Contradiction | None:
    """The statement of a file that the rig departs from the most, in percent; None where no file says anything.

    A view whose scale was calibrated (`provenance["calibrations"]`) is believed more than tags on distances, but not on the detector's
    pixels; one that was only placed relative to another (`ssrkd calibrate pair`) is not.
    """
    found = [
        statement
        for radiograph, view in zip(radiographs, rig.views, strict=True)
        for statement in _statements(radiograph, view, rig.field_of_view, scale_is_calibrated(rig, view.name))
    ]
    return max(found, key=lambda statement: abs(statement.percent), default=None)


def _statements(radiograph: Radiograph, view: View, box: FieldOfView, calibrated: bool) -> list[Contradiction]:
    depth = float(view.normal @ (np.array(box.center) - np.array(view.source)))
    magnification = view.source_to_detector / depth
    pitch = float(np.sqrt(view.pixel_spacing[0] * view.pixel_spacing[1]))
    stated: list[tuple[str, float, float]] = []
    tags = radiograph.geometry
    # A spacing that the user gave stands in the file's place: what the file says of the detector is in its tag alone then.
    detector = (None if tags is None else tags.imager_pixel_spacing) or radiograph.detector_pixel_spacing
    if detector is not None:
        # Each axis by itself: pixels that are stretched one way stretch the bones.
        stated += [("pixel spacing of the detector", *pair) for pair in zip(view.pixel_spacing, detector, strict=True)]
    if not calibrated:
        if radiograph.spacing_plane == "object" and radiograph.pixel_spacing is not None:
            spacing = float(np.sqrt(radiograph.pixel_spacing[0] * radiograph.pixel_spacing[1]))
            stated.append(("calibrated pixel spacing at the bone", pitch / magnification, spacing))
        if tags is not None and tags.source_to_detector:
            stated.append(("source-to-detector distance", view.source_to_detector, tags.source_to_detector))
        if tags is not None and tags.estimated_magnification:
            stated.append(("magnification", magnification, tags.estimated_magnification))
    return [
        Contradiction(view.name, what, 100.0 * (ours / theirs - 1.0)) for what, ours, theirs in stated if theirs > 0
    ]
