"""What two radiographs say of a rig's second view, whatever the bones are: whether slices through both sources look alike in both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.geometry.calibration.slice_profiles import ProfileMatch, profile_match
from SSRKDCore.geometry.rig import Rig

if TYPE_CHECKING:
    from SSRKDCore.trust.view_scales import ScaleDisagreement

# Slices through both sources that weaken the two images differently, or look different there, contradict the pose: by so much scale (%) or
# height (mm), the limits of the trust light's red. Profiles say so where they correlate well enough, and where the network, which scatter
# and display curves disturb less, does not know better.
_CONTRADICTION_PERCENT, _CONTRADICTION_MM, _LEAST_CORRELATION = 3.0, 3.0, 0.6


@dataclass(frozen=True)
class Consistency:
    """What two images say of each other's scale and height in a rig, whatever the bones are; None where they cannot tell.

    profiles: of slices' line integrals, see `slice_profiles`, which turns of a view disturb too. rows: of how slices look, see
    `trust.view_scales`, which images for a screen tell as well.
    """

    profiles: ProfileMatch | None
    rows: ScaleDisagreement | None


def consistency(images: Mapping[str, NDArray[np.floating]], rig: Rig) -> Consistency:
    """What the two images of a rig say of it. Raises InputError as `scale_disagreement`."""
    from SSRKDCore.trust.view_scales import scale_disagreement

    given = [images[view.name] for view in rig.views], list(rig.views), rig.field_of_view
    return Consistency(profile_match(*given), scale_disagreement(*given))


def contradiction(found: Consistency) -> str | None:
    """The sentence that refuses a pose which the images contradict; None where they do not, or cannot tell."""
    profiles, rows = found.profiles, found.rows
    # What is said of scale and height, and beyond what it counts.
    said: list[tuple[float, float, float, float]] = []
    if profiles is not None and profiles.correlation >= _LEAST_CORRELATION and not _known_by_rows(found):
        said.append((profiles.percent, profiles.shift_mm, _CONTRADICTION_PERCENT, _CONTRADICTION_MM))
    if rows is not None:
        limits = max(_CONTRADICTION_PERCENT, rows.known_to_percent), max(_CONTRADICTION_MM, rows.known_to_mm)
        said.append((rows.percent, rows.shift_mm, *limits))
    for percent, shift_mm, most_percent, most_mm in said:
        if abs(percent) > most_percent or abs(shift_mm) > most_mm:
            return (
                f"The two images contradict the pose that the bones' outlines led to (by {abs(percent):.1f} % in scale and "
                f"{abs(shift_mm):.1f} mm in height), so it cannot be known from them: calibrate with a ball or an object, "
                "or give known --bones."
            )
    return None


def _known_by_rows(found: Consistency) -> bool:
    rows = found.rows
    return (
        rows is not None and rows.known_to_percent <= _CONTRADICTION_PERCENT and rows.known_to_mm <= _CONTRADICTION_MM
    )


def unconfirmed(found: Consistency) -> str | None:
    """The sentence that refuses a pose which the images cannot confirm; None where they can, or contradict it.

    Only known bones hold a pose by themselves: bones that were reconstructed from the same images fit a wrong one as well.
    """
    profiles = found.profiles
    if profiles is not None and profiles.correlation >= _LEAST_CORRELATION:
        return None
    if _known_by_rows(found):
        return None
    return (
        "Slices through both sources show the two images too little alike to confirm the pose that the network's bones led to, so it is "
        "not known from them: calibrate with a ball or an object, or give known --bones."
    )
