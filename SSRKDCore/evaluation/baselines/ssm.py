"""Baseline SSM: the statistical shape model fitted to the bones' silhouettes in both views (Baka et al. 2012)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SSRKDCore.cases import Case
from SSRKDCore.errors import Cancelled, InputError
from SSRKDCore.evaluation.answer import CaseAnswer
from SSRKDCore.evaluation.baselines.ssm_case import SeenCase, seen_case
from SSRKDCore.geometry.field_of_view import FieldOfView
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.shape_fit.contour_fit import FLEXION_STARTS, ContourFit, fit_contours
from SSRKDCore.shape_fit.fitted_knee import FittedKnee
from SSRKDCore.shape_fit.silhouette_edges import EdgeImage
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from SSRKDCore.evaluation.case_evaluation import Reconstruct
    from SSRKDCore.networks.model_folder import Model

MODES = 40
_PIXELS = 400
# Segmenters are trained on images of this size (`training.sample_settings`).
_SEGMENTER_PIXELS = 256


def ssm_method(
    shape_model: Path,
    segmenter: Path | None = None,
    modes: int = MODES,
    starts: Sequence[float] = FLEXION_STARTS,
    cancelled: Callable[[], bool] | None = None,
) -> Reconstruct:
    """The job of fitting a case, as evaluate_cases wants it.

    Parameters
    ----------
    shape_model: of `ssrkd shape-model`.
    segmenter: model folder of kind "segmenter": silhouettes are then the borders of what it calls bone; None takes the edges of the
        radiographs themselves.
    modes: how many modes of the shape model may vary.
    starts: degrees of flexion from which the fit starts; the best is kept.
    cancelled: asked while a case is fitted; the job then raises Cancelled.

    Raises InputError for files that cannot be used; the job itself raises it for a case that cannot be fitted.
    """
    model = KneeShapeModel.load(shape_model)
    network = None if segmenter is None else _segmenter(segmenter)

    def run(case: Case, progress: Callable[[float, str], None]) -> CaseAnswer:
        seen = seen_case(case)
        fit, surfaces = fitted_bones(model, seen, network, modes, starts, watched(progress, cancelled))
        words = (
            f"SSM: {100 * fit.matched_share:.0f} % of the contours lie on edges, {fit.distance_mm:.1f} mm from them."
        )
        return CaseAnswer(surfaces, case.rig.field_of_view, 0.0, (*seen.warnings, words))

    return run


def fitted_bones(
    model: KneeShapeModel,
    seen: SeenCase,
    segmenter: Model | None = None,
    modes: int = MODES,
    starts: Sequence[float] = FLEXION_STARTS,
    progress: Callable[[float, str], None] = lambda fraction, words: None,
) -> tuple[ContourFit, dict[str, Surface]]:
    """The fit, and the four bones in the case's own LPS mm. Raises InputError when the fit fails."""
    knee = FittedKnee(model, np.array(seen.field_of_view.center), modes)
    fit = contour_fit(knee, seen, segmenter, starts, progress)
    surfaces = knee.surfaces(fit.state)
    check_inside(surfaces, seen.field_of_view)
    return fit, seen.given_back(surfaces)


def contour_fit(
    knee: FittedKnee,
    seen: SeenCase,
    segmenter: Model | None = None,
    starts: Sequence[float] = FLEXION_STARTS,
    progress: Callable[[float, str], None] = lambda fraction, words: None,
) -> ContourFit:
    """The knee whose silhouettes lie on the edges of a case's radiographs. Raises InputError when the fit fails."""
    resampled = seen.resampled(_PIXELS if segmenter is None else _SEGMENTER_PIXELS)
    if segmenter is not None:
        from SSRKDCore.evaluation.baselines.silhouette_segmenter import bone_share

        resampled = [(bone_share(image, coverage, segmenter), coverage, view) for image, coverage, view in resampled]

    def edges(blur_mm: float) -> list[EdgeImage]:
        return [EdgeImage.of(image, coverage, view, blur_mm, segmenter is None) for image, coverage, view in resampled]

    return fit_contours(knee, edges, seen.field_of_view, starts, progress=progress)


def check_inside(surfaces: Mapping[str, Surface], field_of_view: FieldOfView) -> None:
    """Raises InputError when a bone lies outside the field of view, which every knee's bones reach into."""
    low, high = field_of_view.bounds
    for name, surface in surfaces.items():
        if not ((surface.vertices > low) & (surface.vertices < high)).all(axis=1).any():
            raise InputError(f"The fit failed: its {name} lies outside the field of view; check images and rig.")


def watched(
    progress: Callable[[float, str], None], cancelled: Callable[[], bool] | None
) -> Callable[[float, str], None]:
    """The progress callback, which raises Cancelled once `cancelled` says so."""

    def report(fraction: float, words: str) -> None:
        if cancelled is not None and cancelled():
            raise Cancelled("evaluation stopped")
        progress(fraction, words)

    return report


def _segmenter(folder: Path) -> Model:
    from SSRKDCore.networks.model_folder import load_model

    model = load_model(folder)
    if model.kind != "segmenter":
        raise InputError(f"{folder} is a model of kind {model.kind}, and silhouettes need one of kind segmenter.")
    return model
