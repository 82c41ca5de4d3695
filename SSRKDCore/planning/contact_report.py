"""How well a seated guide lies on the bone: the gap under its contact patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.evaluation.exact_distances import weighted_percentile
from SSRKDCore.planning.guide_contacts import GuideContacts, Pose
from SSRKDCore.planning.guide_gaps import BoneNearGuide

Array = NDArray[np.float64]

TOLERANCES_MM = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class ContactReport:
    """Gaps under a seated patch, weighted by area.

    Attributes
    ----------
    contact_percent: by tolerance in mm, the share of the patch's area whose gap exceeds the designed clearance by no more than that.
    mean_gap_mm, gap_95_mm: average and 95th percentile of the gap itself.
    """

    contact_percent: dict[float, float]
    mean_gap_mm: float
    gap_95_mm: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {
            f"contact_percent_within_{tolerance:g}_mm": share for tolerance, share in self.contact_percent.items()
        }
        return values | {"mean_gap_mm": self.mean_gap_mm, "gap_95_mm": self.gap_95_mm}


def contact_report(bone: BoneNearGuide, contacts: GuideContacts, pose: Pose, clearance_mm: float) -> ContactReport:
    """Exact (point-to-triangle) gaps of the patch in a pose."""
    gaps, _ = bone.exact.signed(pose.place(contacts.points, contacts.centre))
    return report_of_gaps(gaps, contacts.areas, clearance_mm)


def report_of_gaps(gaps: Array, areas: Array, clearance_mm: float) -> ContactReport:
    """The same of gaps (N,) in mm over areas (N,) in mm^2."""
    total = float(areas.sum())
    shares = {limit: 100.0 * float(areas[gaps <= clearance_mm + limit].sum()) / total for limit in TOLERANCES_MM}
    return ContactReport(shares, float(areas @ gaps) / total, weighted_percentile(gaps, areas, 0.95))
