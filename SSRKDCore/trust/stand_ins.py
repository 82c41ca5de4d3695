"""Stand-ins for radiographs that must be refused: simulated, since no real ones are at hand. What they prove is no more than that.

A child is an adult's leg made smaller with open growth plates; an implant a shell and a tray of cobalt-chromium; ankle and hip the other
ends of a leg without the bones beyond; a hand five rays of rods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import lateral_direction
from SSRKDCore.drr.attenuation import linear_attenuation
from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.drr.signed_distance import signed_distance
from SSRKDCore.drr.simulated_case import Subject, knee_center, leg_side, leg_subject, simulate_images
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.grid import Grid
from SSRKDCore.population.painting import paint_tube
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]
Bones = Mapping[str, Surface]

#: Pixels along a side of the images and their size (mm), and voxels of the simulated legs (mm).
PIXELS, PIXEL_MM, VOXEL_MM = 538, 0.8, 0.9
_CHILD = 0.7
_PLATE_MM = 1.3
#: 1/mm, about that of cobalt at 60 keV (NIST).
_COBALT_CHROMIUM = 1.05


def stand_in(kind: str, bones: Bones, seed: int) -> tuple[list[Radiograph], Rig, str]:
    """Radiographs in a radiography room, their rig and the side.

    Parameters
    ----------
    kind: one of STAND_INS. bones: a whole leg, LPS mm. seed: of the noise.
    """
    side, _ = leg_side(bones, "the leg", None)
    base = preset("room", side, (PIXEL_MM, PIXEL_MM), PIXELS, PIXELS)
    subject, rig = STAND_INS[kind](bones, base)
    return exposed(subject, rig, side, seed), rig, side


def exposed(subject: Subject, rig: Rig, side: str, seed: int) -> list[Radiograph]:
    """Noisy radiographs of a subject, one a view."""
    images = simulate_images(subject, rig, NoiseModel(), seed, "siddon").images
    return [
        Radiograph(pixels=images[view.name], pixel_spacing=view.pixel_spacing, view=view.name, side=side)
        for view in rig.views
    ]


def knee(bones: Bones, base: Rig) -> tuple[Subject, Rig]:
    """The knee itself, for comparison."""
    return _leg(bones, base, knee_center(bones))


def ankle(bones: Bones, base: Rig) -> tuple[Subject, Rig]:
    """The field of view at the lower end of the tibia."""
    return _leg(bones, base, _end(bones["tibia"], -1.0, 15.0))


def hip(bones: Bones, base: Rig) -> tuple[Subject, Rig]:
    """The field of view at the upper end of the femur."""
    return _leg(bones, base, _end(bones["femur"], 1.0, 30.0))


def child(bones: Bones, base: Rig) -> tuple[Subject, Rig]:
    """A leg of 0.7 of its size, with growth plates across femur and tibia."""
    matrix = np.diag([_CHILD, _CHILD, _CHILD, 1.0])
    small = {name: surface.transformed(matrix) for name, surface in bones.items()}
    subject, rig = _leg(small, base, knee_center(small))
    cartilage = linear_attenuation("muscle")
    for name, end, sign in (("femur", small["femur"].bounds[0, 2], 1.0), ("tibia", small["tibia"].bounds[1, 2], -1.0)):
        distance, x, y, z = _near(subject, small[name])
        middle = end + sign * (24.0 if name == "femur" else 18.0) * _CHILD
        wave = 1.5 * np.sin(2 * np.pi * x / 17.0) + 1.0 * np.sin(2 * np.pi * y / 23.0)
        subject.volume[(distance < 0.0) & (np.abs(z - middle - wave) < _PLATE_MM)] = cartilage
    return subject, rig


def implant(bones: Bones, base: Rig) -> tuple[Subject, Rig]:
    """A total knee replacement: femoral shell, tibial tray with a stem, and polyethylene between."""
    subject, rig = _leg(bones, base, knee_center(bones))
    distance, _, y, z = _near(subject, bones["femur"])
    bottom, middle = bones["femur"].bounds[0, 2], float(np.median(bones["femur"].vertices[:, 1]))
    shell = (
        (distance < 0.0) & (distance > -8.0) & (z < bottom + 38.0) & ((z < bottom + 12.0) | (np.abs(y - middle) > 8.0))
    )
    distance, x, y, z = _near(subject, bones["tibia"])
    top = bones["tibia"].bounds[1, 2]
    tray = (distance < 0.0) & (z < top - 8.0) & (z > top - 12.0)
    under = bones["tibia"].vertices[np.abs(bones["tibia"].vertices[:, 2] - top + 15.0) < 4.0].mean(axis=0)
    stem = (np.hypot(x - under[0], y - under[1]) < 7.0) & (z < top - 10.0) & (z > top - 50.0)
    subject.volume[(distance < 0.0) & (z >= top - 8.0)] = linear_attenuation("fat")
    subject.volume[shell | tray | stem] = _COBALT_CHROMIUM
    return subject, rig


def hand(bones: Bones, base: Rig) -> tuple[Subject, Rig]:
    """Five rays of a metacarpal and three phalanges in soft tissue, flat across the front view."""
    voxel = VOXEL_MM
    grid = Grid((-60.0, -30.0, -100.0), (voxel,) * 3, (int(200 / voxel), int(60 / voxel), int(120 / voxel)))
    volume = np.zeros(grid.shape, dtype=np.float32)
    side = lateral_direction(leg_side(bones, "the leg", None)[0])
    bone, flesh = 0.45 * linear_attenuation("cortical bone"), linear_attenuation("muscle")
    rays = []
    for ray in range(5):
        start, spread = np.array([side * (ray - 2) * 14.0, 0.0, -45.0]), np.array([side * (ray - 2) * 4.5, 0.0, 0.0])
        for length, width in ((52.0, 5.0), (34.0, 4.2), (22.0, 3.6), (16.0, 3.2)):
            end = start + np.array([0.0, 0.0, length]) + spread * length / 52.0
            rays.append((start, end, width))
            start = end + np.array([0.0, 0.0, 2.0])
    for start, end, width in rays:
        paint_tube(volume, grid, start, end, width + 6.0, flesh, 0.6)
    for start, end, width in rays:
        paint_tube(volume, grid, start + (end - start) * 0.05, end, width, bone, 0.6)
    return Subject("hand", volume, grid, {}, {}), base


def _leg(bones: Bones, base: Rig, center: tuple[float, float, float]) -> tuple[Subject, Rig]:
    rig = base.translated(center)
    return leg_subject("stand-in", bones, rig, None, VOXEL_MM), rig


def _end(bone: Surface, sign: float, inwards: float) -> tuple[float, float, float]:
    """The middle of a bone's end along z, `inwards` mm from its tip."""
    tip = float((sign * bone.vertices[:, 2]).max())
    near = bone.vertices[sign * bone.vertices[:, 2] > tip - 2 * inwards]
    x, y = near[:, :2].mean(axis=0)
    return float(x), float(y), float(sign * (tip - inwards))


def _near(subject: Subject, bone: Surface) -> tuple[Array, Array, Array, Array]:
    """Signed distance to a bone in mm on the subject's voxels, and x, y, z there."""
    x, y, z = subject.grid.axes
    grids = np.broadcast_arrays(x[None, None, :], y[None, :, None], z[:, None, None])
    return np.asarray(signed_distance(bone, subject.grid, limit=12.0)), grids[0], grids[1], grids[2]


STAND_INS: dict[str, Callable[[Bones, Rig], tuple[Subject, Rig]]] = {
    "knee": knee,
    "ankle": ankle,
    "hip": hip,
    "child": child,
    "implant": implant,
    "hand": hand,
}


def with_magnification(rig: Rig, names: tuple[str, ...], percent: float) -> Rig:
    """The rig with the magnification of some views at the centre of the field of view misstated by a share.

    The pixels are taken for larger or smaller than they are: heights and widths seen from the source change alike.
    """
    if not set(names) <= {view.name for view in rig.views}:
        raise InputError(f"The rig has no views {', '.join(names)}: name its own.")
    factor = 1.0 + percent / 100.0
    views = [view.with_larger_pixels(factor) if view.name in names else view for view in rig.views]
    return replace(rig, views=tuple(views))


def exchanged(radiographs: list[Radiograph]) -> list[Radiograph]:
    """Two radiographs under each other's names, as files without tags would be given."""
    first, second = radiographs
    return [replace(second, view=first.view), replace(first, view=second.view)]
