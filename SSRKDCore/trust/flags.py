"""From measures to flags in words, and from flags to a light."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.evaluation.outline_distance import OutlineDistance
from SSRKDCore.refinement.view_motion import ViewMotion
from SSRKDCore.trust.bone_sizes import size_vector
from SSRKDCore.trust.case_measures import CaseMeasures
from SSRKDCore.trust.flag import (
    ANGLE_DEGREES,
    HEIGHT_MM,
    LIGHTS,
    OR_BENT,
    ROLL_DEGREES,
    SCALE_PERCENT,
    UNCHECKED_SCALE,
    Flag,
    above,
    beyond,
    unmeasured,
)
from SSRKDCore.trust.known_view_motion import bundled_known_view_motion
from SSRKDCore.trust.reference import TrustReference
from SSRKDCore.trust.several_views import several_scale_flags, several_turn_flags
from SSRKDCore.trust.view_scales import ScaleDisagreement

#: The flag that the rig, by its own provenance, is not known well enough.
UNCERTAIN_GEOMETRY = "uncertain_geometry"
#: Names that a flag can have.
FLAG_NAMES = (
    "swapped_views",
    "magnification",
    "stated_geometry",
    UNCERTAIN_GEOMETRY,
    "view_height",
    "view_angle",
    "view_roll",
    UNCHECKED_SCALE,
    "not_a_knee",
    "against_the_network",
    "child",
    "implant",
    "lost_contrast",
    "size",
    "other_side",
    "missing_bone",
    "unlike_training",
    "outline",
    "expected_error",
)
_IMPLANT_CM2 = (1.0, 5.0)
# Twice what usual knees reach (docs/measured/trust), and what no implant covers.
_ONE_BRIGHTNESS = (0.2, 1 / 3)
_SIZE_SPREADS = (2.6, 4.0)
# Share of a bone's volume in pieces apart from it: knees of the training stay below 0.1.
_PIECES = (0.2, 0.5)
_TOO_MANY = 3
# Share of the outlines' samples near which edges are found: 0.97 and more for usual knees, 0.92 and more for bones of a real pair.
_LEAST_EDGES_FOUND = 0.5
# Without a reference: no reconstruction whose outlines lie this far off has been seen to be right (mm).
_OUTLINE_WITHOUT_REFERENCE = (2.5, 3.5)


def light_of(flags: Sequence[Flag]) -> str:
    """The worst light of the flags, and red for three ambers: so much that is unusual at once is no chance. Green without any.

    A scale that could not be checked and a geometry that nobody measured are nothing unusual found, and do not count as one of the three.
    """
    if sum(flag.name not in (UNCHECKED_SCALE, UNCERTAIN_GEOMETRY) for flag in flags) >= _TOO_MANY:
        return "red"
    return max((flag.light for flag in flags), key=LIGHTS.index, default="green")


def flags_of(measures: CaseMeasures, reference: TrustReference | None) -> list[Flag]:
    """Everything that speaks against a reconstruction, the worst first.

    Parameters
    ----------
    measures: of the reconstruction.
    reference: of the model's training; without one, only what needs none is judged.
    """
    flags = _plain(measures)
    if len(measures.views) > 2:
        flags += several_scale_flags(measures.views, measures.pair_scales)
        flags += several_turn_flags(measures.views, measures.pair_motions)
    else:
        flags += [*_views(measures.scale), *_turns(measures.motion)]
    if reference is None:
        flags += _outline(measures.outlines["all"]["all"], lambda mean: above(mean, _OUTLINE_WITHOUT_REFERENCE), None)
    else:
        flags += _against(measures, reference)
    return sorted(flags, key=lambda flag: (-LIGHTS.index(flag.light), FLAG_NAMES.index(flag.name)))


def _plain(measures: CaseMeasures) -> list[Flag]:
    flags = []
    if measures.swapped:
        flags.append(
            Flag("swapped_views", "red", "The AP and the lateral radiograph look swapped: check which file is which.")
        )
    if measures.other_side:
        flags.append(
            Flag("other_side", "amber", "The bones are those of the other side: check the side, or a mirrored image.")
        )
    found = measures.contradiction
    light = None if found is None else above(abs(found.percent), (SCALE_PERCENT[0], SCALE_PERCENT[1]))
    if found is not None and np.isnan(found.percent):
        flags.append(
            unmeasured("stated_geometry", "red", f"How the rig agrees with what the file of view '{found.view}' states")
        )
    elif found is not None and light:
        flags.append(
            Flag(
                "stated_geometry",
                light,
                f"The {found.what} of view '{found.view}' in the rig is {abs(found.percent):.1f} % "
                f"{'larger' if found.percent > 0 else 'smaller'} than its file states: correct the rig, or calibrate.",
            )
        )
    if measures.overruled:
        flags.append(
            Flag(
                "against_the_network",
                "amber",
                f"What the network saw of {', '.join(measures.overruled)} lies beside the edges in the radiographs, and the shape model "
                "was fitted to these edges instead: look at the outlines, and take views nearer to a right angle if they were not.",
            )
        )
    if measures.doubts:
        flags.append(
            Flag(
                UNCERTAIN_GEOMETRY,
                "red" if any(doubt.serious for doubt in measures.doubts) else "amber",
                f"The geometry is not known well enough for millimetres: {'; '.join(doubt.words for doubt in measures.doubts)}. "
                "Calibrate with a ball or an object.",
            )
        )
    contrast_light = above(measures.one_brightness, _ONE_BRIGHTNESS)
    light = above(measures.metal_cm2, _IMPLANT_CM2)
    if np.isnan(measures.metal_cm2):
        flags.append(unmeasured("implant", "red", "How much metal there is in the images"))
    elif light:
        flags.append(Flag("implant", light, _metal_words(measures.metal_cm2, burnt_out=contrast_light is not None)))
    if np.isnan(measures.one_brightness):
        flags.append(unmeasured("lost_contrast", "red", "Whether bones stand out of the leg in the images"))
    elif contrast_light:
        flags.append(
            Flag(
                "lost_contrast",
                contrast_light,
                f"{100 * measures.one_brightness:.0f} % of an image is about as bright as its brightest part (usual: below 10 %): bones "
                "hardly stand out of the leg (burnt out, or a steep display curve), or a very large implant hides them. Export it again, "
                "raw if possible.",
            )
        )
    for name in measures.missing:
        flags.append(
            Flag(
                "missing_bone",
                "red" if name in ("femur", "tibia") else "amber",
                f"The {name} was not found: check that the radiographs show it.",
            )
        )
    return flags


def _metal_words(area_cm2: float, burnt_out: bool) -> str:
    """What a bright part of an image with a steep edge is. burnt_out: the leg itself may be as bright."""
    if burnt_out:
        return (
            f"About {area_cm2:.0f} cm2 of an image are as bright as metal with an edge as steep: a large implant, which the model does not "
            "know, or a leg that is burnt out there."
        )
    return f"About {area_cm2:.0f} cm2 of metal hide the bones: the model knows screws and plates, not large implants."


def _views(scale: ScaleDisagreement | None) -> list[Flag]:
    """Whether the two views contradict one another in scale or height, and whether these images can tell."""
    if scale is None:
        return [_unchecked(None)]
    precision, flags = scale.known_to_percent, []
    light = beyond(scale.percent, SCALE_PERCENT, precision)
    if np.isnan([scale.percent, precision]).any():
        flags.append(_unchecked(scale))
    elif light:
        flags.append(
            Flag(
                "magnification",
                light,
                f"The two views disagree in scale by {abs(scale.percent):.1f} % (known to about {precision:.1f} %): the "
                f"magnification of one is wrong (calibrate, or correct its distances or pixel spacing), {OR_BENT}.",
            )
        )
    elif abs(scale.percent) + precision > SCALE_PERCENT[1]:
        flags.append(_unchecked(scale))
    light = beyond(scale.shift_mm, HEIGHT_MM, scale.known_to_mm)
    if np.isnan([scale.shift_mm, scale.known_to_mm]).any():
        flags.append(unmeasured("view_height", "amber", "Whether the two views agree in height"))
    elif light:
        flags.append(
            Flag(
                "view_height",
                light,
                f"The two views disagree in height by {abs(scale.shift_mm):.1f} mm: the geometry is not that of these images, "
                "or the leg moved or bent between them.",
            )
        )
    return flags


def _turns(motion: ViewMotion | None) -> list[Flag]:
    """Whether the second view is turned against what the rig says, as far as edges and the shape of knees tell."""
    if motion is None:
        return []
    flags, known = [], bundled_known_view_motion()
    angle, precision = motion.angle_degrees, known.angle_degrees(motion.angle_spread_degrees)
    light = beyond(angle, ANGLE_DEGREES, precision)
    if np.isnan([angle, precision]).any():
        flags.append(unmeasured("view_angle", "amber", "Whether the angle between the views is the stated one"))
    elif light:
        flags.append(
            Flag(
                "view_angle",
                light,
                f"The bones look like a knee between beams {abs(angle):.0f} degrees {'further apart' if angle > 0 else 'closer together'} "
                f"than the rig says (known to about {precision:.0f} degrees): the angle between the views is another, or the leg turned "
                "between them. Measure it, or calibrate with an object.",
            )
        )
    roll, precision = motion.roll_degrees, known.roll_degrees(motion.roll_spread_degrees)
    light = beyond(roll, ROLL_DEGREES, precision)
    if np.isnan([roll, precision]).any():
        flags.append(unmeasured("view_roll", "amber", "Whether the second view's image is turned in its plane"))
    elif light:
        flags.append(
            Flag(
                "view_roll",
                light,
                f"The second view's image looks turned in its plane by {abs(roll):.0f} degrees against what the rig says (known to about "
                f"{precision:.0f} degrees): its detector was tilted or the leg leant over between the views (calibrate with an object), "
                f"{OR_BENT}.",
            )
        )
    return flags


def _unchecked(scale: ScaleDisagreement | None) -> Flag:
    allowed = "they show too little alike"
    if scale is not None and np.isnan([scale.percent, scale.known_to_percent]).any():
        allowed = "it could not be measured"
    elif scale is not None:
        allowed = f"they allow for {abs(scale.percent) + scale.known_to_percent:.1f} %"
    return Flag(
        UNCHECKED_SCALE,
        "amber",
        f"The images cannot exclude that the scale of one view is wrong by {SCALE_PERCENT[1]:.0f} % ({allowed}), so it could not be "
        "checked: make sure of both magnifications, or calibrate.",
    )


def _against(measures: CaseMeasures, reference: TrustReference) -> list[Flag]:
    flags = []
    limits = reference.limits
    vector = size_vector(measures.sizes)
    size_distance = reference.size_distance(vector)
    shape, pieces = limits["sizes"].light(size_distance), above(measures.pieces, _PIECES) or "green"
    absent = len(measures.missing) >= 2 or len(measures.sizes) < 6
    strange = max(shape, pieces, key=LIGHTS.index)
    if not absent and np.isnan([size_distance, measures.pieces, *measures.sizes.values()]).any():
        flags.append(unmeasured("not_a_knee", "red", "Whether the bones are shaped and placed as in a knee"))
    elif absent or strange != "green":
        flags.append(
            Flag(
                "not_a_knee",
                "red" if absent else strange,
                "The bones are not shaped and placed as in a knee: another joint, a hand or foot, or a wrong field of view?",
            )
        )
    flags += _size(measures, reference)
    distance = reference.images.distance(measures.features)
    light = limits["images"].light(distance)
    if np.isnan(distance):
        flags.append(
            unmeasured("unlike_training", light, "How the images compare with those that the model was trained on")
        )
    elif light != "green":
        flags.append(
            Flag(
                "unlike_training",
                light,
                f"The images are unlike those that the model was trained on (distance {distance:.1f}, typical "
                f"{limits['images'].typical:.1f}, limit {limits['images'].amber:.1f}).",
            )
        )
    flags += _outline(measures.outlines["all"]["all"], limits["outline"].light, limits["outline"].amber)
    worst, bone = worst_expected_error(measures, reference)
    light = limits["expected_error"].light(worst)
    if np.isnan(worst):
        flags.append(unmeasured("expected_error", light, f"Which error is to be expected of the {bone}"))
    elif light != "green":
        multiple = reference.widened(measures)
        why = (
            f", {multiple:.1f} times as much as where images and bones are like the training's" if multiple > 1 else ""
        )
        flags.append(
            Flag(
                "expected_error",
                light,
                f"An error of {worst:.1f} mm on average is to be expected of the {bone} (usual: "
                f"{limits['expected_error'].typical:.1f} mm for the worst bone{why}).",
            )
        )
    return flags


def _size(measures: CaseMeasures, reference: TrustReference) -> list[Flag]:
    """Growth plates, and bones that are small or large as a whole."""
    flags = []
    contrast = measures.growth_plate
    light = reference.limits["growth_plate"].light(contrast or 0.0)
    if contrast is not None and np.isnan(contrast):
        flags.append(unmeasured("child", "amber", "Whether growth plates are open"))
        light = "green"
    relative = reference.relative_size(size_vector(measures.sizes))
    light_of_size = above(abs(relative or 0.0), tuple(s * reference.size_spread for s in _SIZE_SPREADS))
    small = relative is not None and relative < 0 and light_of_size is not None
    # Screws make notches too, and so does noise where nothing else is left.
    plates = light != "green" and measures.metal_cm2 == 0.0 and measures.one_brightness < _ONE_BRIGHTNESS[0]
    if small and plates:
        flags.append(
            Flag(
                "child",
                "red",
                f"The bones are {-100 * (relative or 0):.0f} % smaller than an adult's and a dark band crosses them, as open growth plates "
                "do: a child's knee, which the model has never seen.",
            )
        )
    elif plates and light == "red":
        flags.append(
            Flag("child", "amber", "A dark band crosses a bone's end, as an open growth plate does: is this a child?")
        )
    if light_of_size:
        flags.append(
            Flag(
                "size",
                light_of_size,
                f"The bones are {abs(100 * (relative or 0)):.0f} % {'smaller' if small else 'larger'} than an average adult's: a child or "
                "an uncommon person, or the magnification of both views is wrong, which images alone cannot tell apart.",
            )
        )
    return flags


def _outline(distance: OutlineDistance, judge: Callable[[float], str | None], usual_mm: float | None) -> list[Flag]:
    """How far all outlines lie from edges, and whether there are edges to tell; judge: the light of a mean distance in mm."""
    mean = distance.mean_mm
    if mean is None:
        return [Flag("outline", "red", "No bone edge was found near the outlines of the reconstruction.")]
    light = judge(mean)
    if np.isnan(mean):
        what = "How far the outlines lie from the bone edges in the radiographs"
        return [unmeasured("outline", light or "red", what)]
    if light not in (None, "green"):
        usual = "" if usual_mm is None else f" (up to {usual_mm:.1f} mm is usual)"
        words = f"The outlines lie {mean:.1f} mm from the bone edges in the radiographs on average{usual}: look at preview.png."
        return [Flag("outline", str(light), words)]
    if not distance.found >= _LEAST_EDGES_FOUND:
        words = (
            f"Bone edges were found near {100 * distance.found:.0f} % of the outlines only (usual: more than 90 %), and the rest cannot be "
            "checked: look at preview.png."
        )
        return [Flag("outline", "amber", words)]
    return []


def worst_expected_error(measures: CaseMeasures, reference: TrustReference) -> tuple[float, str]:
    """The largest mean expected error of a bone in mm, and the bone's name; one that is not a number is the largest of all."""
    means = expected_errors(measures, reference)
    bone = max(means, key=lambda name: (np.isnan(means[name]), means[name]), default=BONE_NAMES[0])
    return means.get(bone, 0.0), bone


def expected_errors(measures: CaseMeasures, reference: TrustReference) -> Mapping[str, float]:
    """Mean expected absolute error in mm by bone."""
    found = reference.expected_errors(measures)
    return {name: float(np.mean(values)) for name, values in found.items() if len(values)}
