"""Pictures of surfaces of a plan from several sides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.pictures.render import (
    Color,
    add_panel,
    look,
    off_screen_window,
    rendered,
    surface_actor,
    text_actor,
    write_png,
)
from SSRKDCore.planning.osteotomy_frame import TibialAxes
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

BONE: Color = (0.91, 0.84, 0.68)
DISTAL: Color = (0.55, 0.72, 0.62)
WEDGE: Color = (0.88, 0.32, 0.22)
GUIDE: Color = (0.30, 0.58, 0.88)
_BACKGROUND: Color = (0.10, 0.11, 0.13)
_TEXT: Color = (0.92, 0.92, 0.92)
_PANEL = (420, 560)
_BELOW_PLATEAU_MM = 110.0


def write_plan_picture(
    path: str | Path, parts: Sequence[tuple[Surface, Color]], axes: TibialAxes, outwards: Array | None = None
) -> None:
    """Write a PNG of the upper tibia from the front, the medial side, obliquely (or along `outwards`, (3,) from the bone) and the back.

    Raises RenderingUnavailable when the machine cannot draw.
    """
    oblique = axes.anterior - axes.lateral if outwards is None else outwards
    views = [
        ("Front", axes.anterior),
        ("Medial", -axes.lateral),
        ("Oblique" if outwards is None else "Guide", oblique / np.linalg.norm(oblique)),
        ("Lateral", axes.lateral),
        ("Back", -axes.anterior),
    ]
    window = off_screen_window(len(views) * _PANEL[0], _PANEL[1])
    upper = np.concatenate([surface.vertices for surface, _ in parts])
    upper = upper[axes.coordinates(upper)[:, 2] > -_BELOW_PLATEAU_MM]
    bounds = np.stack([upper.min(axis=0), upper.max(axis=0)])
    for index, (words, outward) in enumerate(views):
        panel = add_panel(window, index / len(views), 0.0, (index + 1) / len(views), 1.0, _BACKGROUND)
        for surface, color in parts:
            if not surface.is_empty:
                panel.AddActor(surface_actor(surface, color))
        up = axes.proximal - (axes.proximal @ outward) * outward
        look(panel, -outward, up / np.linalg.norm(up), bounds, fill=0.85)
        panel.AddViewProp(text_actor(words, 0.5, 0.985, 20, _TEXT, "center", "top", bold=True))
    write_png(path, rendered(window))
