"""Six pictures of a knee's bones, from the same places and in the same light for both versions of a case."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import lateral_direction
from SSRKDCore.pictures.render import Color, add_panel, look, off_screen_window, rendered, surface_actor
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

WIDTH, HEIGHT = 440, 560
_BACKGROUND: Color = (0.08, 0.09, 0.10)
_BONE: Color = (0.86, 0.86, 0.86)
_TILT_DEGREES = 30.0
_FILL = 0.94
#: In the order of the page, two rows of three; the names are keys of the wording.
VIEWPOINTS = ("anterior", "lateral_side", "anterolateral_above", "posterior", "medial", "posteromedial_below")


def looking_directions(side: str) -> dict[str, Array]:
    """Viewpoint -> unit direction (LPS) in which one looks at a right or left knee from there."""
    lateral = np.array([lateral_direction(side), 0.0, 0.0])
    anterior, above = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    level, up = np.cos(np.radians(_TILT_DEGREES)), np.sin(np.radians(_TILT_DEGREES))
    oblique = level * (anterior + lateral) / np.sqrt(2) + up * above
    places = {
        "anterior": anterior,
        "lateral_side": lateral,
        "anterolateral_above": oblique,
        "posterior": -anterior,
        "medial": -lateral,
        "posteromedial_below": -oblique,
    }
    return {name: -places[name] for name in VIEWPOINTS}


def viewpoint_pictures(surfaces: Iterable[Surface], side: str, taken_in: Array) -> list[NDArray[np.uint8]]:
    """Six grey pictures [row, column] of HEIGHT x WIDTH, in the order of VIEWPOINTS.

    Parameters
    ----------
    surfaces: the bones, LPS mm, all drawn in one colour.
    side: "right" or "left".
    taken_in: (N, 3) points in mm that every picture holds; those of both versions of a case, so that their cameras are the same.

    Raises RenderingUnavailable when the machine cannot draw.
    """
    window = off_screen_window(WIDTH, HEIGHT)
    panel = add_panel(window, 0.0, 0.0, 1.0, 1.0, _BACKGROUND)
    for surface in surfaces:
        panel.AddActor(surface_actor(surface, _BONE))
    bounds = np.stack([taken_in.min(axis=0), taken_in.max(axis=0)])
    pictures = []
    for towards in looking_directions(side).values():
        above = np.array([0.0, 0.0, 1.0])
        up = above - towards * (towards @ above)
        up /= np.linalg.norm(up)
        look(panel, towards, up, bounds)
        offset = taken_in - bounds.mean(axis=0)
        # A box around oblique bones is far larger than the bones.
        half_height, half_width = np.abs(offset @ up).max(), np.abs(offset @ np.cross(towards, up)).max()
        panel.GetActiveCamera().SetParallelScale(max(half_height, half_width * HEIGHT / WIDTH) / _FILL)
        pictures.append(rendered(window)[:, :, 0])
    return pictures
