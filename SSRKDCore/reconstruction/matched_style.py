"""Statistical style matching before reconstruction: the radiographs become network views in the style of the training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.networks.model_folder import Model
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.radiographs.standardise import ROBUST
from SSRKDCore.radiographs.style_matching import StyleReference
from SSRKDCore.reconstruction.network_input import resampled_radiograph, target_view, xray_config_of


def matched_radiographs(
    radiographs: Sequence[Radiograph], rig: Rig, model: Model, look: StyleReference
) -> tuple[list[Radiograph], Rig]:
    """Radiographs of what a model's network would see, matched to a style, and the rig that fits them.

    Parameters
    ----------
    radiographs: one a view of the rig, in its order. rig: as calibrated. model: an X-ray model. look: of its training images.

    Raises InputError for a model that does not standardise images robustly, and as `StyleReference.matched` and `prepare_network_input`.
    """
    if dict(model.standardisation) != ROBUST:
        raise InputError(f"The model '{model.name}' reads line integrals as they are: leave --match-style out.")
    size = xray_config_of(model).input_size
    found, views = [], []
    for radiograph, view in zip(radiographs, rig.views, strict=True):
        what = Path(radiograph.source_path).name or f"The radiograph of view '{view.name}'"
        target = target_view(view, rig, size)
        image, coverage = resampled_radiograph(radiograph, view, target, what)
        matched = look.matched(image, coverage)
        words = f"matched grey values and fineness to {look.source}"
        found.append(replace(radiograph, pixels=matched, coverage=coverage >= 0.5, steps=(*radiograph.steps, words)))
        views.append(target)
    return found, Rig(tuple(views), rig.field_of_view, rig.provenance)
