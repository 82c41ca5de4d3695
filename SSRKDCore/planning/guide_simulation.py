"""A guide on a reference bone: where it comes to rest, how it lies and holds there, and what that does to the cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from SSRKDCore.errors import InputError
from SSRKDCore.planning.contact_report import ContactReport, contact_report
from SSRKDCore.planning.guide_contacts import GuideContacts, Pose, guide_contacts
from SSRKDCore.planning.guide_errors import (
    CorrectionError,
    CutSection,
    HingeError,
    PlaneError,
    correction_error,
    hinge_error,
    moved_plane,
)
from SSRKDCore.planning.guide_gaps import BoneNearGuide
from SSRKDCore.planning.guide_model import Guide
from SSRKDCore.planning.guide_scores import EQUAL_BANDS_PERCENT, GuideScores, bands_note, checked_bands, score
from SSRKDCore.planning.guide_stability import Stability, StabilityParameters, guide_stability
from SSRKDCore.planning.guide_tolerances import ToleranceParameters, seat_with_tolerances
from SSRKDCore.planning.seating_search import Seating, SeatingParameters, search_seat
from SSRKDCore.surface import Surface

Array = NDArray[np.float64]
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class SimulationParameters:
    """Everything that can be chosen.

    Attributes
    ----------
    seating, stability, tolerances: of each part.
    opening_degrees: planned wedge about the hinge; None takes the guide's own (its `wedge_degrees`), without which the correction is
        left out.
    knee_and_ankle: ends of the tibia's mechanical axis, LPS mm, or None.
    reconstruction_field: points (N, 3) with standard deviations (N,) of the reconstruction's error, or None.
    bands_percent: lowest percentages of scores 2 to 6.
    """

    seating: SeatingParameters = field(default_factory=SeatingParameters)
    stability: StabilityParameters = field(default_factory=StabilityParameters)
    tolerances: ToleranceParameters = field(default_factory=ToleranceParameters)
    opening_degrees: float | None = None
    knee_and_ankle: tuple[Array, Array] | None = None
    reconstruction_field: tuple[Array, Array] | None = None
    bands_percent: tuple[float, ...] = EQUAL_BANDS_PERCENT

    def __post_init__(self) -> None:
        checked_bands(self.bands_percent)
        if self.opening_degrees is not None and not 0 < self.opening_degrees <= 45:
            raise InputError(f"The opening is {self.opening_degrees:g} degrees: it must lie between 0 and 45.")


@dataclass(frozen=True)
class GuideSimulation:
    """One guide on one bone.

    Attributes
    ----------
    guide: in its designed pose, in the frame of the reference. motion: (4, 4) from there to its seat.
    gaps_mm: gap at each vertex of the seated patch. seating_error: translation and rotation from the designed pose.
    against_control: the cut against the control's plan, beyond_control: the seating error without the control's own motion, where there
    is one. Others: see their modules; None where not known.
    """

    guide: Guide
    motion: Array
    gaps_mm: Array
    seating_error: Mapping[str, Any]
    seating: Seating
    contact: ContactReport
    stability: Stability
    cut: PlaneError
    hinge: HingeError | None
    correction: CorrectionError | None
    tolerances: Mapping[str, Any]
    scores: GuideScores
    scores_note: str
    against_control: PlaneError | None = None
    beyond_control: Mapping[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "seating_error": dict(self.seating_error),
            "seating_error_beyond_control": None if self.beyond_control is None else dict(self.beyond_control),
            "motion": self.motion.tolist(),
            "seating": self.seating.to_dict(),
            "contact": self.contact.to_dict(),
            "stability": self.stability.to_dict(),
            "cut_plane": self.cut.to_dict(),
            "cut_plane_against_control_plan": None if self.against_control is None else self.against_control.to_dict(),
            "hinge": None if self.hinge is None else self.hinge.to_dict(),
            "correction": None if self.correction is None else self.correction.to_dict(),
            "monte_carlo": dict(self.tolerances),
            "scores": self.scores.to_dict(),
            "scores_note": self.scores_note,
        }


def simulate_guide(
    guide: Guide,
    bone: Surface,
    parameters: SimulationParameters | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> GuideSimulation:
    """Seat a guide on a bone and measure what follows.

    Parameters
    ----------
    guide: in the frame of the bone, LPS mm, where it was designed (moved by the registration, if any: guide_motion.py).
    bone: the reference, closed, outward winding, LPS mm.
    parameters: all choices. seed: of all random draws; the same seed gives the same result.
    progress: told (fraction, words). cancelled: asked often.

    Raises InputError for a bone that is open or inside out, a guide that is far from it, on its wrong side, or without a seat, and a cut
    that misses the bone; Cancelled.
    """
    chosen = parameters or SimulationParameters()
    if bone.is_empty or not bone.is_closed():
        raise InputError("The reference bone is open or empty: close its surface first.")
    if bone.volume <= 0:
        raise InputError("The reference bone is inside out: turn its triangles.")
    contacts = guide_contacts(guide)
    tell = progress or (lambda fraction, words: None)
    tell(0.0, "preparing the bone")
    near = BoneNearGuide(bone, contacts)
    section = CutSection(bone, guide.cut_plane)
    generator, tolerance_generator = (np.random.default_rng(each) for each in np.random.SeedSequence(seed).spawn(2))
    seating = search_seat(near, contacts, chosen.seating, generator, _part(tell, 0.1, 0.5), cancelled)
    pose = seating.seat.pose
    motion = pose.matrix(contacts.centre)
    contact = contact_report(near, contacts, pose, guide.clearance_mm)
    tell(0.5, "stability")
    stability = guide_stability(near, contacts, pose, guide.clearance_mm, chosen.stability)
    seated = moved_plane(guide.cut_plane, motion)
    cut = section.error_of(seated)
    correction = None
    wedge = guide.parameters.get("wedge_degrees") if chosen.opening_degrees is None else chosen.opening_degrees
    if guide.hinge is not None and wedge is not None:
        closing = guide.second_cut_plane is not None
        correction = correction_error(guide.hinge, section, motion, wedge, chosen.knee_and_ankle, closing)
    tolerances = seat_with_tolerances(
        near, contacts, guide, seating.seat, section, chosen.tolerances, tolerance_generator, chosen.reconstruction_field,
        _part(tell, 0.55, 1.0), cancelled,
    )  # fmt: skip
    bands = chosen.bands_percent
    return GuideSimulation(
        guide=guide,
        motion=motion,
        gaps_mm=near.exact.signed(pose.place(contacts.patch.vertices, contacts.centre))[0],
        seating_error=_seating_error(contacts, pose.shift, pose.rotation_degrees, pose.rotation_vector),
        seating=seating,
        contact=contact,
        stability=stability,
        cut=cut,
        hinge=None if guide.hinge is None else hinge_error(guide.hinge, bone, seated, motion),
        correction=correction,
        tolerances=tolerances,
        scores=GuideScores(
            score(contact.contact_percent[0.5], bands),
            score(stability.resisted_percent, bands),
            score(cut.within_1_mm_percent, bands),
        ),
        scores_note=bands_note(bands),
    )


def with_control(simulation: GuideSimulation, control: GuideSimulation, bone: Surface) -> GuideSimulation:
    """The simulation beside that of the control guide, which was made on the reference itself: the seated cut also against the control's
    plan, and the seating error without what the control moved too (its clearance).
    """
    seated = moved_plane(simulation.guide.cut_plane, simulation.motion)
    beyond = simulation.motion @ np.linalg.inv(control.motion)
    centre = guide_contacts(simulation.guide).centre
    pose = Pose(beyond[:3, :3], beyond[:3, :3] @ centre + beyond[:3, 3] - centre)
    return replace(
        simulation,
        against_control=CutSection(bone, control.guide.cut_plane).error_of(seated),
        beyond_control={
            "translation_mm": float(np.linalg.norm(pose.shift)),
            "rotation_degrees": pose.rotation_degrees,
        },
    )


def _seating_error(contacts: GuideContacts, shift: Array, degrees: float, turn: Array) -> dict[str, Any]:
    return {
        "translation_mm": float(np.linalg.norm(shift)),
        "translation_lps_mm": shift.tolist(),
        "along_push_mm": float(shift @ contacts.direction),
        "rotation_degrees": degrees,
        "rotation_vector_degrees": np.rad2deg(turn).tolist(),
    }


def _part(progress: Progress, first: float, last: float) -> Progress:
    return lambda fraction, words: progress(first + fraction * (last - first), words)
