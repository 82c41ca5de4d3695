"""All measures of a reconstruction against a reference, bone by bone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.anatomy import BONE_NAMES
from SSRKDCore.errors import Cancelled
from SSRKDCore.evaluation.exact_distances import EmptySurface, surface_distances
from SSRKDCore.evaluation.field_of_view import DEFAULT_MARGIN_MM, clipped_triangles, inside_by, scoring_box
from SSRKDCore.evaluation.overlap import DICE_VOXEL_SIZE_MM, NoEnclosedVolume, surface_dice
from SSRKDCore.evaluation.paper_protocol import POINT_COUNT, paper_distances
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.surface import Surface

MEASURES = ("exact_assd_mm", "exact_hd_mm", "exact_hd95_mm", "dice", "paper_assd_mm", "paper_hd_mm")
MEASURE_EXPLANATIONS = {
    "exact_assd_mm": "average distance to the closest point of any triangle of the other surface, over both areas",
    "exact_hd_mm": "largest such distance, in either direction (Hausdorff)",
    "exact_hd95_mm": "area-weighted 95th percentile of such distances, the larger of the two directions",
    "dice": f"overlap of the enclosed volumes on {DICE_VOXEL_SIZE_MM} mm voxels, 0 to 1; null when a surface is open",
    "paper_assd_mm": f"the paper's protocol: {POINT_COUNT} points a surface, point to point; above 0 even for equals",
    "paper_hd_mm": "largest point-to-point distance of the paper's protocol",
}

EMPTY = "empty surface"
MISSING = "missing in the reconstruction"
OUTSIDE = "no surface inside the field of view"
REFERENCE_EMPTY = "the reference is empty"
REFERENCE_OUTSIDE = "the reference has no surface inside the field of view"


@dataclass(frozen=True)
class BoneComparison:
    """What is measured of one bone; MEASURE_EXPLANATIONS says what each figure is.

    Attributes
    ----------
    failure: why there are no figures, or None.
    dice_refused: why there is no Dice although the distances exist, or None.
    exact_mean_reconstruction_to_reference_mm, exact_mean_reference_to_reconstruction_mm: the directed averages behind
    exact_assd_mm.
    """

    exact_assd_mm: float | None = None
    exact_hd_mm: float | None = None
    exact_hd95_mm: float | None = None
    dice: float | None = None
    paper_assd_mm: float | None = None
    paper_hd_mm: float | None = None
    exact_mean_reconstruction_to_reference_mm: float | None = None
    exact_mean_reference_to_reconstruction_mm: float | None = None
    failure: str | None = None
    dice_refused: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def compare_bone(
    reconstruction: Surface | None, reference: Surface, box: NDArray[np.float64], margin: float = DEFAULT_MARGIN_MM
) -> BoneComparison:
    """Every measure of one bone, inside a box ((2, 3) mm; may be infinite).

    A reconstruction that is missing, empty or outside the box gives a record with a `failure` and no figures. An open
    surface gives distances but no Dice.
    """
    if reconstruction is None:
        return BoneComparison(failure=MISSING)
    inner = inside_by(box, margin)
    for surface, empty, outside in ((reference, REFERENCE_EMPTY, REFERENCE_OUTSIDE), (reconstruction, EMPTY, OUTSIDE)):
        if surface.is_empty or surface.area <= 0:
            return BoneComparison(failure=empty)
        if len(clipped_triangles(surface.triangles, inner)) == 0:
            return BoneComparison(failure=outside)
    try:
        exact = surface_distances(reconstruction, reference, box, margin)
        paper = paper_distances(reconstruction, reference, box, margin)
    except EmptySurface:
        return BoneComparison(failure="a surface has nothing but its cut faces inside the field of view")
    overlap, refused = None, None
    try:
        overlap = surface_dice(reconstruction, reference, box)
    except NoEnclosedVolume as error:
        refused = (
            str(error).replace("the first surface", "the reconstruction").replace("the second surface", "the reference")
        )
    return BoneComparison(
        exact_assd_mm=exact.assd,
        exact_hd_mm=exact.hd,
        exact_hd95_mm=exact.hd95,
        dice=overlap,
        paper_assd_mm=paper.assd,
        paper_hd_mm=paper.hd,
        exact_mean_reconstruction_to_reference_mm=exact.mean_a_to_b,
        exact_mean_reference_to_reconstruction_mm=exact.mean_b_to_a,
        dice_refused=refused,
    )


def compare(
    reconstruction: Mapping[str, Surface],
    reference: Mapping[str, Surface],
    field_of_view: FieldOfView | None = None,
    reference_extent: Mapping[str, tuple[float | None, float | None]] | None = None,
    margin: float = DEFAULT_MARGIN_MM,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, BoneComparison]:
    """Compare bones that stand in the same frame (LPS mm); nothing is moved or scaled to fit.

    Parameters
    ----------
    reconstruction, reference: surfaces by bone name. A bone that the reference lacks is not scored and has no record.
    field_of_view: only what lies inside counts, and faces that merely close a surface there do not; None compares
        everything.
    reference_extent: bone -> (lowest z, highest z) in mm, where a reference was cut inside the field of view and so is
        not bone surface.
    margin: mm at the cuts where faces count as the cut.
    progress: called with a fraction 0..1 and words; cancelled: asked between bones, and raises Cancelled when true.

    Returns a record for each bone of the reference, in the order of the labels.
    """
    bounds = None if field_of_view is None else field_of_view.bounds
    scored = [name for name in BONE_NAMES if name in reference]
    result = {}
    for index, name in enumerate(scored):
        if cancelled is not None and cancelled():
            raise Cancelled("comparison stopped")
        if progress is not None:
            progress(index / len(scored), f"comparing the {name}")
        box = scoring_box(bounds, (reference_extent or {}).get(name))
        result[name] = compare_bone(reconstruction.get(name), reference[name], box, margin)
    if progress is not None:
        progress(1.0, "compared")
    return result


def means_by_bone(records: Mapping[str, Mapping[str, BoneComparison]]) -> dict[str, dict[str, float | int | None]]:
    """Averages over cases.

    Parameters
    ----------
    records: case -> bone -> comparison.

    Returns
    -------
    bone -> {measure: mean over the cases that have it, ..., "scored": count, "failed": count}, and "all": the mean
    over all bones and cases. A failed bone is counted and takes no part in the means.
    """
    result = {}
    for name in (*BONE_NAMES, "all"):
        chosen = [record for bones in records.values() for bone, record in bones.items() if name in (bone, "all")]
        if chosen or name == "all":
            result[name] = _means(chosen)
    return result


def _means(records: list[BoneComparison]) -> dict[str, float | int | None]:
    result: dict[str, float | int | None] = {}
    for measure in MEASURES:
        values = [value for record in records if (value := getattr(record, measure)) is not None]
        result[measure] = float(np.mean(values)) if values else None
    result["scored"] = sum(record.failure is None for record in records)
    result["failed"] = sum(record.failure is not None for record in records)
    return result
