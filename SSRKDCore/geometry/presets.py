"""Named rigs: the paper's, the published code's frame, a radiography room, a C-arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SSRKDCore.anatomy import SIDES, lateral_direction
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View


@dataclass(frozen=True)
class _Room:
    """Distances in mm of a preset with an AP and a mediolateral view at 90 degrees about the origin."""

    source_to_isocentre: float
    source_to_detector: float
    pixel_spacing: float
    pixels: int
    field_of_view_size: float
    description: str


_ROOMS = {
    "paper": _Room(
        1000.0,
        2000.0,
        0.575,
        512,
        136.0,
        "Lin et al. 2026: 1000/2000 mm, 512 pixels of 0.575 mm; the cube that this detector sees whole",
    ),
    "room": _Room(
        1000.0, 1150.0, 0.4, 1075, 160.0, "radiography room: 1000 mm to the knee, 1150 mm to a 430 mm detector"
    ),
    "c_arm": _Room(600.0, 1000.0, 0.3, 1000, 150.0, "C-arm: 600 mm to the knee, 1000 mm to a 300 mm flat panel"),
}
PUBLISHED_SOURCE_TO_ISOCENTRE = 1000.0
PUBLISHED_SOURCE_TO_DETECTOR = 2000.0
PUBLISHED_PIXELS = 512
PUBLISHED_PIXEL_SPACING = 0.575
PUBLISHED_CUBE = 256.0
PRESET_NAMES = (*_ROOMS, "published")


def detector_width(name: str) -> float:
    """Width in mm of the square detector of a preset."""
    if name == "published":
        return PUBLISHED_PIXELS * PUBLISHED_PIXEL_SPACING
    room = _room(name)
    return room.pixels * room.pixel_spacing


def _room(name: str) -> _Room:
    if name not in _ROOMS:
        raise InputError(f"There is no rig preset '{name}': use one of {', '.join(PRESET_NAMES)}, or a rig.json file.")
    return _ROOMS[name]


def central_view(
    name: str,
    beam: np.ndarray,
    column_direction: np.ndarray,
    row_direction: np.ndarray,
    source_to_isocentre: float,
    source_to_detector: float,
    pixel_spacing: tuple[float, float],
    rows: int,
    columns: int,
    isocentre: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> View:
    """A view whose central ray passes the isocentre and meets the centre of a detector perpendicular to it.

    Parameters
    ----------
    name: the view's name.
    beam: (3,) unit vector from the source to the detector, LPS.
    column_direction, row_direction: (3,) unit vectors of the image axes, perpendicular to `beam`.
    source_to_isocentre, source_to_detector: mm.
    pixel_spacing: mm on the detector (between rows, between columns).
    rows, columns: image size.
    isocentre: (x, y, z) in mm.
    """
    center = np.asarray(isocentre, dtype=np.float64)
    source = center - source_to_isocentre * beam
    first = source + source_to_detector * beam
    first = (
        first
        - (rows - 1) / 2 * pixel_spacing[0] * row_direction
        - (columns - 1) / 2 * pixel_spacing[1] * column_direction
    )
    return View(
        name, tuple(source), tuple(first), tuple(column_direction), tuple(row_direction), pixel_spacing, rows, columns
    )


def preset(
    name: str,
    side: str = "right",
    pixel_spacing: tuple[float, float] | None = None,
    rows: int | None = None,
    columns: int | None = None,
    field_of_view_size: float | None = None,
) -> Rig:
    """A named rig centred on the origin.

    "paper", "room" and "c_arm" have an AP view (beam from anterior to posterior; columns run to the patient's left, rows downwards)
    and a mediolateral view (beam from the medial to the lateral side, which depends on `side`; columns run to posterior, rows
    downwards). "published" is the frame of the code released with the paper, whatever the side; see `published_rig`.

    Parameters
    ----------
    name: one of PRESET_NAMES.
    side: "right" or "left".
    pixel_spacing, rows, columns: replace the preset's detector pixels, mm and counts; the detector stays centred on the central ray.
    field_of_view_size: side of the cube in mm.

    Raises InputError for an unknown name or side.
    """
    if side not in SIDES:
        raise InputError(f"The side is '{side}', and it must be right or left.")
    if name == "published":
        return published_rig()
    room = _room(name)
    spacing = pixel_spacing or (room.pixel_spacing, room.pixel_spacing)
    down = np.array([0.0, 0.0, -1.0])
    axes = {
        "ap": (np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])),
        "lateral": (np.array([lateral_direction(side), 0.0, 0.0]), np.array([0.0, 1.0, 0.0])),
    }
    views = tuple(
        central_view(
            view,
            beam,
            columns_along,
            down,
            room.source_to_isocentre,
            room.source_to_detector,
            spacing,
            rows or room.pixels,
            columns or room.pixels,
        )
        for view, (beam, columns_along) in axes.items()
    )
    cube = FieldOfView((0.0, 0.0, 0.0), room.field_of_view_size if field_of_view_size is None else field_of_view_size)
    return Rig(views, cube, {"preset": name, "side": side, "description": room.description})


def published_rig(angles_degrees: tuple[float, float] = (0.0, 90.0)) -> Rig:
    """The frame of the code released with Lin et al. 2026, for its checkpoints only.

    Every CT is stretched there to a cube of 256 mm, whose axes stand here for LPS x, y, z. The source is at R(angle) (1000, 0, 0),
    the detector 2000 mm from it: 512 pixels of 0.575 mm, columns along R(angle) y, rows along -z. The normalised image coordinate of
    the released code is the detector position over the half width of the detector, (pixel + 0.5) * 2 / 512 - 1 in our pixels.

    Parameters
    ----------
    angles_degrees: rotation about z of the two views, (0, 90) in evaluation; the first is named "ap", the second "lateral".
    """
    views = []
    for view, angle in zip(("ap", "lateral"), np.radians(angles_degrees), strict=True):
        cosine, sine = float(np.cos(angle)), float(np.sin(angle))
        views.append(
            central_view(
                view,
                np.array([-cosine, -sine, 0.0]),
                np.array([-sine, cosine, 0.0]),
                np.array([0.0, 0.0, -1.0]),
                PUBLISHED_SOURCE_TO_ISOCENTRE,
                PUBLISHED_SOURCE_TO_DETECTOR,
                (PUBLISHED_PIXEL_SPACING, PUBLISHED_PIXEL_SPACING),
                PUBLISHED_PIXELS,
                PUBLISHED_PIXELS,
            )
        )
    provenance = {
        "preset": "published",
        "angles_degrees": list(angles_degrees),
        "description": "frame of the released code; not metric for a real patient",
    }
    return Rig(tuple(views), FieldOfView((0.0, 0.0, 0.0), PUBLISHED_CUBE), provenance)
