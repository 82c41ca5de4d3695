"""A rig: calibrated views of one field of view, and its file format."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.view import View
from SSRKDCore.json_files import read_json, write_json

SCHEMA = "ssrkd-rig/1"
MINIMUM_SEPARATION_DEGREES = 15.0
_FIELD_OF_VIEW_RANGE_MM = (20.0, 1000.0)
_COVERAGE_SAMPLES = 9


@dataclass(frozen=True)
class Rig:
    """Calibrated views and the cube that they see together.

    Attributes
    ----------
    views: one or more views with different names, LPS mm; how many a reconstruction needs, its model says.
    field_of_view: the cube that is reconstructed.
    provenance: where the numbers come from (preset name, DICOM tags, calibration), free form.
    """

    views: tuple[View, ...]
    field_of_view: FieldOfView
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "views", tuple(self.views))
        if not self.views:
            raise InputError("A rig needs at least one view, and this one has none: add its views.")
        names = [view.name for view in self.views]
        if len(set(names)) != len(names):
            raise InputError(f"Two views of the rig have the same name ({', '.join(names)}): rename one.")

    def view(self, name: str) -> View:
        """The view of that name. Raises InputError, naming the views there are."""
        for view in self.views:
            if view.name == name:
                return view
        raise InputError(
            f"The rig has no view '{name}', only {', '.join(v.name for v in self.views)}: name one of these."
        )

    def separation_degrees(self, first: int = 0, second: int = 1) -> float:
        """Angle between the rays of two views through the centre of the field of view, 0 to 180 degrees."""
        center = np.array(self.field_of_view.center)
        rays = [center - np.array(self.views[i].source) for i in (first, second)]
        cosine = rays[0] @ rays[1] / (np.linalg.norm(rays[0]) * np.linalg.norm(rays[1]))
        return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))

    def coverage(self, view: View) -> float:
        """Fraction (0..1) of the field of view's volume, on a 9^3 grid of samples, that projects onto the detector."""
        fractions = (np.arange(_COVERAGE_SAMPLES) + 0.5) / _COVERAGE_SAMPLES
        low, high = self.field_of_view.bounds
        points = np.stack(
            np.meshgrid(*(low[i] + (high[i] - low[i]) * fractions for i in range(3)), indexing="ij"), axis=-1
        )
        pixels, depth = view.project(points.reshape(-1, 3))
        limits = np.array([view.rows, view.columns]) - 0.5
        with np.errstate(invalid="ignore"):
            inside = (pixels >= -0.5).all(axis=1) & (pixels <= limits).all(axis=1) & (depth > 0)
        return float(inside.mean())

    def check(self) -> list[str]:
        """Whether a reconstruction is possible with this rig.

        Returns warnings in words. Raises InputError when the field of view is absurd, lies behind or around a source, behind a
        detector or outside it, or when two or more views all look along the same line, so that none adds depth to another.
        """
        low, high = _FIELD_OF_VIEW_RANGE_MM
        size = self.field_of_view.size
        if not low <= size <= high:
            raise InputError(
                f"The field of view is {size:g} mm wide, outside {low:g} to {high:g} mm: correct the rig (its unit is mm)."
            )
        warnings = []
        for view in self.views:
            depths = view.project(self.field_of_view.corners)[1]
            if depths.min() <= 0:
                raise InputError(
                    f"The source of view '{view.name}' lies inside or beyond the field of view: correct the rig."
                )
            if depths.min() >= view.source_to_detector:
                raise InputError(f"The field of view lies behind the detector of view '{view.name}': correct the rig.")
            if depths.max() > view.source_to_detector:
                warnings.append(f"The field of view reaches through the detector of view '{view.name}'.")
            covered = self.coverage(view)
            if covered == 0:
                raise InputError(
                    f"The field of view is outside the detector of view '{view.name}': correct the rig or its field of view."
                )
            if covered < 0.95:
                warnings.append(
                    f"View '{view.name}' sees only {100 * covered:.0f} % of the field of view; the rest rests on the other views."
                )
        angles = [self.separation_degrees(i, j) for i, j in itertools.combinations(range(len(self.views)), 2)]
        usable = [min(angle, 180 - angle) for angle in angles]
        # A single view has no other to be parallel to: depth is then what its model has learnt.
        if usable and max(usable) < MINIMUM_SEPARATION_DEGREES:
            raise InputError(
                f"The views are nearly parallel ({max(usable):.0f} degrees apart), so depth cannot be known: "
                f"take radiographs at least {MINIMUM_SEPARATION_DEGREES:.0f} degrees apart, or correct the rig."
            )
        return warnings

    def transformed(self, matrix: ArrayLike) -> Rig:
        """All views and the centre of the field of view moved by a rigid 4x4 matrix; the cube stays aligned with the LPS axes."""
        transform = np.asarray(matrix, dtype=np.float64)
        x, y, z = transform[:3, :3] @ np.array(self.field_of_view.center) + transform[:3, 3]
        cube = FieldOfView((float(x), float(y), float(z)), self.field_of_view.size)
        return Rig(tuple(view.transformed(transform) for view in self.views), cube, self.provenance)

    def translated(self, offset: ArrayLike) -> Rig:
        """The whole rig moved by (dx, dy, dz) mm."""
        transform = np.eye(4)
        transform[:3, 3] = np.asarray(offset, dtype=np.float64)
        return self.transformed(transform)

    def to_dict(self) -> dict[str, Any]:
        """The content of a rig.json, schema ssrkd-rig/1."""
        return {
            "schema": SCHEMA,
            "frame": "LPS",
            "unit": "mm",
            "field_of_view": {"center": list(self.field_of_view.center), "size": self.field_of_view.size},
            "views": [
                {
                    "name": view.name,
                    "source": list(view.source),
                    "detector_origin": list(view.detector_origin),
                    "column_direction": list(view.column_direction),
                    "row_direction": list(view.row_direction),
                    "pixel_spacing": list(view.pixel_spacing),
                    "rows": view.rows,
                    "columns": view.columns,
                }
                for view in self.views
            ],
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], what: str = "the rig") -> Rig:
        """A rig from the content of a rig.json. Raises InputError naming `what` for another schema, frame, unit, or bad values."""
        expected = {"schema": SCHEMA, "frame": "LPS", "unit": "mm"}
        for key, wanted in expected.items():
            if value.get(key) != wanted:
                raise InputError(
                    f"{what} has {key} {value.get(key)!r}, and only {wanted!r} is understood: convert the rig."
                )
        try:
            cube = value["field_of_view"]
            views = tuple(
                View(
                    name=view["name"],
                    source=view["source"],
                    detector_origin=view["detector_origin"],
                    column_direction=view["column_direction"],
                    row_direction=view["row_direction"],
                    pixel_spacing=view["pixel_spacing"],
                    rows=view["rows"],
                    columns=view["columns"],
                )
                for view in value["views"]
            )
            return cls(views, FieldOfView(tuple(cube["center"]), cube["size"]), dict(value.get("provenance") or {}))
        except InputError as error:
            raise InputError(f"{what} cannot be used. {error}") from error
        except KeyError as error:
            raise InputError(f"{what} lacks {error}: add it (see the file format in docs/files.md).") from error
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(
                f"{what} holds a value of the wrong kind ({error}): see the file format in docs/files.md."
            ) from error

    def save(self, path: str | Path) -> None:
        """Write rig.json."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Rig:
        """Read rig.json. Raises InputError naming the file when it cannot be used."""
        return cls.from_dict(read_json(path, "a rig file"), str(path))
