"""Random knees: bones of a shape model in a random pose, size, side and place."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES, SIDES
from SSRKDCore.errors import InputError
from SSRKDCore.geometry.mirror import MIRROR
from SSRKDCore.population.joint_frames import knee_frame
from SSRKDCore.population.knee_motion import JointSpaces, KneeMotion
from SSRKDCore.population.patella_tracking import PatellaOffset
from SSRKDCore.population.penetration import closest_pair
from SSRKDCore.population.rigid_transforms import rotation_about, translation
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]

# Bones of a knee are kept at least this far apart (mm), so that every later grid still sees them apart or just touching.
_SMALLEST_GAP = 0.1
_TRIES = 25
# Normal variates are drawn again beyond this many standard deviations.
_CUT = 2.5


class KneeSource(Protocol):
    """What random knees are made from: `shape_model.KneeShapeModel`, or anything that samples like it."""

    def sample(self, generator: np.random.Generator) -> dict[str, Surface]:
        """Four closed bones of a right knee, LPS mm, knee frame, about straight."""
        ...


@dataclass(frozen=True)
class RandomKneeRanges:
    """How random knees differ from the shape model's samples (degrees, mm; pairs are lowest and highest unless said otherwise).

    Attributes
    ----------
    flexion: between the shafts, as `KneeFrame.flexion_deg`; the negative part is slight hyperextension.
    extended_share, extended: share of knees whose flexion comes from the range `extended` instead: CTs and standing radiographs
        show near-straight knees.
    varus, rotation: standard deviations of varus and of internal tibial rotation added to what the sample has.
    size, width: factor on the sample's size (its logarithm is uniform), cut such that the femur's width lies in `width`:
        bicondylar widths are 78.5 +- 3.0 mm in women and 88.6 +- 4.2 mm in men (Terzidis et al.,
        Anatomy Research International 2012, 679658).
    aspect: standard deviation of the logarithms of extra factors along x, y and z, volume kept.
    medial_space, lateral_beyond_medial, patellofemoral_space: mean and standard deviation of joint spaces. Radiographs show
        4.8 +- 0.7 mm medially in healthy women and 5.7 +- 0.8 mm in men (Beattie et al., BMC Musculoskelet Disord 9:119, 2008); the
        smallest distance of the bones in space, meant here, is less than that width in projection: 2.7 to 4.1 mm in the legs
        that shape models are fitted to, and 3.8 is a guess. Cartilage of the patella
        alone is 2.8 mm thick on the mean (Eckstein et al., Osteoarthritis Cartilage 9, 2001).
    narrowed_share, narrowed_space: share of knees with one compartment narrowed as in osteoarthritis, medial three times of four
        (guesses), and the space left.
    tibiofibular_space: least distance of the fibula from the tibia.
    patella_shift, patella_tilt, patella_spin: standard deviations about the middle of the track.
    orientation, placement: standard deviations of the leg's rotations about x, y, z and of its shift along them.
    left_share: share of left knees.
    """

    flexion: tuple[float, float] = (-5.0, 40.0)
    extended_share: float = 0.4
    extended: tuple[float, float] = (-5.0, 10.0)
    varus: float = 1.5
    rotation: float = 4.0
    size: tuple[float, float] = (0.85, 1.15)
    width: tuple[float, float] = (68.0, 100.0)
    aspect: float = 0.02
    medial_space: tuple[float, float] = (3.8, 0.9)
    lateral_beyond_medial: tuple[float, float] = (0.9, 0.8)
    patellofemoral_space: tuple[float, float] = (2.8, 0.9)
    narrowed_share: float = 0.2
    narrowed_space: tuple[float, float] = (0.4, 2.0)
    tibiofibular_space: tuple[float, float] = (0.4, 1.5)
    patella_shift: float = 1.0
    patella_tilt: float = 3.0
    patella_spin: float = 2.0
    orientation: tuple[float, float, float] = (4.0, 4.0, 8.0)
    placement: tuple[float, float, float] = (6.0, 6.0, 8.0)
    left_share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("flexion", "extended", "size", "width", "narrowed_space", "tibiofibular_space"):
            low, high = getattr(self, name)
            if not low <= high:
                raise InputError(
                    f"The range {name} of random knees runs from {low} to {high}: give the lower end first."
                )
        for name in ("extended_share", "narrowed_share", "left_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"{name} of random knees is {getattr(self, name)}: give a share between 0 and 1.")
        if self.size[0] <= 0.0 or self.narrowed_space[0] < 0.2 or self.tibiofibular_space[0] < 0.2:
            raise InputError(
                "Sizes of random knees must be positive, and joint spaces at least 0.2 mm: correct the ranges."
            )


@dataclass(frozen=True)
class RandomKnee:
    """One random knee.

    Attributes
    ----------
    bones: name -> closed surface, LPS mm, joint near the origin; no bone intersects another.
    side: "right" or "left".
    parameters: what was drawn and reached, for JSON: flexion_deg, valgus_deg (between the shafts), varus_deg and rotation_deg
        (added to the sample), size, aspect, joint_spaces_mm (medial, lateral, ...), patella, orientation_deg, placement_mm,
        femoral_width_mm, tries.
    """

    bones: dict[str, Surface]
    side: str
    parameters: dict[str, Any]


def random_knee(
    model: KneeSource, generator: np.random.Generator, ranges: RandomKneeRanges | None = None
) -> RandomKnee:
    """A random knee: a sample of the model, sized, bent, brought into contact, mirrored for left, turned and placed.

    The thigh takes up half of the flexion, so that a bent knee stays in the middle of the image. The same state of the generator
    gives the same knee. A draw whose bones cannot be brought into its pose is dropped, and another one made.

    Raises InputError when 25 draws in a row were dropped.
    """
    ranges = ranges or RandomKneeRanges()
    reason = ""
    for attempt in range(1, _TRIES + 1):
        try:
            knee = _drawn_knee(model, generator, ranges)
        except InputError as error:
            reason = str(error)
            continue
        knee.parameters["tries"] = attempt
        return knee
    raise InputError(
        f"No plausible knee in {_TRIES} draws: check the shape model and the ranges of random knees (the last draw: {reason})"
    )


def _drawn_knee(model: KneeSource, generator: np.random.Generator, ranges: RandomKneeRanges) -> RandomKnee:
    side = SIDES[int(generator.random() < ranges.left_share)]
    sample = model.sample(generator)
    scale, aspect = _drawn_scale(sample, generator, ranges)
    stretch = np.diag([*(scale * aspect), 1.0])
    motion = KneeMotion({name: sample[name].transformed(stretch) for name in BONE_NAMES})

    extended = generator.random() < ranges.extended_share
    flexion = float(generator.uniform(*(ranges.extended if extended else ranges.flexion)))
    varus, rotation = _normal(generator, ranges.varus), _normal(generator, ranges.rotation)
    spaces = _drawn_spaces(generator, ranges)
    offset = PatellaOffset(
        _normal(generator, ranges.patella_shift),
        _normal(generator, ranges.patella_tilt),
        _normal(generator, ranges.patella_spin),
    )
    knee = motion.posed(flexion - motion.frame.flexion_deg, varus, rotation, spaces, offset)

    orientation = [_normal(generator, spread) for spread in ranges.orientation]
    placement = [_normal(generator, spread) for spread in ranges.placement]
    leg = rotation_about(knee.frame.flexion_axis, -0.5 * knee.frame.flexion_deg, knee.frame.centre)
    if side == "left":
        leg = MIRROR @ leg
    for axis, degrees in zip(np.eye(3), orientation, strict=True):
        leg = rotation_about(axis, degrees, np.zeros(3)) @ leg
    leg = translation(np.array(placement)) @ leg
    gap, pair = closest_pair(knee.bones)
    if gap < _SMALLEST_GAP:
        raise InputError(f"{pair[0].capitalize()} and {pair[1]} come as close as {gap:.1f} mm.")
    parameters = {
        "flexion_deg": knee.frame.flexion_deg,
        "valgus_deg": knee.frame.valgus_deg,
        "varus_deg": varus,
        "rotation_deg": rotation,
        "size": scale,
        "aspect": [float(factor) for factor in aspect],
        "joint_spaces_mm": asdict(knee.spaces),
        "patella": asdict(offset),
        "orientation_deg": orientation,
        "placement_mm": placement,
        "femoral_width_mm": knee.frame.femoral_width,
    }
    return RandomKnee({name: bone.transformed(leg) for name, bone in knee.bones.items()}, side, parameters)


def _drawn_scale(
    sample: dict[str, Surface], generator: np.random.Generator, ranges: RandomKneeRanges
) -> tuple[float, Array]:
    """Factor on the sample's size, cut to adult widths, and factors (3,) along x, y, z whose product is 1."""
    logarithms = np.array([_normal(generator, ranges.aspect) for _ in range(3)])
    aspect = np.exp(logarithms - logarithms.mean())
    scale = float(np.exp(generator.uniform(*np.log(ranges.size))))
    width = knee_frame(sample).femoral_width * float(aspect[0])
    return float(np.clip(scale, ranges.width[0] / width, ranges.width[1] / width)), aspect


def _drawn_spaces(generator: np.random.Generator, ranges: RandomKneeRanges) -> JointSpaces:
    least = ranges.narrowed_space[1]
    medial = max(least, ranges.medial_space[0] + _normal(generator, ranges.medial_space[1]))
    beyond = ranges.lateral_beyond_medial[0] + _normal(generator, ranges.lateral_beyond_medial[1])
    lateral = max(least, medial + beyond)
    patellofemoral = max(1.0, ranges.patellofemoral_space[0] + _normal(generator, ranges.patellofemoral_space[1]))
    narrowed, is_medial = generator.random() < ranges.narrowed_share, generator.random() < 0.75
    left = float(generator.uniform(*ranges.narrowed_space))
    tibiofibular = float(generator.uniform(*ranges.tibiofibular_space))
    if narrowed and is_medial:
        medial = left
    elif narrowed:
        lateral = left
    return JointSpaces(medial, lateral, patellofemoral, tibiofibular)


def _normal(generator: np.random.Generator, spread: float) -> float:
    """A normal variate of that standard deviation, drawn again while beyond 2.5 of them."""
    while True:
        value = float(generator.normal())
        if abs(value) <= _CUT:
            return value * spread
