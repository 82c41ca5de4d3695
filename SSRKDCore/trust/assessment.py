"""The assessment of one reconstruction: its light, the reasons, the figures, and the uncertainty of every vertex."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.networks.model_folder import Model, shape_prior_path
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.reconstruction.pipeline import Reconstruction
from SSRKDCore.refinement.refine import REFINED
from SSRKDCore.refinement.view_motion import ViewMotion
from SSRKDCore.surface import Surface
from SSRKDCore.trust.bone_sizes import size_vector
from SSRKDCore.trust.case_measures import CaseMeasures, Encoded, case_measures
from SSRKDCore.trust.flags import Flag, expected_errors, flags_of, light_of
from SSRKDCore.trust.known_view_motion import bundled_known_view_motion
from SSRKDCore.trust.nearby_values import at_vertices_of_all
from SSRKDCore.trust.reference import TrustReference, reference_of
from SSRKDCore.trust.vertex_terms import SAMPLES_A_BONE
from SSRKDCore.trust.view_scales import ScaleDisagreement

Array = NDArray[np.float64]
Value = TypeVar("Value")

#: Point arrays of the files with uncertainty.
EXPECTED, INTERVAL = "expected_error_mm", "interval95_mm"
NOTHING = "Nothing that is checked speaks against this reconstruction."
UNREFINED = "The bones are the network's own, and which errors to expect is known of this model's refined bones only: none are stated."


@dataclass(frozen=True)
class Assessment:
    """What is thought of a reconstruction.

    Attributes
    ----------
    light: "green", "amber" or "red". reasons: sentences, the worst first.
    figures: everything measured, plain values.
    expected, interval: by bone, (V,) mm at the vertices of the reconstruction: expected absolute error, and half width of the 95 %
        interval; empty where the model brings no reference, or one of refined bones and these are not; bones that alone are not refined
        are left out.
    """

    light: str
    reasons: tuple[str, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, Array] = field(default_factory=dict)
    interval: Mapping[str, Array] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The content of "trust" in a report.json."""
        return {"light": self.light, "reasons": list(self.reasons), **self.figures}


def assess(
    radiographs: Sequence[Radiograph],
    rig: Rig,
    model: Model,
    result: Reconstruction,
    encoded: Encoded | None,
) -> Assessment:
    """Assess a reconstruction. Never raises: what goes wrong here is a reason not to trust the result.

    Parameters
    ----------
    radiographs, rig, model: what `reconstruct` was given. result: what it returned. encoded: what it told its `encoded` callback, best with
        what it told `tabled`.
    """
    try:
        if encoded is None:
            return _failed("the reconstruction did not hand over the network's features")
        try:
            reference, without = reference_of(model), None
        except InputError as error:
            reference, without = None, str(error)
        # Uncertainty is only worth its time where there is something to scale it by.
        samples = SAMPLES_A_BONE if reference is not None else 0
        needed = None if reference is None else reference.needed_terms
        measures = case_measures(radiographs, rig, model, result, encoded, samples, needed)
        # The reference belongs to a model with its shape prior: its errors are those of refined bones.
        refines = reference is not None and shape_prior_path(model) is not None
        own = [name for name in REFINED if name in measures.terms and name not in result.moved_mm] if refines else []
        return judged(measures, reference, without, result.surfaces, refines and not result.moved_mm, own)
    except (
        Exception
    ) as error:  # A check that breaks must not cost the reconstruction, and must not look like one that passed.
        return _failed(f"{type(error).__name__}: {error}")


def judged(
    measures: CaseMeasures,
    reference: TrustReference | None,
    without: str | None,
    surfaces: Mapping[str, Surface],
    unrefined: bool = False,
    unrefined_bones: Collection[str] = (),
) -> Assessment:
    """The assessment that measures lead to; `without` says in words why there is no reference, `unrefined` that its errors are those of
    refined bones and these are not, `unrefined_bones` of which bones that is true where others are refined.
    """
    flags = flags_of(measures, reference)
    light, reasons = light_of(flags), [flag.sentence for flag in flags]
    if without is not None:
        light = "amber" if light == "green" else light
        reasons.append(f"Images, sizes and uncertainty were not compared with the training. {without}")
    if unrefined:
        light = "amber" if light == "green" else light
        reasons.append(UNREFINED)
    elif unrefined_bones:
        light = "amber" if light == "green" else light
        reasons.append(_unrefined_words(unrefined_bones))
    unknown = [] if reference is None else [name for name in measures.terms if name not in reference.errors]
    if unknown:
        light = "amber" if light == "green" else light
        reasons.append(f"No error is stated of the {' and '.join(unknown)}: no case that trust was fitted to shows it.")
    expected, interval = {}, {}
    if reference is not None and not unrefined:
        known = _without(reference.expected_errors(measures), unrefined_bones)
        expected = at_vertices_of_all(surfaces, measures.vertices, known, torch.get_num_threads())
        interval = {name: reference.errors[name].factor * values for name, values in expected.items()}
    figures = _figures(measures, reference, flags, unrefined, unrefined_bones)
    return Assessment(light, tuple(reasons or [NOTHING]), figures, expected, interval)


def _unrefined_words(bones: Collection[str]) -> str:
    are, them = ("is", "it") if len(bones) == 1 else ("are", "them")
    return (
        f"The {' and '.join(bones)} {are} the network's own, as the shape model did not fit, and which errors to expect is known of this "
        f"model's refined bones only: none are stated of {them}."
    )


def _without(values: Mapping[str, Value], names: Collection[str]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if name not in names}


def _failed(words: str) -> Assessment:
    return Assessment("red", (f"The trust check itself failed, so nothing is known ({words}).",), {"failed": words})


def _figures(
    measures: CaseMeasures,
    reference: TrustReference | None,
    flags: Sequence[Flag],
    unrefined: bool,
    unrefined_bones: Collection[str],
) -> dict[str, Any]:
    outlines = {
        view: {bone: found.to_dict() for bone, found in bones.items()} for view, bones in measures.outlines.items()
    }
    figures: dict[str, Any] = {
        "flags": {flag.name: flag.light for flag in reversed(flags)},
        "outline_distance_mm": outlines,
        "views": None if measures.scale is None else _scale(measures.scale),
        "second_view": None if measures.motion is None else _turns(measures.motion),
        "stated_geometry": None if measures.contradiction is None else vars(measures.contradiction),
        "sizes_mm": measures.sizes,
        "metal_cm2": measures.metal_cm2,
        "one_brightness_share": measures.one_brightness,
        "loose_pieces_share": measures.pieces,
    }
    if len(measures.views) > 2:
        figures["pairs_of_views"] = [
            {"first": pair.first, "second": pair.second, **({} if pair.found is None else _scale(pair.found))}
            for pair in measures.pair_scales
        ]
        figures["turned_views"] = [
            {"beside": beside, "view": view, **_turns(motion)}
            for (beside, view), motion in measures.pair_motions.items()
        ]
    if reference is None:
        return figures
    vector = size_vector(measures.sizes)
    relative = reference.relative_size(vector)
    values = {
        "images": reference.images.distance(measures.features),
        "sizes": reference.size_distance(vector),
        "growth_plate": measures.growth_plate,
        "outline": measures.outlines["all"]["all"].mean_mm,
        "expected_error": max(expected_errors(measures, reference).values(), default=None),
    }
    figures |= {
        "size_percent": None if relative is None else 100.0 * relative,
        "size_spread_percent": 100.0 * reference.size_spread,
        "measures": {name: {"value": value, **vars(reference.limits[name])} for name, value in values.items()},
        "widened": reference.widened(measures),
    }
    if unrefined:
        return figures
    return {
        **figures,
        "expected_error_mm": _without(expected_errors(measures, reference), unrefined_bones),
        "interval95_mm": {
            name: reference.errors[name].factor * float(np.mean(known))
            for name, known in _without(reference.expected_errors(measures), unrefined_bones).items()
        },
    }


def _scale(found: ScaleDisagreement) -> dict[str, float]:
    """What two views say of each other's scale and height, and to which that is known."""
    return {
        "scale_disagreement_percent": found.percent,
        "height_disagreement_mm": found.shift_mm,
        "known_to_percent": found.known_to_percent,
        "known_to_mm": found.known_to_mm,
    }


def _turns(motion: ViewMotion) -> dict[str, float]:
    """Degrees by which the second view seems to be turned beyond what the rig says, and to which that is known."""
    known = bundled_known_view_motion()
    return {
        "angle_degrees": motion.angle_degrees,
        "roll_degrees": motion.roll_degrees,
        "angle_known_to_degrees": known.angle_degrees(motion.angle_spread_degrees),
        "roll_known_to_degrees": known.roll_degrees(motion.roll_spread_degrees),
    }


def write_uncertainty(
    folder: Path,
    assessment: Assessment,
    surfaces: Mapping[str, Surface],
    shown: Mapping[str, Surface] | None = None,
) -> dict[str, str]:
    """Write `BONE_uncertainty.vtp` (LPS mm, with the point arrays EXPECTED and INTERVAL) of each bone that has one.

    surfaces: by bone, of the reconstruction. shown: written in their place where a bone has fewer triangles; a vertex takes the values
    of the nearest one. Returns the files' names by bone. Raises OSError where a file cannot be written.
    """
    from scipy.spatial import cKDTree
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

    names = {}
    for bone, interval in assessment.interval.items():
        surface, values = surfaces[bone], np.stack([assessment.expected[bone], interval], axis=1)
        if shown and bone in shown:
            values = values[cKDTree(surface.vertices).query(shown[bone].vertices)[1]]
            surface = shown[bone]
        polydata = surface.to_vtk()
        for column, name in enumerate((EXPECTED, INTERVAL)):
            array = numpy_to_vtk(np.ascontiguousarray(values[:, column], dtype=np.float32), deep=True)
            array.SetName(name)
            polydata.GetPointData().AddArray(array)
        polydata.GetPointData().SetActiveScalars(INTERVAL)
        names[bone] = f"{bone}_uncertainty.vtp"
        writer = vtkXMLPolyDataWriter()
        writer.SetFileName(str(folder / names[bone]))
        writer.SetInputData(polydata)
        writer.SetCompressorTypeToLZ4()
        writer.EncodeAppendedDataOff()
        if writer.Write() != 1:
            raise OSError(f"{folder / names[bone]} could not be written")
    return names
