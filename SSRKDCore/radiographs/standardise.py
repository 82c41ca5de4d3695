"""From line integrals to what a network was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError

ROBUST: dict[str, Any] = {"method": "robust", "low_percentile": 5.0, "high_percentile": 95.0, "limit": 4.0}


def standardise(
    image: NDArray[np.floating], coverage: NDArray[np.floating], settings: Mapping[str, Any]
) -> NDArray[np.float32]:
    """Bring the values of a network view to the scale that a network expects.

    Methods (`settings["method"]`):
    "robust": subtract the median, divide by half the distance between two percentiles, limit; all over the covered pixels. Exposure,
    tube voltage and the unit of the image drop out, so that line integrals and calibrated display values look alike.
    "scale": multiply by `settings["factor"]`, as the published networks expect.

    Parameters
    ----------
    image: (rows, columns) line integrals of the network view, 0 where the detector did not see.
    coverage: (rows, columns) 0..1, how much of a pixel the detector saw; pixels below one half become 0 ("no signal").
    settings: the model's `standardisation`.

    Raises InputError when the method is unknown, or the covered part has no contrast.
    """
    seen = coverage >= 0.5
    method = settings.get("method")
    if method == "scale":
        return np.where(seen, image * float(settings["factor"]), 0.0).astype(np.float32)
    if method != "robust":
        raise InputError(
            f"The model asks for the standardisation {method!r}, which this version does not know: update SSRKDCore."
        )
    if not seen.any():
        raise InputError("The detector sees nothing of the field of view: correct the rig.")
    low, middle, high = np.percentile(image[seen], [settings["low_percentile"], 50.0, settings["high_percentile"]])
    if not high - low > 1e-6:
        raise InputError("The radiograph is constant over the field of view: check the image and the rig.")
    limit = float(settings["limit"])
    values = np.clip((image - middle) / ((high - low) / 2), -limit, limit)
    return np.where(seen, values, 0.0).astype(np.float32)
