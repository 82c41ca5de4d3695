"""Radiographs as a fit to their edges looks at them: the field of view, on pixels of one size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.geometry.network_view import network_view, resample_to_view
from SSRKDCore.geometry.rig import Rig
from SSRKDCore.geometry.view import View
from SSRKDCore.radiographs.radiograph import Radiograph
from SSRKDCore.shape_fit.silhouette_edges import EdgeImage

_PIXELS = 400


@dataclass(frozen=True)
class SeenImage:
    """An image (rows, columns) of line integrals, how much of each pixel the detector saw (0..1), and its view, LPS mm."""

    image: NDArray[np.floating]
    coverage: NDArray[np.floating]
    view: View


def seen_images(radiographs: Sequence[Radiograph], rig: Rig) -> list[SeenImage]:
    """The field of view as each radiograph shows it, one a view of the rig."""
    seen = []
    for radiograph, view in zip(radiographs, rig.views, strict=True):
        target = network_view(view, rig.field_of_view, _PIXELS)
        image, coverage = resample_to_view(radiograph.pixels, view, target)
        if radiograph.coverage is not None:
            coverage, _ = resample_to_view(radiograph.coverage.astype(np.float32), view, target)
        seen.append(SeenImage(image, coverage, target))
    return seen


def edge_images(seen: Sequence[SeenImage], scales_mm: Iterable[float]) -> dict[float, list[EdgeImage]]:
    """Edges of all views by scale. Raises InputError where an image shows none."""
    images = {blur: [EdgeImage.of(one.image, one.coverage, one.view, blur) for one in seen] for blur in set(scales_mm)}
    if any(image.strong <= 0 for of_scale in images.values() for image in of_scale):
        raise InputError("A radiograph shows no edges inside the field of view.")
    return images
