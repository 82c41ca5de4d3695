"""Knees that were bent further between two exposures: simulated, as radiographs taken one after the other mostly are.

The thigh takes half of the bend and the shin the other half, so that the joint's middle stays where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from SSRKDCore.drr.noise import NoiseModel
from SSRKDCore.drr.simulated_case import knee_center, leg_side, leg_subject
from SSRKDCore.evaluation.experiments.exposed_knee import exposed_knee
from SSRKDCore.geometry.mirror import MIRROR
from SSRKDCore.geometry.presets import preset
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.population.knee_motion import KneeMotion
from SSRKDCore.population.random_knee import KneeSource, RandomKneeRanges
from SSRKDCore.population.rigid_transforms import rotation_about
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.surface import Surface
from SSRKDCore.surface_files import read_bone_surfaces
from SSRKDCore.trust.stand_ins import PIXEL_MM, PIXELS, VOXEL_MM, exposed

#: Flexion (degrees) of drawn knees at the first exposure.
STRAIGHT_DEGREES = 3.0


@dataclass(frozen=True)
class BentKnee:
    """radiographs: one a view of the rig, in its order. rig: as it stood at both exposures. side: "right" or "left".
    bones: as they lay at the second exposure, LPS mm."""

    radiographs: list[Radiograph]
    rig: Rig
    side: str
    bones: Mapping[str, Surface]


def drawn_bent_knee(model: KneeSource, seed: int, degrees: float) -> BentKnee:
    """A knee of a shape model in synthetic tissue, bent by so many degrees more at the second exposure.

    Raises InputError where the bones cannot take one of the poses.
    """
    first, second = (
        exposed_knee(model, seed, _bent(STRAIGHT_DEGREES + more), NoiseModel(), f"The knee of seed {seed}")
        for more in (0.0, degrees)
    )
    views = first.rig.views
    images = (first.images[views[0].name], second.images[views[1].name])
    radiographs = [
        Radiograph(pixels=pixels, pixel_spacing=view.pixel_spacing, view=view.name, side=first.side)
        for pixels, view in zip(images, views, strict=True)
    ]
    return BentKnee(radiographs, first.rig, first.side, second.bones)


def bent_leg(folder: Path, degrees: float, seed: int) -> BentKnee:
    """A real leg's bones under simulated tissue (`ssrkd radiograph`'s), bent by so many degrees more at the second exposure.

    folder: of a leg's surfaces, LPS mm. seed: of the noise. Raises InputError for a leg that is no knee, or cannot take the pose.
    """
    bones = read_bone_surfaces(folder)
    side, _ = leg_side(bones, str(folder), None)
    mirrored = side == "left"
    motion = KneeMotion({name: bone.transformed(MIRROR) if mirrored else bone for name, bone in bones.items()})
    shown = []
    for more in (0.0, degrees):
        knee = motion.posed(more)
        leg = rotation_about(motion.frame.flexion_axis, -0.5 * more, motion.frame.centre)
        leg = MIRROR @ leg if mirrored else leg
        shown.append({name: bone.transformed(leg) for name, bone in knee.bones.items()})
    rig = preset("room", side, (PIXEL_MM, PIXEL_MM), PIXELS, PIXELS).translated(knee_center(shown[0]))
    both = [exposed(leg_subject(folder.name, posed, rig, None, VOXEL_MM), rig, side, seed) for posed in shown]
    return BentKnee([both[0][0], both[1][1]], rig, side, shown[1])


def _bent(degrees: float) -> RandomKneeRanges:
    """Knees that differ in nothing but their flexion."""
    return RandomKneeRanges(flexion=(degrees, degrees), extended=(degrees, degrees))
