"""Baseline SSIM: a statistical shape and intensity model fitted to the radiographs through simulated ones (Klima et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SSRKDCore.cases import Case
from SSRKDCore.errors import InputError
from SSRKDCore.evaluation.answer import CaseAnswer
from SSRKDCore.evaluation.baselines.intensity_model import IntensityModel
from SSRKDCore.evaluation.baselines.ssim_fit import FLEXION_STARTS, IntensityFit, fit_intensities
from SSRKDCore.evaluation.baselines.ssim_images import Band, KneeRadiographs
from SSRKDCore.evaluation.baselines.ssm import check_inside, contour_fit, watched
from SSRKDCore.evaluation.baselines.ssm_case import SeenCase, seen_case
from SSRKDCore.population.shape_model import KneeShapeModel
from SSRKDCore.shape_fit.fitted_knee import FittedKnee
from SSRKDCore.surface import Surface

if TYPE_CHECKING:
    from SSRKDCore.evaluation.case_evaluation import Reconstruct

MODES = 25


def ssim_method(
    shape_model: Path,
    intensity_model: Path,
    modes: int = MODES,
    starts: Sequence[float] = FLEXION_STARTS,
    cancelled: Callable[[], bool] | None = None,
) -> Reconstruct:
    """The job of fitting a case, as evaluate_cases wants it.

    Parameters
    ----------
    shape_model: of `ssrkd shape-model`.
    intensity_model: of `python -m SSRKDCore.evaluation.baselines.fit_intensity_model`, with the same shape model.
    modes: how many modes of the shape model may vary.
    starts: degrees of flexion from which the fit starts; the best is kept.
    cancelled: asked while a case is fitted; the job then raises Cancelled.

    Raises InputError for files that cannot be used or do not belong together; the job itself for a case that cannot be fitted.
    """
    model = KneeShapeModel.load(shape_model)
    intensity = IntensityModel.load(intensity_model)
    if intensity.card.get("shape_model") != model.sha256():
        raise InputError(
            f"{intensity_model} was made with another shape model than {shape_model}: fit an intensity model to this one."
        )

    def run(case: Case, progress: Callable[[float, str], None]) -> CaseAnswer:
        seen = seen_case(case)
        fit, surfaces = fitted_bones(model, intensity, seen, modes, starts, watched(progress, cancelled))
        words = f"SSIM: correlation of simulated and given radiographs {fit.correlation:.2f}."
        return CaseAnswer(surfaces, case.rig.field_of_view, 0.0, (*seen.warnings, words))

    return run


def fitted_bones(
    model: KneeShapeModel,
    intensity: IntensityModel,
    seen: SeenCase,
    modes: int = MODES,
    starts: Sequence[float] = FLEXION_STARTS,
    progress: Callable[[float, str], None] = lambda fraction, words: None,
) -> tuple[IntensityFit, dict[str, Surface]]:
    """The fit, and the four bones in the case's own LPS mm. Raises InputError when the fit fails."""

    def bands(pixels: int, coarse_mm: float) -> list[Band]:
        return [Band.of(image, coverage, view, coarse_mm) for image, coverage, view in seen.resampled(pixels)]

    knee = FittedKnee(model, np.array(seen.field_of_view.center), modes)
    candidates = []
    # Intensities catch a knee from near only, silhouettes from farther off; where these fail, the mean knee is left to start from.
    try:
        outlined = contour_fit(knee, seen, None, starts, lambda share, words: progress(0.2 * share, words))
        candidates.append((outlined.state, outlined.start))
    except InputError:
        pass
    fit = fit_intensities(
        KneeRadiographs(model, intensity, knee),
        bands,
        starts,
        candidates,
        progress=lambda share, words: progress(0.2 + 0.8 * share, words),
    )
    surfaces = knee.surfaces(fit.state.knee)
    check_inside(surfaces, seen.field_of_view)
    return fit, seen.given_back(surfaces)
